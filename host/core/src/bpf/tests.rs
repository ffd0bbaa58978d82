//! The compiler over a made-up kernel: what it understands of types, what it refuses, and what its programs do when they are run.

mod arithmetic;
mod errors;
mod fields;
mod filter;
mod golden;
mod groups;
mod hooks;
mod kernel;
mod owner;
mod passes;
mod run;
mod sockets;
mod stream;
mod types;
mod values;
mod world;
