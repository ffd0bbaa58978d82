//! A program in the kernel, with the maps of its own.

use super::{
    error::{BpfError, Denied, LoadError},
    groups::Groups,
    map::{Kind, Map, Shape},
    shared::{MAX_PROGRAMS, Shared},
    sys,
};
use netsonde_core::bpf::program::{self, Patch, Program, Writes};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    io::Errno,
};

/// Room for what the verifier says. Kernels since 6.4 keep its end if that is more, older ones its beginning.
const LOG_BYTES: usize = 1 << 20;
/// How many lines of it are shown.
const LINES: usize = 12;

/// Namespaces whose token buckets are remembered; the one not used for the longest time is forgotten, and starts with a full one.
const TOKENS: u32 = 4096;

/// A loaded program. Dropped, it is detached and gone.
#[derive(Debug)]
pub struct Loaded {
    table: String,
    link: Option<OwnedFd>,
    program: OwnedFd,
    maps: Maps,
}

/// The maps that no other program writes to.
#[derive(Debug)]
struct Maps {
    tokens: Option<Map>,
    /// The bucket of stacks.
    stacks: Option<Map>,
    groups: Option<[Groups; 2]>,
}

impl Loaded {
    /// Loads a program under a number that no other loaded one has, below [`MAX_PROGRAMS`]. It does not run before it is attached.
    pub fn load(program: &Program, id: u32, shared: &Shared) -> Result<Self, LoadError> {
        let table = || program.table.clone();
        let malformed = |what| LoadError::Malformed { table: table(), what };
        if id >= MAX_PROGRAMS {
            return Err(malformed(format!("its number {id} is not below {MAX_PROGRAMS}")));
        }
        if let Writes::Groups { key_bytes: 0, .. } | Writes::Groups { value_bytes: 0, .. } = program.writes {
            return Err(malformed("its groups have no key or no value".to_owned()));
        }
        let maps = Maps::new(program, shared).map_err(|source| LoadError::Map { table: table(), source })?;
        let code = patched(program, |patch| match patch {
            Patch::Id => Some(id),
            Patch::Map(map) => maps.descriptor(map, shared).map(|fd| fd.as_raw_fd() as u32),
        });
        let loaded = load(program, sys::Attach::Tracepoint, &code.map_err(malformed)?)?;
        Ok(Self { table: table(), link: None, program: loaded, maps })
    }

    /// Lets the program run from now on.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        if self.link.is_none() {
            let link = sys::attach(self.program.as_fd()).map_err(|error| match error {
                Errno::PERM => LoadError::NotPermitted { table: self.table.clone(), denied: Denied::now() },
                error => LoadError::Attach { table: self.table.clone(), error },
            })?;
            self.link = Some(link);
        }
        Ok(())
    }

    /// Lets the program not begin any more. After [`Shared::settle`] it does not run either, and what it wrote can be taken for the last
    /// time.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// How often the kernel did not run the program as it was running already on that CPU; None: this kernel does not count that (before
    /// 5.12).
    pub fn missed(&self) -> Option<u64> {
        fdinfo(self.program.as_fd(), "recursion_misses")
    }

    /// Bytes of the kernel's memory that the program and its own maps take.
    pub fn memory(&self) -> u64 {
        let groups = self.maps.groups.iter().flatten().map(AsFd::as_fd);
        let buckets = self.maps.tokens.iter().chain(&self.maps.stacks).map(AsFd::as_fd);
        let all = groups.chain(buckets).chain([self.program.as_fd()]);
        all.filter_map(|fd| fdinfo(fd, "memlock")).sum()
    }

    /// Moves all groups out of the map that [`Shared::flip`] gave: to `each` a key, and its values, one for each possible CPU, each in a
    /// multiple of eight bytes. Does nothing for a program without groups. After an error the groups that were not handed over are
    /// still there.
    pub fn take_groups(&self, quiet: usize, each: impl FnMut(&[u8], &[u8])) -> Result<(), BpfError> {
        match self.maps.groups.as_ref().and_then(|groups| groups.get(quiet)) {
            Some(groups) => groups.take(each),
            None => Ok(()),
        }
    }
}

impl Maps {
    fn new(program: &Program, shared: &Shared) -> Result<Self, BpfError> {
        let uses = |map| program.patches.iter().any(|(_, patch)| *patch == Patch::Map(map));
        let tokens =
            Shape { name: "netsonde_tokens", kind: Kind::LruHash, key_bytes: 8, value_bytes: 8, entries: TOKENS };
        let stacks = Shape { name: "netsonde_stacks", kind: Kind::Array, key_bytes: 4, value_bytes: 8, entries: 1 };
        let cpus = shared.cpus();
        let groups = match program.writes {
            Writes::Records { .. } => None,
            Writes::Groups { key_bytes, value_bytes } => {
                let groups = |name| Groups::new(name, key_bytes, value_bytes, cpus);
                Some([groups("netsonde_group0")?, groups("netsonde_group1")?])
            }
        };
        let made = |map, shape| uses(map).then(|| Map::new(shape, cpus)).transpose();
        let (tokens, stacks) = (made(program::Map::Tokens, tokens)?, made(program::Map::Stacks, stacks)?);
        Ok(Self { tokens, stacks, groups })
    }

