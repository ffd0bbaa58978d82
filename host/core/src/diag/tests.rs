//! Answers of Linux 6.18, captured in a namespace with one socket of each kind, and answers that no kernel gives.

use super::*;
use crate::{
    batch::{Column, Values},
    netlink::made::{INTERRUPTED, done, message, overrun, refused},
    proc::builders,
    query::{Asker, plan},
    table::Catalogue,
};
use proptest::prelude::*;
use std::net::Ipv6Addr;

const INET: &[u8] = include_bytes!("testdata/inet-6.18.bin");
const INET6: &[u8] = include_bytes!("testdata/inet6-6.18.bin");
/// That of the captured answers.
const SEQUENCE: u32 = 7;

fn taken(answer: &[u8]) -> Vec<Socket> {
    let (mut dump, mut sockets) = (Dump::new(SEQUENCE, 100), Vec::new());
    assert_eq!(dump.take(answer, &mut sockets), Ok(true));
    assert_eq!(dump.finish(), Ok(()));
    sockets
}

/// The rows as lines, scope 3, `NULL` where there is no value.
fn rows(columns: &[&str], sockets: &[Socket]) -> Vec<String> {
    let table = table();
    let columns: Vec<TableColumn> = columns.iter().map(|name| table.column(name).expect(name)).collect();
    let (parser, mut out) = (Parser::new(&columns), builders(&columns));
    sockets.iter().for_each(|socket| parser.push(socket, 3, &mut out));
    let columns: Vec<Column> = out.into_iter().map(ColumnBuilder::finish).collect();
    let value = |row: usize, column: &Column| match &column.values {
        _ if !column.has(row) => "NULL".to_owned(),
        Values::U32(values) => values[row].to_string(),
        Values::U64(values) => values[row].to_string(),
        Values::Address(bytes) => {
            let address = bytes[row * 16..].first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_canonical());
            address.unwrap().to_string()
        }
        other => panic!("{other:?}"),
    };
    (0..sockets.len())
        .map(|row| columns.iter().map(|column| value(row, column)).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn sockets_are_what_the_kernel_told() {
    let columns = [
        "netns", "family", "protocol", "state", "laddr", "lport", "raddr", "rport", "rqueue", "wqueue", "inode",
        "timer",
    ];
    let lines = [
        "3 2 6 10 127.0.0.1 999 0.0.0.0 0 0 5 1532346 0",
        "3 2 6 10 127.0.0.1 80 0.0.0.0 0 1 5 1531871 0",
        "3 2 6 7 127.0.0.1 41000 0.0.0.0 0 0 0 1532355 0",
        "3 2 6 8 127.0.0.1 80 127.0.0.1 40002 1 0 1532350 0",
        "3 2 6 1 127.0.0.1 80 127.0.0.1 40004 0 0 0 0",
        "3 2 6 1 127.0.0.1 40006 127.0.0.1 81 0 0 1532357 0",
        "3 2 6 1 127.0.0.1 80 127.0.0.1 40001 3 0 1532348 0",
        "3 2 6 1 127.0.0.1 40001 127.0.0.1 80 0 0 1532347 0",
        "3 2 6 5 127.0.0.1 40002 127.0.0.1 80 0 0 1532349 0",
        "3 2 6 6 127.0.0.1 40003 127.0.0.1 80 0 0 0 3",
        "3 2 6 1 127.0.0.1 40004 127.0.0.1 80 0 0 1532353 0",
        "3 2 6 2 127.0.0.1 40005 127.0.0.1 999 0 1 1532354 1",
        "3 2 6 3 127.0.0.1 999 127.0.0.1 40005 0 0 0 1",
    ];
    assert_eq!(rows(&columns, &taken(INET)), lines);
    // The second one carries IPv4.
    let lines = [
        "3 10 6 10 :: 81 :: 0 0 5 1532356 0",
        "3 10 6 1 127.0.0.1 81 127.0.0.1 40006 0 0 1532358 0",
        "3 10 6 1 ::1 81 ::1 40007 0 0 1532360 0",
        "3 10 6 1 ::1 40007 ::1 81 0 0 1532359 0",
    ];
    assert_eq!(rows(&columns, &taken(INET6)), lines);
    let timers = rows(&["uid", "timer", "expires"], &taken(INET)[9..]);
    assert_eq!(timers, ["0 3 59896000000", "0 0 NULL", "0 1 896000000", "0 1 896000000"]);
}

fn sockets(filter: &str) -> Sockets {
    let catalogue = Catalogue { tables: vec![table()], ..Catalogue::default() };
    Sockets::of(&plan(&format!("SELECT netns FROM {TABLE} WHERE {filter}"), &catalogue, Asker::Probe).unwrap())
}

#[test]
fn a_filter_by_state_and_family_goes_to_the_kernel() {
    use Family::{Inet, Inet6};
    for (filter, states, families) in [
        ("TRUE", u32::MAX, &[Inet, Inet6][..]),
        ("state = 10", 1 << 10, &[Inet, Inet6]),
        ("name(state) IN ('CLOSE_WAIT', 'TIME_WAIT') AND family = 2", 1 << 8 | 1 << 6, &[Inet]),
        // Requests are told as SYN_RECV, and bound ones as CLOSE: whoever asks for those asks for these.
        ("state = 3", 1 << 3 | 1 << 12, &[Inet, Inet6]),
        ("state = 7 AND family <> 2", 1 << 7 | 1 << 13, &[Inet6]),
        ("name(protocol) = 'TCP' AND lport = 80", u32::MAX, &[Inet, Inet6]),
        ("family = 1", u32::MAX, &[]),
        ("state = 12", 0, &[Inet, Inet6]),
        ("state <> 7", !(1 << 7 | 1 << 13), &[Inet, Inet6]),
        ("state = 77", 0, &[]),
        ("protocol = 17", 0, &[]),
    ] {
        let sockets = sockets(filter);
        assert_eq!(
            (sockets.kernel_states(), sockets.families().collect::<Vec<_>>()),
            (states, families.to_vec()),
            "{filter}"
        );
    }
    assert_eq!(sockets("TRUE"), Sockets::ALL);
}

#[test]
fn a_request_is_as_the_kernel_wants_it() {
    let request = sockets("state = 10").request(Family::Inet6, 9);
    let mut expected = vec![0; 72];
    expected[0..4].copy_from_slice(&72u32.to_ne_bytes());
    expected[4..6].copy_from_slice(&20u16.to_ne_bytes());
    expected[6..8].copy_from_slice(&0x301u16.to_ne_bytes());
    expected[8..12].copy_from_slice(&9u32.to_ne_bytes());
    expected[16..18].copy_from_slice(&[10, 6]);
    expected[20..24].copy_from_slice(&0x400u32.to_ne_bytes());
    assert_eq!(request.as_slice(), expected);
}

#[test]
fn states_have_the_kernels_names() {
    let state = table().column("state").unwrap();
    let Some(Names::Enum(names)) = state.names else { panic!("no names") };
    assert_eq!([1, 3, 6, 10].map(|state| names.text(state)), ["ESTABLISHED", "SYN_RECV", "TIME_WAIT", "LISTEN"]);
    assert_eq!(
        (names.number("TCP_LISTEN"), names.number("FIN_WAIT2"), names.number("OPEN")),
        (Some(10), Some(5), None)
    );
    let protocol = table().column("protocol").unwrap();
    assert!(matches!(protocol.names, Some(Names::Enum(names)) if names.text(6) == "TCP"));
}

#[test]
fn an_answer_that_is_not_whole_is_an_error() {
    let listen = &INET[..124];
    for (datagram, error) in [
        (done(SEQUENCE, -2), DumpError::Refused(2).into()),
        (refused(SEQUENCE, -2), DumpError::Refused(2).into()),
        (overrun(SEQUENCE), DumpError::Overrun.into()),
        (message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, &listen[16..87]), DumpError::Cut.into()),
        (INET[..100].to_vec(), DumpError::Cut.into()),
        ([listen, listen, listen, listen].concat(), DiagError::TooMany),
    ] {
        assert_eq!(Dump::new(SEQUENCE, 3).take(&datagram, &mut Vec::new()), Err(error));
    }
    let (mut dump, mut sockets) = (Dump::new(SEQUENCE, 3), Vec::new());
    let changed = message(SOCK_DIAG_BY_FAMILY, 2 | INTERRUPTED, SEQUENCE, &listen[16..]);
    assert_eq!(dump.take(&[changed, done(SEQUENCE, 0)].concat(), &mut sockets), Ok(true));
    assert_eq!(dump.finish(), Err(DumpError::Interrupted));
}

