//! A program as people read it, one instruction a line, in the words of the kernel's own listings.

use super::program::{Map, Patch, Program};
use std::fmt::Write;

/// The listing of a program.
pub fn listing(program: &Program) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(&word) = program.code.get(at) {
        let patch = program.patches.iter().find(|(index, _)| *index == at).map(|(_, patch)| *patch);
        let wide = word & 0xff == 0x18;
        let high = if wide { program.code.get(at + 1).copied().unwrap_or(0) } else { 0 };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{at:4}: {}", instruction(at, word, high, patch));
        at += if wide { 2 } else { 1 };
    }
    text
}

fn instruction(at: usize, word: u64, high: u64, patch: Option<Patch>) -> String {
    let code = word as u8;
    let (dst, src) = (word >> 8 & 0xf, word >> 12 & 0xf);
    let offset = (word >> 16) as i16;
    let imm = (word >> 32) as i32;
    let size = match code & 0x18 {
        0x00 => "u32",
        0x08 => "u16",
        0x10 => "u8",
        _ => "u64",
    };
    let operand = if code & 0x08 != 0 { format!("r{src}") } else { imm.to_string() };
    match (code, code & 0x07, patch) {
        (0x18, _, Some(Patch::Map(map))) => format!("r{dst} = map {}", map_name(map)),
        (0x18, ..) => format!("r{dst} = {:#x}", word >> 32 | high >> 32 << 32),
        (0xdb, _, _) => format!("r0 = compare_and_exchange(*(u64 *)(r{dst} {offset:+}), r0, r{src})"),
        (0x85, ..) if src == 2 => format!("call kernel#{imm}"),
        (0x85, ..) => format!("call {}", helper_name(imm)),
        (0x95, ..) => "exit".into(),
        (0x05, ..) => format!("goto {}", target(at, offset)),
        (0xdc, ..) => format!("r{dst} = be{imm} r{dst}"),
        (_, 0x01, _) => format!("r{dst} = *({size} *)(r{src} {offset:+})"),
        (_, 0x02, Some(Patch::Id)) => format!("*({size} *)(r{dst} {offset:+}) = id"),
        (_, 0x02, _) => format!("*({size} *)(r{dst} {offset:+}) = {imm}"),
        (_, 0x03, _) => format!("*({size} *)(r{dst} {offset:+}) = r{src}"),
        (_, 0x05, _) => format!("if r{dst} {} {operand} goto {}", comparison(code), target(at, offset)),
        (_, 0x07, _) => format!("r{dst} {} {operand}", assignment(code)),
        _ => format!("{word:#018x}"),
    }
}

fn target(at: usize, offset: i16) -> i64 {
    at as i64 + 1 + i64::from(offset)
}

fn comparison(code: u8) -> &'static str {
    match code & 0xf0 {
        0x10 => "==",
        0x20 => ">",
        0x30 => ">=",
        0x50 => "!=",
        0x60 => "s>",
        0x70 => "s>=",
        0xa0 => "<",
        0xb0 => "<=",
        0xc0 => "s<",
        0xd0 => "s<=",
        _ => "?",
    }
}

fn assignment(code: u8) -> &'static str {
    match code & 0xf0 {
        0x00 => "+=",
        0x10 => "-=",
        0x20 => "*=",
        0x30 => "/=",
        0x40 => "|=",
        0x50 => "&=",
        0x60 => "<<=",
        0x70 => ">>=",
        0x90 => "%=",
        0xa0 => "^=",
        0xb0 => "=",
        0xc0 => "s>>=",
        _ => "?",
    }
}

fn map_name(map: Map) -> String {
    match map {
        Map::Ring => "ring".into(),
        Map::Figures => "figures".into(),
        Map::Switch => "switch".into(),
        Map::Tokens => "tokens".into(),
        Map::Groups(index) => format!("groups {index}"),
        Map::Seen => "seen".into(),
        Map::Stacks => "stacks".into(),
    }
}

fn helper_name(number: i32) -> String {
    let name = match number {
        1 => "map_lookup_elem",
        2 => "map_update_elem",
        5 => "ktime_get_ns",
        8 => "get_smp_processor_id",
        14 => "get_current_pid_tgid",
        16 => "get_current_comm",
        67 => "get_stack",
        113 => "probe_read_kernel",
        127 => "seq_write",
        131 => "ringbuf_reserve",
        132 => "ringbuf_submit",
        162 => "sock_from_file",
        _ => return number.to_string(),
    };
    name.into()
}
