//! Container runtimes as tests and benches want them.

pub mod cri;
pub mod docker;
pub mod serve;