    fn descriptor<'a>(&'a self, map: program::Map, shared: &'a Shared) -> Option<BorrowedFd<'a>> {
        match map {
            program::Map::Ring => Some(shared.ring_fd()),
            program::Map::Figures => Some(shared.figures_fd()),
            program::Map::Switch => Some(shared.switch_fd()),
            program::Map::Tokens => self.tokens.as_ref().map(AsFd::as_fd),
            program::Map::Stacks => self.stacks.as_ref().map(AsFd::as_fd),
            program::Map::Groups(index) => self.groups.as_ref()?.get(index).map(AsFd::as_fd),
            program::Map::Seen => None,
        }
    }
}

/// The code with its immediates written. An error says which of them could not be.
pub(super) fn patched(program: &Program, number: impl Fn(Patch) -> Option<u32>) -> Result<Vec<u64>, String> {
    let mut code = program.code.clone();
    for &(at, patch) in &program.patches {
        let number = number(patch).ok_or_else(|| format!("it has no {patch:?}"))?;
        let word = code.get_mut(at).ok_or_else(|| format!("{patch:?} is to be written behind its end"))?;
        *word = *word & u64::from(u32::MAX) | u64::from(number) << 32;
    }
    Ok(code)
}

/// Loads without a log, which takes the verifier no time; and again with one, if it is needed.
pub(super) fn load(program: &Program, kind: sys::Attach, code: &[u64]) -> Result<OwnedFd, LoadError> {
    let table = program.table.clone();
    let name = table.split_once('.').map_or(&*table, |(_, name)| name);
    let load = |log| sys::load_program(name, kind, program.attach_btf_id, code, log);
    let error = match load(None) {
        Ok(loaded) => return Ok(loaded),
        Err(Errno::PERM) => return Err(LoadError::NotPermitted { table, denied: Denied::now() }),
        Err(Errno::TOOBIG) => return Err(LoadError::TooLarge { table, instructions: code.len() }),
        Err(error) => error,
    };
    let mut log = vec![0; LOG_BYTES];
    match load(Some(&mut log)) {
        Ok(loaded) => Ok(loaded),
        Err(_) => Err(LoadError::Refused { table, error, lines: last_lines(&log) }),
    }
}

/// The last lines of a text that ends with a zero byte.
fn last_lines(log: &[u8]) -> Vec<String> {
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text.lines().rev().take(LINES).map(str::to_owned).collect();
    lines.reverse();
    lines
}

/// A number that the kernel tells of a descriptor (bpf_prog_show_fdinfo and bpf_map_show_fdinfo in kernel/bpf/syscall.c).
fn fdinfo(fd: BorrowedFd<'_>, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(patches: Vec<(usize, Patch)>) -> Program {
        Program {
            table: "hook.task_rename".into(),
            attach_btf_id: 1,
            code: vec![0x1111_1111_0000_0018, 0, u64::MAX],
            patches,
            writes: Writes::Records { bytes: 8 },
        }
    }

    #[test]
    fn patches_are_the_upper_halves() {
        let program = program(vec![(0, Patch::Map(program::Map::Ring)), (2, Patch::Id)]);
        let number = |patch| Some(if patch == Patch::Id { 7 } else { 0x8000_0001 });
        assert_eq!(patched(&program, number).unwrap(), [0x8000_0001_0000_0018, 0, 0x0000_0007_ffff_ffff]);
    }

    #[test]
    fn a_patch_that_cannot_be_written_is_an_error() {
        let outside = patched(&program(vec![(3, Patch::Id)]), |_| Some(1)).unwrap_err();
        assert_eq!(outside, "Id is to be written behind its end");
        let unknown = patched(&program(vec![(0, Patch::Map(program::Map::Groups(2)))]), |_| None).unwrap_err();
        assert_eq!(unknown, "it has no Map(Groups(2))");
    }

    #[test]
    fn the_last_lines_of_a_log_end_at_the_zero_byte() {
        let log: String = (0..20).map(|line| format!("line {line}\n")).collect();
        let lines = last_lines(format!("{log}\0rubbish\n").as_bytes());
        assert_eq!((lines.len(), &*lines[0], &*lines[11]), (12, "line 8", "line 19"));
        assert!(last_lines(&[0; 4]).is_empty());
        assert!(last_lines(&[]).is_empty());
    }
}
