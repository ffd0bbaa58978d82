//! The kernel's own objects as tables: BPF iterators (Documentation/bpf/bpf_iterators.rst), whose programs run once for each object.
//!
//! `iter.socket` goes over the open files of all tasks, as that iterator alone sees the sockets of all network namespaces: those that
//! some process holds. What no descriptor leads to it does not see: TIME_WAIT, orphans, half-open and not yet accepted connections.

use super::{
    btf::{Btf, Kind, TypeId},
    hook::{Argument, Hook, HookError, Point, Slot, Sources, Way},
    layout::{Layout, Struct},
};
use crate::{nearest::did_you_mean, table::ITER};
use std::sync::Arc;

/// The tables of this schema, without `iter.`, each with what people are told of it.
pub const NAMES: [(&str, &str); 2] = [
    ("socket", "Each socket that a process holds, once, of all network namespaces"),
    ("task", "Each thread, of all network namespaces"),
];

/// How the kernel goes over its objects. Offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The kernel's iterator: what follows `bpf_iter_` in the name of its function.
    pub target: &'static str,
    /// Of `struct bpf_iter_meta`: where rows are written to.
    pub seq: u32,
    /// The word of the context with the object; it is NULL at the end of a pass.
    pub object: u32,
    /// Of a pass over files: the way to sockets.
    pub sockets: Option<Sockets>,
}

/// From a file to its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Of `struct socket`.
    pub sk: u32,
    /// How to see that no other descriptor leads to the same socket; None: every socket has to be remembered.
    pub sole: Option<Sole>,
    /// How to get at the files of the next descriptors; None: nothing is read before its turn.
    pub ahead: Option<Ahead>,
}

/// From a task to its table of descriptors, and from a file to its `struct socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The words of the context with the task and the descriptor.
    pub task: u32,
    pub fd: u32,
    /// `task_struct.files`, `files_struct.fdt`.
    pub table: [u32; 2],
    /// `struct fdtable`; its `max_fds`, and its `fd`: an array of pointers to files.
    pub files_of: TypeId,
    pub length: u32,
    pub files: u32,
    /// `struct file`; its `f_op`, which all sockets have in common, its count of references, and its `private_data`: with a socket, the
    /// `struct socket`.
    pub file: TypeId,
    pub operations: u32,
    pub references: u32,
    pub data: u32,
    pub socket: TypeId,
}

/// A file that only one descriptor holds, in a table of descriptors that only one process has, is met once in a pass.
///
/// The pass comes to a table with the first thread of a process, and with each other thread that has another table. So where the first
/// thread has ended before the others it comes to theirs with each of them, and if some have tables of their own, the counts tell nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sole {
    /// The word of the context with the task.
    pub task: u32,
    /// Of `struct file`: its count of references.
    pub references: u32,
    /// What that count is during the pass, which holds one itself.
    pub alone: i32,
    /// `task_struct.pid`, `task_struct.tgid`: the same in the first thread.
    pub first: [u32; 2],
    /// `task_struct.files`, `files_struct.count`.
    pub tables: [u32; 2],
    /// `task_struct.signal`, `signal_struct.nr_threads`: each thread holds its process's table.
    pub threads: [u32; 2],
}

/// The table of this name.
///
/// # Errors
/// If there is none, with near names, or this kernel has no such iterator.
pub fn find(btf: &Btf, layout: &Arc<Layout>, name: &str) -> Result<Hook, HookError> {
    let found = match name {
        "socket" => over(btf, "task_file").and_then(|over| sockets(btf, over)),
        "task" => over(btf, "task").and_then(tasks),
        _ => {
            let near = did_you_mean(name, NAMES.iter().map(|(name, _)| *name));
            return Err(HookError::absent(format!("there is no table {ITER}{name}{near}")));
        }
    };
    let Some((point, arguments, sources, attach_btf_id)) = found else {
        let message = format!("this kernel cannot give {ITER}{name}: it has no such BPF iterator (Linux 5.8)");
        return Err(HookError::absent(message));
    };
    let (name, layout) = (name.to_owned(), layout.clone());
    Ok(Hook { name, point: Point::Pass(Arc::new(point)), attach_btf_id, arguments, sources, layout })
}

