//! Names of the kernel's functions.

use super::Check;
use crate::bpf::kallsyms::{NoSymbols, Symbols};
use std::{fs, path::Path};

const LOST: &str = "name(location) and stacks: they show no names";

pub fn look(proc_root: &Path) -> Vec<Check> {
    let mut symbols = Symbols::new(proc_root);
    // The file is read whole for any address; what matters is whether it shows some.
    symbols.names(&[u64::MAX]);
    let restrict = fs::read_to_string(proc_root.join("sys/kernel/kptr_restrict")).ok();
    vec![judge(symbols.why_none(), restrict.as_deref().map(str::trim))]
}

fn judge(why_none: Option<&NoSymbols>, restrict: Option<&str>) -> Check {
    let restrict = restrict.map_or_else(String::new, |value| format!("; kernel.kptr_restrict is {value}"));
    match why_none {
        None => Check::good("kallsyms", format!("addresses have names{restrict}")),
        Some(NoSymbols::Hidden { path }) => Check::missing(
            "kallsyms",
            format!("{} hides its addresses{restrict}", path.display()),
            LOST,
            "give the agent CAP_SYSLOG, and let kernel.kptr_restrict not be 2",
        ),
        Some(NoSymbols::Unreadable { path, source }) => Check::missing(
            "kallsyms",
            format!("read {}: {source}", path.display()),
            LOST,
            "set proc_root to where procfs is mounted, and run a kernel with CONFIG_KALLSYMS",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn hidden_addresses_are_told_from_a_missing_file() {
        let hidden = NoSymbols::Hidden { path: "/proc/kallsyms".into() };
        let check = judge(Some(&hidden), Some("2"));
        assert!(check.found.ends_with("kptr_restrict is 2") && check.todo.contains("CAP_SYSLOG"), "{check:?}");
        let check = look(Path::new("/nonexistent")).remove(0);
        assert_eq!(check.verdict, Verdict::Missing);
        assert!(check.found.contains("/nonexistent/kallsyms") && check.todo.contains("proc_root"), "{check:?}");
        assert_eq!(judge(None, None), Check::good("kallsyms", "addresses have names"));
    }
}
