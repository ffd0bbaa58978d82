//! Which functions of the kernel some addresses are in, from the text of `/proc/kallsyms` (kernel/kallsyms.c), line by line: the text is
//! megabytes long, and nobody needs most of it.

/// A function that an address is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// Empty for the kernel proper.
    pub module: String,
}

/// A search for the names of a few addresses.
#[derive(Clone, Debug)]
pub struct Search {
    /// The addresses looked for, in ascending order, each with the best symbol of those that lie behind the address before.
    wanted: Vec<Wanted>,
    /// The addresses as they were given.
    addresses: Vec<u64>,
    lines: usize,
    has_addresses: bool,
}

#[derive(Clone, Debug)]
struct Wanted {
    address: u64,
    /// 0: none yet.
    start: u64,
    name: Vec<u8>,
    module: Vec<u8>,
}

impl Search {
    pub fn new(addresses: &[u64]) -> Self {
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let wanted = |address| Wanted { address, start: 0, name: Vec::new(), module: Vec::new() };
        Self {
            wanted: sorted.into_iter().map(wanted).collect(),
            addresses: addresses.to_vec(),
            lines: 0,
            has_addresses: false,
        }
    }

    /// Takes the next line, with or without its end. What is no line of the file is passed over.
    pub fn line(&mut self, line: &[u8]) {
        let Some(Symbol { start, kind, name, module }) = split(line) else { return };
        self.lines += 1;
        self.has_addresses |= start != 0;
        if start == 0 || !matches!(kind, b't' | b'T' | b'w' | b'W') {
            return;
        }
        // The first address that the symbol may be the nearest of; for those behind it, `finish` looks back.
        let at = self.wanted.partition_point(|wanted| wanted.address < start);
        let Some(wanted) = self.wanted.get_mut(at) else { return };
        // Of several names of one function the first: the kernel itself calls it so.
        if start > wanted.start {
            wanted.start = start;
            wanted.name.clear();
            wanted.name.extend_from_slice(name);
            wanted.module.clear();
            wanted.module.extend_from_slice(module);
        }
    }

    /// Whether the file has symbols but no addresses: what the kernel shows to those who may not see them (kptr_restrict, CAP_SYSLOG).
    pub fn is_hidden(&self) -> bool {
        self.lines > 0 && !self.has_addresses
    }

    /// For each address, as given: the function with the nearest start at or below it. None: there is no such.
    pub fn finish(self) -> Vec<Option<Function>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let function = |address: &u64| {
            let end = self.wanted.partition_point(|wanted| wanted.address <= *address);
            let nearest = self.wanted[..end].iter().rev().find(|wanted| wanted.start != 0)?;
            Some(Function { name: text(&nearest.name), start: nearest.start, module: text(&nearest.module) })
        };
        self.addresses.iter().map(function).collect()
    }
}

/// A line of the file.
struct Symbol<'l> {
    start: u64,
    kind: u8,
    name: &'l [u8],
    module: &'l [u8],
}

/// Address, type, name and, in brackets, the module: `ffffffffc0123450 t nf_nat_setup\t[nf_nat]`.
fn split(line: &[u8]) -> Option<Symbol<'_>> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let start = hex(words.next()?)?;
    let &[kind] = words.next()? else { return None };
    let name = words.next()?;
    let module = words.next().and_then(|word| word.strip_prefix(b"[")?.strip_suffix(b"]")).unwrap_or_default();
    Some(Symbol { start, kind, name, module })
}

