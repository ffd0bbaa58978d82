//! Stacks of the kernel as people read them: `skb_release_data+0xA3`, and `br_forward+0x1F [bridge]` in a module.

use super::kallsyms::{Known, Symbols};
use netsonde_core::event::Stack;
use std::{collections::HashMap, sync::Arc};

/// Stacks and frames that are remembered; beyond, all are forgotten.
const MOST_STACKS: usize = 1024;
const MOST_FRAMES: usize = 10_000;

/// What a stack begins with is how the program itself was called: behind the last of these it is the kernel's own.
const OF_BPF: [&str; 4] = ["bpf_get_stack", "bpf_trace_run", "__bpf_trace_", "__traceiter_"];
/// So many frames of those there are at most.
const MOST_OF_BPF: usize = 12;

/// An address that is in no function.
const UNKNOWN: &str = "?";
/// No function is so long: what is further behind one is in none.
const LONGEST: u64 = 1 << 20;

/// Writes stacks, and remembers them.
pub struct Stacks {
    symbols: Symbols,
    stacks: HashMap<Box<[u64]>, Stack>,
    frames: HashMap<u64, Arc<str>>,
}

impl Stacks {
    pub fn new(symbols: Symbols) -> Self {
        Self { symbols, stacks: HashMap::new(), frames: HashMap::new() }
    }

    /// The frames of a stack of return addresses, without those of BPF itself; None where no address has a name, see [`why_none`](Self::why_none).
    ///
    /// One with new addresses takes as long as reading `/proc/kallsyms`, tens of milliseconds; one that was asked for before, nothing.
    pub fn stack(&mut self, addresses: &[u64]) -> Option<Stack> {
        if let Some(known) = self.stacks.get(addresses) {
            return Some(known.clone());
        }
        // Where a call is the last thing in a function, what it returns to is the next one: the call itself is before that.
        let calls: Vec<u64> = addresses.iter().map(|address| address.saturating_sub(1)).collect();
        let near = |(function, &address): (Option<_>, &u64)| {
            function.filter(|known: &Known| address.saturating_sub(known.start) < LONGEST)
        };
        let functions: Vec<_> = self.symbols.functions(&calls).into_iter().zip(addresses).map(near).collect();
        // Programs are in a module of their own; the kernel has functions that are called like them.
        let own = functions.iter().take(MOST_OF_BPF).rposition(|function| {
            let is_own = |name: &str| OF_BPF.iter().any(|prefix| name.starts_with(prefix));
            function.as_ref().is_some_and(|known| is_own(&known.name) || &*known.module == "bpf")
        });
        let skipped = own.map_or(0, |last| last + 1);
        if self.frames.len() + addresses.len() > MOST_FRAMES {
            self.frames.clear();
        }
        let (mut frames, mut unknown) = (Vec::with_capacity(addresses.len()), 0);
        for (&address, function) in addresses.iter().zip(functions).skip(skipped) {
            let Some(function) = function else {
                unknown += 1;
                frames.push(UNKNOWN.into());
                continue;
            };
            let text = || {
                let offset = address - function.start;
                match function.module.as_ref() {
                    "" => format!("{}+{offset:#X}", function.name).into(),
                    module => format!("{}+{offset:#X} [{module}]", function.name).into(),
                }
            };
            frames.push(self.frames.entry(address).or_insert_with(text).clone());
        }
        if frames.len() == unknown {
            return None;
        }
        let stack: Stack = frames.into();
        // What is not known may be so later: a module is being loaded.
        if unknown == 0 {
            if self.stacks.len() >= MOST_STACKS {
                self.stacks.clear();
            }
            self.stacks.insert(addresses.into(), stack.clone());
        }
        Some(stack)
    }

