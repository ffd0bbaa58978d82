//! Probes: from a file to a sandboxed instance that answers calls within its limits.
//!
//! [`module`] turns bytes into compiled code, [`guest`] is one probe's life (instance, call, end), [`runner`] the thread it lives on. What
//! WIT generates stays inside [`v0_1_0`].

pub mod builtin;
pub mod cache;
pub mod engine;
pub mod guest;
pub mod limits;
pub mod module;
pub mod runner;
mod v0_1_0;

/// The version of the probe interface that this host serves.
pub const INTERFACE: &str = "netsonde:probe@0.1.0";
