//! Programs for tracepoints in the kernel: loading them, what they write, what they cost.
//!
//! What a program is made of is decided in `netsonde_core::bpf`. Ring and its memory come from `aya`; maps, programs and links go through
//! a few commands of bpf(2), in `sys.rs`, as `aya` takes programs from ELF files only and keys of a size known at compile time.

pub mod capability;
mod cpus;
mod error;
mod groups;
pub mod kallsyms;
mod map;
mod program;
mod ring;
mod shared;
mod sys;

pub use error::{BpfError, Denied, LoadError};
pub use program::Loaded;
pub use ring::{Drained, Ring};
pub use shared::{MAX_PROGRAMS, Shared};