fn hex(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As of Linux 6.18, shortened: data among the functions, several names of one, modules and BPF programs at the end, which is not in
    /// order.
    const KALLSYMS: &str = "\
0000000000000000 D __per_cpu_start
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 T kfree_skb
ffffffff81000180 t tcp_v4_rcv.cold
ffffffff81000200 D jiffies
ffffffff81000200 W weak_one
ffffffff81000300 w weak_two
ffffffff81000400 b bss
ffffffffc0001000 t nf_nat_setup\t[nf_nat]
ffffffffc0000800 t br_forward\t[bridge]
";

    fn functions(text: &str, addresses: &[u64]) -> Vec<Option<Function>> {
        let mut search = Search::new(addresses);
        text.split_inclusive('\n').for_each(|line| search.line(line.as_bytes()));
        search.finish()
    }

    fn search(text: &str, addresses: &[u64]) -> Vec<Option<String>> {
        functions(text, addresses).into_iter().map(|function| function.map(|function| function.name)).collect()
    }

    #[test]
    fn a_function_has_its_start_and_its_module() {
        for (address, name, start, module) in [
            (0xffff_ffff_8100_0123, "kfree_skb", 0xffff_ffff_8100_0100, ""),
            (0xffff_ffff_c000_0fff, "br_forward", 0xffff_ffff_c000_0800, "bridge"),
            (0xffff_ffff_c000_2000, "nf_nat_setup", 0xffff_ffff_c000_1000, "nf_nat"),
        ] {
            let function = Function { name: name.into(), start, module: module.into() };
            assert_eq!(functions(KALLSYMS, &[address]), [Some(function)]);
        }
    }

    #[test]
    fn an_address_is_in_the_function_that_starts_nearest_below() {
        for (address, expected) in [
            (0, None),
            (0x7fff_0000_1234, None), // not the kernel's
            (0xffff_ffff_80ff_ffff, None),
            (0xffff_ffff_8100_0000, Some("_stext")), // the first of its names
            (0xffff_ffff_8100_00ff, Some("_stext")),
            (0xffff_ffff_8100_0100, Some("kfree_skb")),
            (0xffff_ffff_8100_01ff, Some("tcp_v4_rcv.cold")),
            (0xffff_ffff_8100_0200, Some("weak_one")), // data is nothing
            (0xffff_ffff_8100_0500, Some("weak_two")),
            (0xffff_ffff_c000_0fff, Some("br_forward")),
            (0xffff_ffff_c000_1000, Some("nf_nat_setup")),
            (u64::MAX, Some("nf_nat_setup")),
        ] {
            assert_eq!(search(KALLSYMS, &[address]), [expected.map(str::to_owned)], "{address:x}");
        }
    }

    #[test]
    fn many_at_once_are_what_each_is_alone() {
        let addresses: Vec<u64> = (0..0x600)
            .step_by(0x33)
            .flat_map(|offset| [0xffff_ffff_c000_0700 + 3 * offset, 0xffff_ffff_80ff_fff0 + offset])
            .chain([0, u64::MAX, 0xffff_ffff_8100_0100, 0xffff_ffff_8100_0100])
            .collect();
        let alone: Vec<_> = addresses.iter().flat_map(|address| search(KALLSYMS, &[*address])).collect();
        assert_eq!(search(KALLSYMS, &addresses), alone);

        // Nor does the order of lines matter, but among the names of one function.
        let mut lines: Vec<&str> = KALLSYMS.lines().filter(|line| !line.ends_with(" _text")).collect();
        lines.reverse();
        assert_eq!(search(&lines.join("\n"), &addresses), alone);
    }

    #[test]
    fn hidden_addresses_are_no_symbols() {
        let hidden: String = KALLSYMS.lines().map(|line| format!("{:016x}{}\n", 0, &line[16..])).collect();
        let mut search = Search::new(&[0xffff_ffff_8100_0100, 0]);
        assert!(!search.is_hidden(), "nothing is known before the first line");
        hidden.lines().for_each(|line| search.line(line.as_bytes()));
        assert!(search.is_hidden());
        assert_eq!(search.finish(), [None, None]);

        let mut search = Search::new(&[]);
        KALLSYMS.lines().for_each(|line| search.line(line.as_bytes()));
        assert!(!search.is_hidden());
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        let odd = [
            "",
            "\n",
            "ffffffff81000000",
            "ffffffff81000000 T",
            "ffffffff81000000 TT two",
            "ffffffff8100zz00 T digits",
            "-ffffffff8100000 T sign",
            "1ffffffff81000000 T seventeen",
            " \t ",
        ];
        let mut search = Search::new(&[u64::MAX]);
        odd.iter().for_each(|line| search.line(line.as_bytes()));
        search.line(b"ffffffff81000000 T \xff\xfe\n");
        let names: Vec<_> = search.finish().into_iter().flatten().map(|function| function.name).collect();
        assert_eq!(names, ["\u{fffd}\u{fffd}"]);
    }
}
