//! The ways to the kernel, one a file.

mod enter;
mod link;
pub mod proc;
mod read;
mod ways;
