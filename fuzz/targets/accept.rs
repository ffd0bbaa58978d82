//! Any text as a client's `Accept`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::metric::format::Format;

fuzz_target!(|accept: &str| {
    let answered = Format::negotiate(Some(accept)).content_type();
    assert_eq!(Format::negotiate(Some(&answered)).content_type(), answered, "an answer asks for itself");
});