    /// What stands against every name, if anything does; reads the file if nobody has.
    pub fn why_none(&mut self) -> Option<String> {
        self.symbols.names(&[u64::MAX]);
        self.symbols.why_none().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf};

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn stacks(name: &str, kallsyms: &str) -> (Folder, Stacks) {
        let folder = Folder(std::env::temp_dir().join(format!("netsonde-{name}-{}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join("kallsyms"), kallsyms).unwrap();
        let stacks = Stacks::new(Symbols::new(&folder.0));
        (folder, stacks)
    }

    const KALLSYMS: &str = "\
ffffffff81000000 T bpf_trace_run4
ffffffff81001000 T __bpf_trace_kfree_skb
ffffffff81002000 T kfree_skb_reason
ffffffff81002100 T nf_hook_slow
ffffffff81003000 T bpf_prog_test_run_skb
ffffffff81004000 T entry_SYSCALL_64
ffffffffc0001000 t br_forward\t[bridge]
ffffffffc0100000 t bpf_prog_0123456789abcdef\t[bpf]
";

    fn frames(stacks: &mut Stacks, addresses: &[u64]) -> Vec<String> {
        let stack = stacks.stack(addresses).unwrap_or_else(|| panic!("{:?}", stacks.why_none()));
        stack.iter().map(|frame| frame.to_string()).collect()
    }

    #[test]
    fn a_stack_is_told_innermost_first_without_what_called_the_program() {
        let (_folder, mut stacks) = stacks("stacks", KALLSYMS);
        let own = [0xffff_ffff_c010_0042, 0xffff_ffff_8100_0011, 0xffff_ffff_8100_1022];
        let rest = [
            0xffff_ffff_8100_20a3,
            // The function behind begins here: the call was the last thing in the one before.
            0xffff_ffff_8100_2100,
            0xffff_ffff_c000_101f,
            0xffff_ffff_8100_4000,
            0x1234,
            0xffff_ffff_d000_0000,
        ];
        let expected = [
            "kfree_skb_reason+0xA3",
            "kfree_skb_reason+0x100",
            "br_forward+0x1F [bridge]",
            "bpf_prog_test_run_skb+0x1000",
            "?",
            "?",
        ];
        assert_eq!(frames(&mut stacks, &[&own[..], &rest].concat()), expected);
        // Where programs have no names, what called them has.
        assert_eq!(
            frames(&mut stacks, &[&[0xffff_ffff_a000_0000, own[1], own[2]][..], &rest[..1]].concat()),
            [expected[0]]
        );
        assert_eq!(frames(&mut stacks, &rest[..1]), [expected[0]]);
        let first = stacks.stack(&rest[..1]).unwrap();
        assert!(Arc::ptr_eq(&first, &stacks.stack(&rest[..1]).unwrap()), "it is made once");
    }

    #[test]
    fn what_has_no_names_is_no_stack() {
        let (_folder, mut all) = stacks("no-stacks", KALLSYMS);
        for none in [&[][..], &[0x1000], &[0xffff_ffff_8100_0011]] {
            assert_eq!(all.stack(none), None, "{none:x?}");
        }
        let hidden: String = KALLSYMS.lines().map(|line| format!("{:016x}{}\n", 0, &line[16..])).collect();
        let (_folder, mut hidden) = stacks("hidden-stacks", &hidden);
        assert!(hidden.why_none().unwrap().contains("CAP_SYSLOG"));
        assert_eq!(hidden.stack(&[0xffff_ffff_8100_20a3]), None);
        assert_eq!(all.why_none(), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (_folder, mut stacks) = stacks("bounded-stacks", KALLSYMS);
        for address in 0..2 * MOST_STACKS as u64 {
            assert!(
                stacks
                    .stack(&[
                        0xffff_ffff_8100_2001,
                        0xffff_ffff_8100_2101 + address % 0x800,
                        0xffff_ffff_8100_2002 + address / 0x800
                    ])
                    .is_some()
            );
            assert!(stacks.stacks.len() <= MOST_STACKS && stacks.frames.len() <= MOST_FRAMES);
        }
    }
}
