//! The kernel's types, the queries over its tables, and its own account of programs and maps.

use netsonde::{
    probe::{builtin, cache::Cache, engine::Engine, guest::Guest, limits::Limits, module::Module},
    source::btf,
};
use netsonde_core::{
    config,
    table::{Catalogue, Hooks},
};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{collections::BTreeMap, fs, path::Path};

pub const BTF: &str = "/sys/kernel/btf/vmlinux";

// Commands of bpf(2) (include/uapi/linux/bpf.h).
const PROG_GET_FD_BY_ID: i32 = 13;
const ENABLE_STATS: i32 = 32;

/// What this kernel can be asked by programs.
pub fn catalogue() -> Catalogue {
    Catalogue { hooks: Hooks::known(btf::read(Path::new(BTF)).unwrap()), ..Catalogue::default() }
}

/// The queries of a built-in probe: name and text.
pub fn queries(probe: &str) -> Vec<(String, String)> {
    let engine = Engine::new(1).unwrap();
    let module = Module::from_bytes(&engine, probe, builtin::module(probe).unwrap(), &Cache::none()).unwrap();
    let limits = Limits::from(&config::Limits::default());
    let plan = Guest::new(engine, probe, module, "{}".into(), limits).describe().unwrap();
    plan.queries.into_iter().map(|query| (query.name, query.sql)).collect()
}

/// Has the kernel take the time of all programs, for as long as this is open (BPF_STATS_RUN_TIME).
pub fn stats() -> OwnedFd {
    descriptor(ENABLE_STATS, [0, 0, 0])
}

/// A program by its number.
pub fn program(id: u64) -> OwnedFd {
    descriptor(PROG_GET_FD_BY_ID, [id as u32, 0, 0])
}

fn descriptor(command: i32, attr: [u32; 3]) -> OwnedFd {
    // SAFETY: the command reads the numbers, and answers with a new descriptor.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of_val(&attr)) };
    assert!(descriptor >= 0, "these benches need root: {}", std::io::Error::last_os_error());
    // SAFETY: new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

/// What the kernel tells of each descriptor of a process, `self` or its number.
pub fn descriptors(process: &str) -> BTreeMap<i32, String> {
    let entries = fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap().flatten();
    let told = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, fs::read_to_string(entry.path()).ok()?)));
    told.collect()
}

/// What it tells of one of ours.
pub fn told(descriptor: i32) -> String {
    fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap()
}

/// A number in it.
pub fn number(told: &str, name: &str) -> Option<u64> {
    told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// What the kernel accounts for one loaded program and its maps.
pub struct Account {
    program: OwnedFd,
    maps: Vec<i32>,
}

impl Account {
    /// Of the program for passes that `load` loads.
    pub fn of_pass<T>(load: impl FnOnce() -> T) -> (T, Self) {
        let before = descriptors("self");
        let loaded = load();
        // A number may have been that of something else before, such as the folder that is listed.
        let is_new = |(descriptor, told): &(i32, String)| before.get(descriptor) != Some(told);
        let new: Vec<(i32, String)> = descriptors("self").into_iter().filter(is_new).collect();
        let link = new.iter().find(|(_, told)| told.contains("link_type:")).unwrap();
        let program = program(number(&link.1, "prog_id").unwrap());
        let maps = new.iter().filter(|(_, told)| told.contains("map_type:")).map(|(descriptor, _)| *descriptor);
        (loaded, Self { program, maps: maps.collect() })
    }

    /// Nanoseconds and runs, while [`stats`] is open.
    pub fn spent(&self) -> (u64, u64) {
        let told = told(self.program.as_raw_fd());
        (number(&told, "run_time_ns").unwrap(), number(&told, "run_cnt").unwrap())
    }

    /// Bytes of memory: of the program, and of its maps.
    pub fn memory(&self) -> (u64, u64) {
        let memory = |descriptor| number(&told(descriptor), "memlock").unwrap();
        (memory(self.program.as_raw_fd()), self.maps.iter().map(|&map| memory(map)).sum())
    }
}
