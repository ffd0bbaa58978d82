//! Names of the kernel's functions by address.

use netsonde_core::symbols::{Function, Search};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How many addresses are remembered. Stacks and places where packets are dropped are a few hundred.
const MOST: usize = 10_000;
/// Until the file is read again for what was not in it, or for new addresses when the memory is full: reading takes 60 ms.
const PAUSE: Duration = Duration::from_secs(1);
/// The same after a reading that told nothing of any address.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// Why no address has a name.
#[derive(Debug, thiserror::Error)]
pub enum NoSymbols {
    #[error(
        "the kernel does not show addresses in {}; give the agent CAP_SYSLOG, and let kernel.kptr_restrict not be 2",
        path.display()
    )]
    Hidden { path: PathBuf },
    #[error("read {}: {source}; set proc_root to where procfs is mounted", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Names that were asked for before.
#[derive(Debug)]
pub struct Symbols {
    path: PathBuf,
    /// None: the address was in no function when the file was read.
    known: HashMap<u64, Option<Known>>,
    read: Option<Instant>,
    why_none: Option<NoSymbols>,
}

/// A function of the kernel.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: Arc<str>,
    /// Its first address.
    pub start: u64,
    /// Empty for the kernel proper.
    pub module: Arc<str>,
}

impl From<Function> for Known {
    fn from(function: Function) -> Self {
        Self { name: function.name.into(), start: function.start, module: function.module.into() }
    }
}

impl Symbols {
    pub fn new(proc_root: &Path) -> Self {
        Self { path: proc_root.join("kallsyms"), known: HashMap::new(), read: None, why_none: None }
    }

    /// The function that each address is in, without its module. None: in none, or it is not known yet, or see [`Symbols::why_none`].
    ///
    /// Reads `/proc/kallsyms` at most once. That takes tens of milliseconds; a call for addresses asked for before does not.
    pub fn names(&mut self, addresses: &[u64]) -> Vec<Option<Arc<str>>> {
        self.look_up(addresses, Instant::now());
        let name = |address| Some(self.known.get(address)?.as_ref()?.name.clone());
        addresses.iter().map(name).collect()
    }

    /// The same with where each function is.
    pub fn functions(&mut self, addresses: &[u64]) -> Vec<Option<Known>> {
        self.look_up(addresses, Instant::now());
        addresses.iter().map(|address| self.known.get(address).cloned().flatten()).collect()
    }

    /// What stood against every name, if anything did when the file was read last.
    pub fn why_none(&self) -> Option<&NoSymbols> {
        self.why_none.as_ref()
    }

    fn look_up(&mut self, addresses: &[u64], now: Instant) {
        let has_name = |address: &&u64| matches!(self.known.get(address), Some(Some(_)));
        let mut wanted: HashSet<u64> = addresses.iter().filter(|address| !has_name(address)).copied().collect();
        let new = wanted.iter().filter(|address| !self.known.contains_key(address)).count();
        let is_full = self.known.len() + new > MOST;
        if wanted.is_empty() || self.is_pausing(new > 0 && !is_full, now) {
            return;
        }
        if is_full {
            self.known.clear();
            wanted = addresses.iter().copied().collect();
        }
        let wanted: Vec<u64> = wanted.into_iter().take(MOST).collect();
        self.read = Some(now);
        self.why_none = None;
        match search(&self.path, &wanted) {
            Ok(Some(names)) => {
                let names = names.into_iter().map(|function| function.map(Known::from));
                self.known.extend(wanted.into_iter().zip(names));
            }
            Ok(None) => self.why_none = Some(NoSymbols::Hidden { path: self.path.clone() }),
            Err(source) => self.why_none = Some(NoSymbols::Unreadable { path: self.path.clone(), source }),
        }
    }

    /// Whether it is too early to read the file again. Addresses that are new and will be remembered are worth it at once: there can only
    /// be so many of them.
    fn is_pausing(&self, worth_it: bool, now: Instant) -> bool {
        let pause = match (&self.why_none, worth_it) {
            (Some(_), _) => LONG_PAUSE,
            (None, true) => return false,
            (None, false) => PAUSE,
        };
        self.read.is_some_and(|read| now.duration_since(read) < pause)
    }
}