#[test]
fn messages_of_other_requests_and_kinds_are_passed_over() {
    let (mut dump, mut sockets) = (Dump::new(SEQUENCE, 1), Vec::new());
    let other = message(SOCK_DIAG_BY_FAMILY, 2, SEQUENCE - 1, &INET[16..124]);
    let kind = message(SOCK_DIAG_BY_FAMILY + 1, 2, SEQUENCE, b"short");
    assert_eq!(dump.take(&[other, kind].concat(), &mut sockets), Ok(false));
    assert_eq!(dump.take(&[INET[..124].to_vec(), done(SEQUENCE, 0)].concat(), &mut sockets), Ok(true));
    assert_eq!(rows(&["lport"], &sockets), ["999"]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..1576usize, bytes in prop::collection::vec(any::<u8>(), 0..8), cut in 0..1600usize) {
        let mut answer = INET.to_vec();
        for (place, byte) in answer.iter_mut().skip(at).zip(bytes) {
            *place = byte;
        }
        answer.truncate(cut);
        let mut sockets = Vec::new();
        let _ = Dump::new(SEQUENCE, 100).take(&answer, &mut sockets);
        prop_assert_eq!(rows(&["laddr", "raddr", "expires", "lport"], &sockets).len(), sockets.len());
    }
}
