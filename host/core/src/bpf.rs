//! From a query over a tracepoint to a BPF program, without C, a compiler or an ELF file: types come from the kernel's own BTF.
//!
//! Nothing here makes a system call: BTF comes in as bytes, a [`program::Program`] goes out, and what it writes is read back from bytes.

pub mod access;
mod asm;
pub mod btf;
pub mod compile;
mod computed;
pub mod enums;
pub mod hook;
pub mod layout;
pub mod listing;
pub mod pass;
pub mod path;
pub mod program;
pub mod record;
pub mod totals;
mod walk;

#[cfg(test)]
mod tests;
