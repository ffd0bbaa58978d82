//! Any text as a configuration file: errors with their places, or a configuration that prints as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::config::{parse, print};
use std::path::Path;

fuzz_target!(|text: &str| {
    let folder = Path::new("/etc/netsonde");
    match parse(text, "f", folder) {
        Ok(config) => assert_eq!(parse(&print(&config), "f", folder).as_ref(), Ok(&config)),
        Err(errors) => assert!(!errors.is_empty()),
    }
});
