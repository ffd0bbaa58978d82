//! The agent: everything that opens, waits and sends. What can be decided without a system call is in `netsonde-core`.
//!
//! Parts that do I/O do not know each other; [`agent`] connects them.

pub mod agent;
mod anybody;
pub mod bpf;
pub mod cli;
pub mod doctor;
pub mod http;
pub mod probe;
pub mod push;
pub mod scope;
pub mod sink;
pub mod source;
