//! The pure half of netsonde: what a table, a query, a batch, a metric is, and what follows from them.
//!
//! Nothing here makes a system call, asks a clock or starts a thread. Facts about the machine (page size, file contents, "now") come in
//! as arguments, so all of it is tested on any machine, as any user.
#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod batch;
pub mod bpf;
pub mod config;
pub mod diag;
pub mod event;
pub mod ledger;
pub mod metric;
pub mod nearest;
pub mod netlink;
pub mod output;
pub mod pod;
pub mod probe;
pub mod proc;
pub mod query;
pub mod retention;
pub mod scope;
pub mod symbols;
pub mod table;
