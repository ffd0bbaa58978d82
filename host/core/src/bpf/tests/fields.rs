//! Lookups in BTF, and that no bytes make them panic.

use super::kernel;
use crate::{
    bpf::{
        btf::{Btf, BtfError, Kind, Member, TypeId},
        enums::EnumNames,
        hook::Hook,
        layout::Layout,
        path::Step,
    },
    query::{Asker, plan},
    table::{Catalogue, Hooks},
};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

fn structure(btf: &Btf, name: &str) -> TypeId {
    btf.find(Kind::Struct, name).unwrap()
}

fn member(btf: &Btf, of: &str, name: &str) -> Member {
    btf.member(structure(btf, of), name).unwrap()
}

#[test]
fn members_are_found_in_anonymous_structs_and_unions() {
    let btf = kernel::btf(kernel::NEW);
    for (of, name, offset, ty) in [
        ("sock_common", "skc_daddr", 0, "__be32"),
        ("sock_common", "skc_addrpair", 0, "u64"),
        ("sock_common", "skc_rcv_saddr", 4, "__be32"),
        ("sock_common", "skc_num", 10, "short unsigned int"),
        ("sk_buff", "dev", 16, "struct net_device *"),
        ("sk_buff", "dev_scratch", 16, "u64"),
        ("sk_buff", "rbnode", 0, "u64[3]"),
        ("net_device", "name", 0, "char[16]"),
        ("sock", "sk_data_ready", 96, "function *"),
    ] {
        let found = member(&btf, of, name);
        assert_eq!(btf.describe(found.ty), ty, "{of}.{name}");
        assert_eq!((found.offset, found.bits), (offset, None), "{of}.{name}");
    }
    assert_eq!(btf.member(structure(&btf, "sk_buff"), ""), None, "an anonymous one has no name to be asked for");
    assert_eq!(btf.member(structure(&btf, "sk_buff"), "inum"), None);
    let names: Vec<&str> = btf.all_members(structure(&btf, "sk_buff")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..6], ["next", "prev", "dev", "dev_scratch", "rbnode", "sk"]);
}

#[test]
fn bit_fields_have_a_first_bit_and_a_width() {
    let btf = kernel::btf(kernel::NEW);
    let of = |name| member(&btf, "net_device", name);
    let first = of("bits").offset;
    for (name, offset, bits) in
        [("bits", 0, (0, 3)), ("more", 0, (3, 7)), ("minus", 1, (2, 5)), ("on", 1, (7, 1)), ("long_bits", 2, (0, 40))]
    {
        let found = of(name);
        assert_eq!((found.offset - first, found.bits), (offset, Some(bits)), "{name}");
    }
    // In the same struct, with the flag, what is no bit field.
    assert_eq!((of("ifindex").offset, of("ifindex").bits), (16, None));
}

#[test]
fn types_are_seen_through_typedefs_and_qualifiers() {
    let btf = kernel::btf(kernel::NEW);
    let counter = btf.find(Kind::Typedef, "counter_t").unwrap();
    assert_eq!(btf.name(btf.strip(counter).id), "unsigned int");
    assert_eq!(btf.typedefs(counter).collect::<Vec<_>>(), ["counter_t", "count_t", "u32", "__u32"][..3]);
    assert_eq!((btf.size(counter), btf.is_signed(counter), btf.is_bool(counter)), (4, false, false));
    let queues = member(&btf, "net_device", "queues").ty;
    assert_eq!((btf.size(queues), btf.array(btf.strip(queues)).unwrap().1), (64, 4));
    let up = member(&btf, "net_device", "up").ty;
    assert!(btf.is_bool(up) && !btf.is_signed(up));
    assert_eq!(btf.describe(member(&btf, "sock_common", "skc_state").ty), "unsigned char");
    assert_eq!(btf.size(0), 0);
}

