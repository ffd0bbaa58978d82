//! Metrics: what probes' samples become, and the page that Prometheus reads.

pub mod exemplar;
pub mod exposition;
pub mod family;
pub mod format;
pub mod histogram;
pub mod registry;
pub mod value;
