//! Writes netsonde probes in Rust.
//!
//! A probe names queries over tables of kernel data, and turns their rows into samples and events. It runs in a sandbox, sees nothing but
//! the rows, and is tested natively, without a host and without WASM (see [`test::Harness`]).
//!
//! ```
//! use netsonde_sdk::prelude::*;
//!
//! struct Listeners {
//!     overflows: Query,
//!     total: Metric<Counter>,
//! }
//!
//! impl Probe for Listeners {
//!     type Settings = NoSettings;
//!
//!     fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
//!         let overflows = plan.query("overflows", "SELECT netns, TcpExt.ListenOverflows AS n FROM proc.net.netstat");
//!         let total = plan.counter("overflows", "Connections dropped as an accept queue was full").from(&[overflows]).each_scope();
//!         Ok(Self { overflows, total })
//!     }
//!
//!     fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
//!         let Some(rows) = call.rows(self.overflows) else { return Ok(()) };
//!         out.total(&self.total).scopes(rows.column("netns")?).values(rows.column("n")?);
//!         Ok(())
//!     }
//! }
//!
//! netsonde_sdk::export!(Listeners);
//! ```
//!
//! Build it with `crate-type = ["cdylib", "rlib"]` for the target `wasm32-unknown-unknown`, with `linker = "wasm-component-ld"`: what cargo
//! writes then is a component that the host loads as it is.

pub mod call;
pub mod log;
pub mod output;
pub mod plan;
pub mod test;

mod column;
mod export;

/// What `wit-bindgen` makes of the interface. Needed only for what the rest of this crate does not offer.
#[allow(missing_docs)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit/0.1.0",
        world: "probe",
        pub_export_macro: true,
        export_macro_name: "export_guest",
        default_bindings_module: "netsonde_sdk::bindings",
        additional_derives: [Clone, PartialEq],
    });
}

#[doc(hidden)]
pub use export::{Running, describe, process, start};

pub use bindings::netsonde::probe::types;

/// An error is a text for a person: the operator who reads it in the log and in `/probes`.
pub type Result<T, E = String> = std::result::Result<T, E>;

/// Settings of a probe that has none: any key is refused.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// A probe: made once from its settings, then called with rows until it is thrown away.
///
/// It may be thrown away and made anew at any time: what must survive belongs into counters, which the host keeps.
pub trait Probe: Sized + 'static {
    /// The probe's own part of the configuration, read with serde. Use `deny_unknown_fields`: a misspelt key is then told to the operator.
    type Settings: serde::de::DeserializeOwned;

    /// Writes into `plan` what it asks for and what it makes, and keeps the handles. The same plan for the same settings.
    ///
    /// # Errors
    /// Where the settings make no sense, in words for the person who wrote them.
    fn new(settings: Self::Settings, plan: &mut plan::Plan) -> Result<Self>;

    /// Rows in, samples and events out. Every probe is called in each collection, also when there are no rows.
    ///
    /// # Errors
    /// An error loses this call, which is counted, and restarts the probe.
    fn process(&mut self, call: &call::Call, out: &mut output::Output) -> Result<()>;
}

/// Everything that a probe usually needs.
pub mod prelude {
    pub use crate::{
        NoSettings, Probe, Result,
        call::{Call, Rows},
        log,
        output::Output,
        plan::{Counter, Event, Gauge, GaugeHistogram, Histogram, Metric, Plan, Query},
        types::{Column, Scope},
    };
}

/// Makes a probe the guest of this component. Once in a crate; on other targets it does nothing.
#[macro_export]
macro_rules! export {
    ($probe:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::exports::netsonde::probe::guest;

            ::std::thread_local! {
                static RUNNING: ::std::cell::RefCell<Option<$crate::Running<$probe>>> = const { ::std::cell::RefCell::new(None) };
            }

            struct Component;

            impl guest::Guest for Component {
                fn describe(settings: String) -> Result<guest::Plan, String> {
                    RUNNING.with_borrow_mut(|running| $crate::describe(running, &settings))
                }

                fn start(queries: Vec<guest::QueryState>) -> Result<(), String> {
                    RUNNING.with_borrow_mut(|running| $crate::start(running, queries))
                }

                fn process(call: guest::Call) -> Result<guest::Output, String> {
                    RUNNING.with_borrow_mut(|running| $crate::process(running, call))
                }
            }

            $crate::bindings::export_guest!(Component with_types_in $crate::bindings);
        };
    };
}
