//! Lines for the agent's log. A call may write 16 lines of 4 KiB; the host drops and counts what is more.

pub use crate::bindings::netsonde::probe::host::Level;

/// Writes a line to the agent's log; in native tests, to standard error.
pub fn log(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::netsonde::probe::host::log(level, text);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {text}");
}

pub fn debug(text: &str) {
    log(Level::Debug, text);
}

pub fn info(text: &str) {
    log(Level::Info, text);
}

pub fn warn(text: &str) {
    log(Level::Warn, text);
}

pub fn error(text: &str) {
    log(Level::Error, text);
}

/// Sends the message and place of a panic to the log: the trap that follows has neither.
pub(crate) fn panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}