#[test]
fn enumerators_have_their_sign_and_width() {
    let btf = kernel::btf(kernel::NEW);
    let of = |kind, name| btf.enumerators(btf.find(kind, name).unwrap());
    assert_eq!(of(Kind::Enum, "verdict"), [("V_REPEAT", -2), ("V_DROP", -1), ("V_PASS", 0)]);
    assert_eq!(of(Kind::Enum64, "wide"), [("WIDE_LOW", 1), ("WIDE_HIGH", 1 << 40), ("WIDE_TOP", i64::MIN)]);
    assert_eq!(of(Kind::Enum, "skb_drop_reason").last(), Some(&("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000)));
    let states = btf.enum_with("TCP_ESTABLISHED").unwrap();
    assert_eq!((btf.name(states), btf.describe(states).as_str()), ("", "enum {...}"));
    assert_eq!(btf.enum_with("TCP_NOTHING"), None);
}

#[test]
fn values_of_enums_are_read_back_as_they_are_shown() {
    let btf = kernel::btf(kernel::NEW);
    let of = |kind, name| EnumNames::of(&btf, btf.find(kind, name).unwrap());
    for (names, value, text) in [
        (of(Kind::Enum, "skb_drop_reason"), 3, "NO_SOCKET"),
        (of(Kind::Enum, "skb_drop_reason"), 1, "SKB_CONSUMED"),
        (of(Kind::Enum, "skb_drop_reason"), 0x20003, "0x20003"),
        (of(Kind::Enum, "skb_drop_reason"), 0xffff_ffff, "0xffffffff"),
        (of(Kind::Enum, "verdict"), -1, "DROP"),
        (of(Kind::Enum, "verdict"), -5, "0xfffffffb"),
        (of(Kind::Enum64, "wide"), 1 << 40, "HIGH"),
        (of(Kind::Enum64, "wide"), i64::MIN + 1, "0x8000000000000001"),
    ] {
        assert_eq!(names.text(value), text);
        assert_eq!(names.value(text), Some(value), "{text}");
    }
}

#[test]
fn what_is_no_btf_is_said() {
    let bytes = kernel::bytes(kernel::NEW);
    assert_eq!(Btf::parse(Vec::new()).unwrap_err(), BtfError::Magic(vec![]));
    let error = Btf::parse(b"\x7fELF".to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "this is no BTF of this machine's byte order: it begins with [7f, 45]");
    for len in (2..bytes.len()).step_by(97) {
        let error = Btf::parse(bytes[..len].to_vec()).unwrap_err();
        assert!(matches!(error, BtfError::Short { .. }), "{len}: {error}");
    }
    let mut newer = bytes;
    newer[24 + 7] = 31;
    let error = Btf::parse(newer).unwrap_err();
    assert!(error.to_string().contains("of kind 31 at byte 24"), "{error}");
}

/// Looks at everything that there is.
fn look_everywhere(btf: Btf) {
    for id in 0..400 {
        btf.size(id);
        btf.describe(id);
        btf.pointee(id);
        btf.typedefs(id).count();
        btf.params(id);
        btf.all_members(id);
        btf.member(id, "skc_num");
        EnumNames::of(&btf, id).text(1);
    }
    btf.enum_with("IPPROTO_TCP");
    let layout = Arc::new(Layout::of(&btf));
    let steps = [
        Step::Field("skb".into()),
        Step::Field("sk".into()),
        Step::Cast("tcp_sock".into()),
        Step::Field("inet_conn".into()),
        Step::Field("icsk_inet".into()),
    ];
    for name in Hook::names(&btf) {
        if let Ok(hook) = Hook::find(&btf, &layout, name) {
            hook.table(&btf);
            (1..steps.len()).for_each(|length| drop(hook.column(&btf, &steps[..length], "x")));
        }
    }
    let catalogue = Catalogue { hooks: Hooks::known(Arc::new(btf)), ..Catalogue::default() };
    for sql in super::golden::QUERIES {
        if let Ok(query) = plan(sql.1, &catalogue, Asker::Person) {
            drop(crate::bpf::compile::compile(&query, Default::default()).map(|compiled| {
                crate::bpf::listing::listing(&compiled.program);
            }));
        }
    }
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| kernel::bytes(kernel::NEW));

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbled_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = BYTES.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(btf) = Btf::parse(bytes) {
            look_everywhere(btf);
        }
    }

    #[test]
    fn garbled_words_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0..400_u32, any::<u32>()]), 1..40)) {
        let mut bytes = BYTES.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len() / 4 - 1) * 4;
            bytes[place..place + 4].copy_from_slice(&value.to_ne_bytes());
        }
        if let Ok(btf) = Btf::parse(bytes) {
            look_everywhere(btf);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut whole = BYTES[..24].to_vec();
        whole.extend(bytes);
        drop(Btf::parse(whole));
    }
}

#[test]
fn structs_within_themselves_come_to_an_end() {
    let mut types = super::types::Types::new();
    types.endless("outer", 5);
    let btf = Btf::parse(types.finish()).unwrap();
    let outer = structure(&btf, "outer");
    assert_eq!(btf.member(outer, "nothing"), None);
    assert_eq!(btf.all_members(outer), []);
}
