//! Programs in the kernel, for tracepoints and for passes over its objects: loading them, what they write, what they cost.
//!
//! What a program is made of is decided in `netsonde_core::bpf`. Ring and its memory come from `aya`; maps, programs and links go through
//! a few commands of bpf(2), in `sys.rs`, as `aya` takes programs from ELF files only and keys of a size known at compile time.

pub mod capability;
mod cpus;
mod error;
mod groups;
pub mod kallsyms;
mod map;
mod pass;
mod program;
mod ring;
mod shared;
pub mod stacks;
mod sys;

pub use error::{BpfError, Denied, LoadError};
pub use pass::{PassError, Passing};
pub use program::Loaded;
pub use ring::{Drained, Ring};
pub use shared::{MAX_PROGRAMS, Shared};
