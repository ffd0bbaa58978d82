//! The ways to the kernel, one a file.

pub mod btf;
pub mod diag;
mod enter;
pub mod hook;
pub mod iter;
mod link;
mod netlink;
pub mod proc;
mod read;
pub mod table;
mod ways;
