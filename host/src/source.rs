//! The ways to the kernel, one a file.

pub mod btf;
mod enter;
pub mod hook;
pub mod iter;
mod link;
pub mod proc;
mod read;
mod ways;