/// The parts of a hook.
type Parts = (Pass, Vec<Argument>, Sources, TypeId);

/// A kernel's iterator, and what its programs are given.
struct Over {
    target: &'static str,
    function: TypeId,
    seq: u32,
    arguments: Vec<Argument>,
}

impl Over {
    fn index(&self, name: &str) -> Option<usize> {
        self.arguments.iter().position(|argument| argument.name == name)
    }

    fn slot(&self, name: &str) -> Option<u32> {
        self.index(name).map(|index| index as u32)
    }
}

fn over(btf: &Btf, target: &'static str) -> Option<Over> {
    let function = btf.find(Kind::Func, &format!("bpf_iter_{target}"))?;
    let arguments = btf.params(function).into_iter().zip(0..).map(|((name, ty), slot)| Argument {
        name: name.to_owned(),
        ty,
        text: btf.describe(ty),
        slot: Slot::Context(slot),
    });
    let seq = Struct::find(btf, "bpf_iter_meta")?.at(&["seq"])?;
    Some(Over { target, function, seq, arguments: arguments.collect() })
}

fn tasks(over: Over) -> Option<Parts> {
    let object = over.slot("task")?;
    let pass = Pass { target: over.target, seq: over.seq, object, sockets: None };
    let sources = Sources { netns: vec![Way::Task(0)], ..Sources::default() };
    Some((pass, vec![over.arguments.into_iter().nth(object as usize)?], sources, over.function))
}

fn sockets(btf: &Btf, over: Over) -> Option<Parts> {
    let (object, task) = (over.slot("file")?, over.slot("task")?);
    let socket = Struct::find(btf, "socket")?;
    let sk = btf.member(socket.id, "sk")?;
    let ahead = over.slot("fd").and_then(|fd| ahead(btf, task, fd, socket.id));
    let sockets = Sockets { sk: sk.offset, sole: sole(btf, task), ahead };
    let pass = Pass { target: over.target, seq: over.seq, object, sockets: Some(sockets) };
    let argument = Argument { name: "sk".into(), ty: sk.ty, text: btf.describe(sk.ty), slot: Slot::Found };
    let mut arguments = vec![argument];
    for name in ["task", "fd", "file"] {
        let index = over.index(name)?;
        arguments.push(over.arguments[index].clone());
    }
    let sources = Sources { socket: vec![Way::Socket(0)], packet: None, netns: vec![Way::Socket(0)] };
    Some((pass, arguments, sources, over.function))
}

/// Of `struct file`: where its count of references is, and what it is during a pass if there is only one.
fn references(file: &Struct<'_>) -> Option<(u32, i32)> {
    // A `file_ref_t` begins at 0 (Linux 6.13), what was there before at 1 (include/linux/file_ref.h).
    match file.at(&["f_ref", "refcnt", "counter"]) {
        Some(references) => Some((references, 1)),
        None => Some((file.at(&["f_count", "counter"])?, 2)),
    }
}

fn ahead(btf: &Btf, task: u32, fd: u32, socket: TypeId) -> Option<Ahead> {
    let of = |name: &str, path: &[&str]| Struct::find(btf, name)?.at(path);
    let (file, table) = (Struct::find(btf, "file")?, Struct::find(btf, "fdtable")?);
    Some(Ahead {
        task,
        fd,
        table: [of("task_struct", &["files"])?, of("files_struct", &["fdt"])?],
        files_of: table.id,
        length: table.at(&["max_fds"])?,
        files: table.at(&["fd"])?,
        file: file.id,
        operations: file.at(&["f_op"])?,
        references: references(&file)?.0,
        data: file.at(&["private_data"])?,
        socket,
    })
}

fn sole(btf: &Btf, task: u32) -> Option<Sole> {
    let (references, alone) = references(&Struct::find(btf, "file")?)?;
    let of = |name: &str, path: &[&str]| Struct::find(btf, name)?.at(path);
    Some(Sole {
        task,
        references,
        alone,
        first: [of("task_struct", &["pid"])?, of("task_struct", &["tgid"])?],
        tables: [of("task_struct", &["files"])?, of("files_struct", &["count", "counter"])?],
        threads: [of("task_struct", &["signal"])?, of("signal_struct", &["nr_threads"])?],
    })
}
