//! Any text as a query over a tracepoint or the objects of the running kernel: refused by us, or taken by its verifier. Needs root, and ends as anybody else.
#![no_main]

// Only loading is asked of it, and it is built without the rest of the host.
#[allow(dead_code, unused_imports)]
#[path = "../../host/src"]
mod host {
    pub mod bpf;
}

use host::bpf::{Loaded, Passing, Ring, Shared};
use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    bpf::{
        btf::Btf,
        compile::{Budget, compile},
        listing::listing,
    },
    query::{Asker, plan},
    table::{Catalogue, Hooks},
};
use std::sync::{Arc, LazyLock, Mutex};

static KERNEL: LazyLock<Catalogue> = LazyLock::new(|| {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
    let types = Btf::parse(types).expect("BTF of this release's kinds");
    Catalogue { hooks: Hooks::known(Arc::new(types)), ..Catalogue::default() }
});

static MAPS: LazyLock<Mutex<(Shared, Ring)>> =
    LazyLock::new(|| Mutex::new(Shared::new(64 << 10).expect("this target loads BPF programs: run it as root")));

/// What a text begins with, so that most inputs come as far as the kernel: the rest of the text is the select list and so on.
fn query(input: &str) -> Option<String> {
    let (hook, rest) = input.split_once(' ')?;
    let (items, rest) = rest.split_once(';').unwrap_or((rest, ""));
    Some(format!("SELECT {items} FROM hook.{hook} {rest}"))
}

fuzz_target!(|input: (bool, &str)| {
    let (whole, text) = input;
    let Some(sql) = (if whole { Some(text.to_owned()) } else { query(text) }) else { return };
    let Ok(query) = plan(&sql, &KERNEL, Asker::Probe) else { return };
    let Ok(compiled) = compile(&query, Budget::default()) else { return };
    let maps = MAPS.lock().expect("no input panics with it in hand");
    let loaded = match query.is_pass() {
        true => Passing::load(&compiled.program).map(drop),
        false => Loaded::load(&compiled.program, 0, &maps.0).map(drop),
    };
    if let Err(error) = loaded {
        panic!("{sql}\n{}\n{error}", listing(&compiled.program));
    }
});
