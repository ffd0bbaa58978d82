//! Names of a kernel enum's values, as people write them: without the prefix that nearly all of them share.

use super::btf::{Btf, TypeId};
use std::collections::HashMap;

/// Both ways between values and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumNames {
    /// As C spells it: `enum skb_drop_reason`.
    pub name: String,
    by_value: HashMap<i64, String>,
    /// Short and whole names.
    by_name: HashMap<String, i64>,
    /// Width in bytes: how a value without a name is shown.
    bytes: u32,
    signed: bool,
}

impl EnumNames {
    /// The names of an enum of this kernel.
    pub fn of(btf: &Btf, id: TypeId) -> Self {
        Self::new(btf.describe(btf.strip(id).id), &btf.enumerators(id), btf.size(id), btf.is_signed(id))
    }

    /// Names that are part of the kernel's interface, and the same on every kernel: no type of the running one need be looked at.
    pub fn fixed(name: &str, members: &[(&str, i64)]) -> Self {
        Self::new(name.to_owned(), members, 4, false)
    }

    fn new(name: String, members: &[(&str, i64)], bytes: u32, signed: bool) -> Self {
        let prefix = shared_prefix(members);
        let (mut by_value, mut by_name) = (HashMap::new(), HashMap::new());
        for (whole, value) in members {
            by_name.insert((*whole).to_owned(), *value);
        }
        for (whole, value) in members {
            let short = shortened(whole, prefix);
            // Of two names for one value the first counts; of a short name that is another's whole one, the whole one.
            by_value.entry(*value).or_insert_with(|| short.to_owned());
            by_name.entry(short.to_owned()).or_insert(*value);
        }
        Self { name, by_value, by_name, bytes, signed }
    }

    /// The same with names for values that have none. Both are as they are shown.
    pub fn and(mut self, more: &[(&str, i64)]) -> Self {
        for (name, value) in more {
            self.by_value.entry(*value).or_insert_with(|| (*name).to_owned());
            self.by_name.entry((*name).to_owned()).or_insert(*value);
        }
        self
    }

    /// The name of a value; one that has none is shown as `0x20003`.
    pub fn text(&self, value: i64) -> String {
        self.by_value.get(&value).cloned().unwrap_or_else(|| match self.bytes {
            0..=4 => format!("{:#x}", value as u32),
            _ => format!("{value:#x}"),
        })
    }

    /// The value of a name in either spelling, or of what [`text`](Self::text) shows for one without.
    pub fn value(&self, name: &str) -> Option<i64> {
        let number = || {
            let bits = u64::from_str_radix(name.strip_prefix("0x")?, 16).ok()?;
            match (self.bytes, self.signed, u32::try_from(bits)) {
                (0..=4, true, Ok(bits)) => Some(i64::from(bits as i32)),
                (0..=4, _, bits) => bits.ok().map(i64::from),
                _ => Some(bits as i64),
            }
        };
        self.by_name.get(name).copied().or_else(number)
    }

    /// The same as a number that columns of this enum are compared with.
    pub fn number(&self, name: &str) -> Option<i128> {
        let value = self.value(name)?;
        Some(if self.signed { value.into() } else { (value as u64).into() })
    }

    /// The names as they are shown.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_value.values().map(String::as_str)
    }
}

/// The longest beginning that more than 90 % of the names share, cut back to its last `_`.
fn shared_prefix<'a>(members: &[(&'a str, i64)]) -> &'a str {
    let mut best = "";
    let mut names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    // Names that share a beginning stand together; a prefix of 90 % covers the middle one.
    let Some(middle) = names.get(names.len() / 2) else { return "" };
    for (end, _) in middle.match_indices('_') {
        let prefix = &middle[..=end];
        let sharing = names.iter().filter(|name| name.starts_with(prefix)).count();
        if sharing * 10 > names.len() * 9 {
            best = prefix;
        }
    }
    best
}

/// A name without the prefix, unless nothing or a digit would begin it.
fn shortened<'a>(name: &'a str, prefix: &str) -> &'a str {
    match name.strip_prefix(prefix) {
        Some(rest) if rest.starts_with(|c: char| !c.is_ascii_digit()) => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(members: &[(&str, i64)]) -> EnumNames {
        EnumNames::new("enum e".into(), members, 4, false)
    }

    fn reasons() -> EnumNames {
        let mut members = vec![("SKB_NOT_DROPPED_YET".to_owned(), 0), ("SKB_CONSUMED".to_owned(), 1)];
        members.extend((2..40).map(|value| (format!("SKB_DROP_REASON_R{value}"), value)));
        members.push(("SKB_DROP_REASON_SUBSYS_MASK".into(), 0xffff_0000));
        names(&members.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
    }

    #[test]
    fn the_prefix_of_nearly_all_goes_and_others_keep_their_whole_name() {
        let reasons = reasons();
        assert_eq!(reasons.text(7), "R7");
        assert_eq!(reasons.text(0), "SKB_NOT_DROPPED_YET");
        assert_eq!(reasons.text(0xffff_0000), "SUBSYS_MASK");
    }

    #[test]
    fn both_spellings_and_numbers_without_a_name_are_known() {
        let reasons = reasons();
        assert_eq!((reasons.value("R7"), reasons.value("SKB_DROP_REASON_R7")), (Some(7), Some(7)));
        assert_eq!(reasons.text(0x20003), "0x20003");
        assert_eq!(reasons.value("0x20003"), Some(0x20003));
        assert_eq!(reasons.value("R77"), None);
    }

    #[test]
    fn no_name_becomes_empty_or_begins_with_a_digit() {
        let names = names(&[("A_", 0), ("A_1", 1), ("A_B", 2), ("A_B_", 3)]);
        assert_eq!([0, 1, 2, 3].map(|value| names.text(value)), ["A_", "A_1", "B", "B_"]);
    }

    #[test]
    fn nine_in_ten_is_not_enough() {
        let mut members: Vec<(String, i64)> = (0..9).map(|value| (format!("P_N{value}"), value)).collect();
        members.push(("OTHER".into(), 9));
        let members: Vec<(&str, i64)> = members.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(names(&members).text(3), "P_N3");
        assert_eq!(names(&members[..9]).text(3), "N3");
    }

    #[test]
    fn names_may_be_added_where_there_are_none() {
        let names = names(&[("P_A", 1), ("P_B", 2)]).and(&[("C", 3), ("D", 1)]);
        assert_eq!((names.text(3), names.value("C")), ("C".to_owned(), Some(3)));
        assert_eq!(names.text(1), "A", "those that are there stay");
    }

    #[test]
    fn of_two_names_for_a_value_the_first_is_shown() {
        let names = names(&[("P_A", 1), ("P_B", 1)]);
        assert_eq!(names.text(1), "A");
        assert_eq!((names.value("A"), names.value("B")), (Some(1), Some(1)));
    }
}
