//! What queries over tracepoints cost: a run in the kernel beside a program made by hand, a row from the ring to a file, a flood, and traffic
//! that nothing is asked of. Needs root.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

#[path = "hook/agent.rs"]
mod agent;
#[path = "hook/byhand.rs"]
mod byhand;
#[path = "hook/kernel.rs"]
mod kernel;
#[path = "hook/load.rs"]
mod load;
mod measure;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, what, millis, ..] = args.as_slice()
        && word == "load"
    {
        return load::run(what, millis.parse().unwrap());
    }
    let parts: [(&str, fn()); 5] = [
        ("starts", kernel::starts),
        ("runs", kernel::runs),
        ("rows", agent::rows),
        ("flood", agent::flood),
        ("traffic", agent::traffic),
    ];
    // Those that are named, or all.
    let named: Vec<&String> = args.iter().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            part();
        }
    }
}
