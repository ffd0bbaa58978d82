//! What it costs to ask the kernel for its sockets and tasks: passes of its iterators beside `ss`, procfs and sock_diag. Needs root, `ip`,
//! `ss`, `nsenter` and `unshare`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

#[path = "socket/hold.rs"]
mod hold;
mod measure;
#[path = "socket/memory.rs"]
mod memory;
#[path = "socket/namespaces.rs"]
mod namespaces;
#[path = "socket/one.rs"]
mod one;
#[path = "socket/tasks.rs"]
mod tasks;
#[path = "socket/ways.rs"]
mod ways;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, what @ ..] = args.as_slice()
        && word == "hold"
    {
        return hold::run(what);
    }
    let parts: [(&str, fn()); 4] =
        [("one", one::one), ("namespaces", namespaces::many), ("tasks", tasks::tasks), ("memory", memory::memory)];
    // Those that are named, or all.
    let named: Vec<&String> = args.iter().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            part();
        }
    }
}
