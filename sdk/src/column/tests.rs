use super::*;
use std::net::Ipv4Addr;

fn codes(codes: &[u32], names: &[&str]) -> Values {
    Values::Codes(Coded { codes: codes.to_vec(), names: names.iter().map(|name| name.to_string()).collect() })
}

fn addresses(addresses: &[&str]) -> Values {
    let bytes = |text: &&str| match text.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    Values::Addresses(addresses.iter().flat_map(bytes).collect())
}

fn blobs(ends: &[u32], bytes: &[u8]) -> Values {
    Values::Blobs(Blobs { ends: ends.to_vec(), bytes: bytes.to_vec() })
}

#[test]
fn every_form_is_picked_by_row_in_the_order_asked_for() {
    for (have, rows, want) in [
        (Values::U32s(vec![1, 2, 3]), vec![2, 0, 2], Values::U32s(vec![3, 1, 3])),
        (Values::U64s(vec![1, 2, 3]), vec![1], Values::U64s(vec![2])),
        (Values::S64s(vec![-1, -2, -3]), vec![2, 1], Values::S64s(vec![-3, -2])),
        (Values::F64s(vec![0.5, 1.5]), vec![1, 0], Values::F64s(vec![1.5, 0.5])),
        (addresses(&["10.0.0.1", "::1", "10.0.0.3"]), vec![2, 1], addresses(&["10.0.0.3", "::1"])),
        (blobs(&[2, 2, 5], b"abcde"), vec![2, 1, 0, 2], blobs(&[3, 3, 5, 8], b"cdeabcde")),
        (codes(&[0, 1, 2, 1], &["a", "b", "c"]), vec![3, 2, 1], codes(&[0, 1, 0], &["b", "c"])),
        (codes(&[0, 1], &["a", "b"]), vec![], codes(&[], &[])),
    ] {
        let want = Column::full(want);
        assert_eq!(Column::full(have.clone()).pick(&rows), want, "{have:?} at {rows:?}");
    }
}

#[test]
fn a_row_without_a_value_stays_without() {
    // The code of row 1 is none: it has no value.
    let column = Column { values: codes(&[0, 77, 1], &["a", "b"]), present: Some(vec![0b101]) };
    let picked = column.pick(&[1, 2]);
    assert_eq!(picked, Column { values: codes(&[0, 0], &["b"]), present: Some(vec![0b10]) });
    assert_eq!((picked.text(0), picked.text(1)), (None, Some("b")));
    assert_eq!(column.pick(&[2, 0]).present, None, "all that were picked have a value");

    let column = Column { values: blobs(&[1, 3], b"xyz"), present: Some(vec![0b10]) };
    assert_eq!(column.pick(&[0, 1]), Column { values: blobs(&[0, 2], b"yz"), present: Some(vec![0b10]) });
}

#[test]
fn a_row_past_the_end_has_no_value() {
    for values in [Values::U32s(vec![1]), addresses(&["::1"]), codes(&[0], &["a"]), blobs(&[1], b"x")] {
        let picked = Column::full(values).pick(&[0, 9]);
        assert_eq!((picked.rows(), picked.has(0), picked.has(1)), (2, true, false), "{picked:?}");
    }
}

#[test]
fn presence_is_kept_past_the_first_word() {
    let column = Column { values: Values::U32s((0..130).collect()), present: Some(vec![u64::MAX, !1, 0b10]) };
    let rows: Vec<u32> = (0..130).rev().collect();
    let picked = column.pick(&rows);
    for row in 0..130 {
        assert_eq!(picked.u64(row), column.u64(129 - row), "row {row}");
    }
    assert_eq!(picked.u64(0), Some(129));
    assert_eq!((column.u64(64), picked.u64(65)), (None, None));
}

#[test]
fn addresses_are_ipv4_where_they_are_mapped() {
    let column = Column { values: addresses(&["10.0.0.1", "2001:db8::1", "::"]), present: Some(vec![0b011]) };
    assert_eq!(column.address(0), Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
    assert_eq!(column.address(1), Some("2001:db8::1".parse().unwrap()));
    assert_eq!((column.address(2), column.address(3)), (None, None));
    assert_eq!(Column::full(Values::U32s(vec![1])).address(0), None);
}

#[test]
fn a_truth_value_is_any_whole_number() {
    let column = Column { values: Values::U32s(vec![0, 1, 1]), present: Some(vec![0b011]) };
    assert_eq!([0, 1, 2, 3].map(|row| column.bool(row)), [Some(false), Some(true), None, None]);
    assert_eq!(Column::full(codes(&[0], &["true"])).bool(0), None);
}

#[test]
fn texts_share_a_dictionary() {
    let column = Column::texts([Some("a"), None, Some("b"), Some("a")]);
    assert_eq!(column, Column { values: codes(&[0, 0, 1, 0], &["a", "b"]), present: Some(vec![0b1101]) });
    assert_eq!(Column::texts([Some("a")]).present, None);
}

#[test]
fn numbers_and_scopes_may_be_missing() {
    let numbers = Column::numbers([Some(1.5), None]);
    assert_eq!(numbers, Column { values: Values::F64s(vec![1.5, 0.0]), present: Some(vec![0b01]) });
    let scopes = Column::scopes([None, Some(7)]);
    assert_eq!((scopes.scope(0), scopes.scope(1), scopes.rows()), (None, Some(7), 2));
    let merged = scopes.scopes_or(&Column::scopes([Some(8), Some(9)]));
    assert_eq!((merged.scope(0), merged.scope(1), merged.rows()), (Some(8), Some(7), 2));
    assert_eq!(scopes.scopes_or(&Column::scopes([None, None])), scopes);
    assert_eq!((Column::numbers([Some(1.0)]).present, Column::scopes([Some(1)]).present), (None, None));
}