/// The functions of `addresses`; None: the file hides its addresses.
fn search(path: &Path, addresses: &[u64]) -> io::Result<Option<Vec<Option<Function>>>> {
    let mut search = Search::new(addresses);
    let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
    let mut line = Vec::with_capacity(256);
    while file.read_until(b'\n', &mut line)? > 0 {
        search.line(&line);
        line.clear();
    }
    Ok((!search.is_hidden()).then(|| search.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with a file `kallsyms`.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, text: &str) -> Self {
            let folder = Self(std::env::temp_dir().join(format!("netsonde-{name}-{}", std::process::id())));
            fs::create_dir_all(&folder.0).unwrap();
            folder.write(text);
            folder
        }

        fn write(&self, text: &str) {
            fs::write(self.0.join("kallsyms"), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// What is known of an address after it was asked for.
    fn ask(symbols: &mut Symbols, address: u64, now: Instant) -> Option<&str> {
        symbols.look_up(&[address], now);
        symbols.known.get(&address)?.as_ref().map(|known| known.name.as_ref())
    }

    #[test]
    fn a_name_is_read_once_and_a_miss_once_a_second() {
        let folder = Folder::new("symbols", "0000000000001000 T one\n0000000000002000 D data\n");
        let mut symbols = Symbols::new(&folder.0);
        let start = Instant::now();
        assert_eq!(ask(&mut symbols, 0x1001, start), Some("one"));
        assert_eq!(ask(&mut symbols, 0x800, start), None);
        folder.write("0000000000000800 t module_function\t[module]\n0000000000001000 T two\n");
        assert_eq!(ask(&mut symbols, 0x1001, after(start, 100.0)), Some("one"), "known for good");
        assert_eq!(ask(&mut symbols, 0x800, after(start, 0.9)), None, "too early");
        assert_eq!(ask(&mut symbols, 0x1002, after(start, 0.9)), Some("two"), "new: worth it");
        assert_eq!(ask(&mut symbols, 0x800, after(start, 1.8)), None, "0.9 s after the last reading");
        assert_eq!(ask(&mut symbols, 0x800, after(start, 2.0)), Some("module_function"));
    }

    #[test]
    fn the_memory_is_bounded() {
        let folder = Folder::new("bounded", "0000000000001000 T one\n");
        let mut symbols = Symbols::new(&folder.0);
        let start = Instant::now();
        let many: Vec<u64> = (0x1000..0x1000 + MOST as u64).collect();
        symbols.look_up(&many, start);
        assert_eq!(symbols.known.len(), MOST);
        assert_eq!(ask(&mut symbols, u64::MAX, after(start, 0.5)), None, "full, and too early");
        assert_eq!(ask(&mut symbols, u64::MAX, after(start, 1.5)), Some("one"));
        assert_eq!(symbols.known.len(), 1);
        let too_many: Vec<u64> = (0x1000..0x1000 + 2 * MOST as u64).collect();
        symbols.look_up(&too_many, after(start, 3.0));
        assert_eq!(symbols.known.len(), MOST);
    }

    #[test]
    fn why_there_are_no_names_is_told_and_seldom_tried_again() {
        let folder = Folder::new("hidden", "0000000000000000 T one\n");
        let mut symbols = Symbols::new(&folder.0);
        let start = Instant::now();
        assert_eq!(ask(&mut symbols, 0x1000, start), None);
        assert!(symbols.why_none().unwrap().to_string().contains("CAP_SYSLOG"));
        folder.write("0000000000001000 T one\n");
        assert_eq!(ask(&mut symbols, 0x1001, after(start, 59.0)), None);
        assert_eq!(ask(&mut symbols, 0x1000, after(start, 60.0)), Some("one"));
        assert!(symbols.why_none().is_none());

        let mut symbols = Symbols::new(Path::new("/nowhere"));
        assert_eq!(ask(&mut symbols, 0x1000, start), None);
        assert!(symbols.why_none().unwrap().to_string().starts_with("read /nowhere/kallsyms: No such file"));
    }
}
