//! Any bytes as an answer of rtnetlink.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::proc::link::Dump;

fuzz_target!(|datagrams: Vec<Vec<u8>>| {
    let mut dump = Dump::new(1);
    for datagram in &datagrams {
        if !matches!(dump.take(datagram), Ok(false)) {
            break;
        }
    }
    let _ = dump.finish();
});
