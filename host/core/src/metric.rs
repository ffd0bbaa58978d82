//! Metrics: what probes' samples become, and the page that Prometheus reads.

pub mod exemplar;
pub mod exposition;
pub mod falcon;
pub mod family;
pub mod format;
pub mod histogram;
pub mod parse;
pub mod registry;
pub mod value;
