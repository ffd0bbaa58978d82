//! Any bytes as an answer of rtnetlink, and as one of sock_diag.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    diag::{self, Parser},
    proc::{builders, link::Dump},
};

fuzz_target!(|datagrams: Vec<Vec<u8>>| {
    let mut dump = Dump::new(1);
    for datagram in &datagrams {
        if !matches!(dump.take(datagram), Ok(false)) {
            break;
        }
    }
    let _ = dump.finish();

    let (mut dump, mut sockets) = (diag::Dump::new(1, 100), Vec::new());
    for datagram in &datagrams {
        if !matches!(dump.take(datagram, &mut sockets), Ok(false)) {
            break;
        }
    }
    let columns = diag::table().columns;
    let (parser, mut out) = (Parser::new(&columns), builders(&columns));
    sockets.iter().for_each(|socket| parser.push(socket, 1, &mut out));
});
