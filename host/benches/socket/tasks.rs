//! Which process is in which namespace: the kernel's tasks, or a walk over procfs.

use crate::{
    hold::Held,
    measure::{
        kernel::catalogue,
        spent::Spent,
        table::{Table, nanos},
    },
    namespaces::{NAMESPACES, looking},
};
use netsonde::{
    scope::netns::{NAMED, walk},
    source::iter::Tasks,
};
use std::path::Path;

const PROCESSES: usize = 1000;
const ROUNDS: usize = 21;

pub fn tasks() {
    let tasks = Tasks::new(&catalogue().hooks).unwrap();
    let (by_tasks, by_procfs) = (looking(true), looking(false));
    let _namespaces = Held::namespaces(NAMESPACES, 0);
    let _processes = Held::processes(PROCESSES);
    println!("{NAMESPACES} namespaces with a process each, and {PROCESSES} more processes");
    let ways: [(&str, &dyn Fn() -> usize); 4] = [
        ("a pass over the tasks", &|| tasks.look().unwrap().len()),
        ("a walk over procfs", &|| walk(Path::new("/proc"), Path::new(NAMED), None).unwrap().found.len()),
        ("scopes by tasks", &|| by_tasks.look().unwrap().namespaces.len()),
        ("scopes by procfs", &|| by_procfs.look().unwrap().namespaces.len()),
    ];
    let mut each = ways.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for ((_, run), each) in ways.iter().zip(&mut each) {
            let spent = Spent::by(|| assert!(run() > NAMESPACES));
            if round > 0 {
                each.push(spent);
            }
        }
    }
    let mut table = Table::new(&["", "wall", "CPU", "ratio"]);
    let cpu = each.each_ref().map(|each| Spent::median(each).cpu.as_nanos() as f64);
    for (at, ((what, _), each)) in ways.iter().zip(&each).enumerate() {
        let wall = Spent::median(each).wall.as_nanos() as f64;
        // Procfs by tasks, each in its pair.
        table.row([(*what).to_owned(), nanos(wall), nanos(cpu[at]), format!("{:.2}", cpu[at] / cpu[at & !1])]);
    }
    table.print();
}
