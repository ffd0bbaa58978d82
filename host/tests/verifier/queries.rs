//! Random queries over the tracepoints and the objects of a kernel, from its own types.

use netsonde_core::{
    bpf::{
        btf::{Btf, Kind, TypeId},
        hook::Hook,
        layout::Layout,
        pass,
    },
    query,
    table::{Names, TableColumn, Type},
};
use std::sync::Arc;

/// Tracepoints that have many ways to a socket or a packet, or many arguments: every other query is over one of them.
const OFTEN: &[&str] = &[
    "consume_skb",
    "inet_sock_set_state",
    "kfree_skb",
    "net_dev_queue",
    "net_dev_xmit",
    "sched_switch",
    "sock_rcvqueue_full",
    "tcp_probe",
    "tcp_retransmit_skb",
    "tcp_send_reset",
    "udp_fail_queue_rcv_skb",
];

const COMPUTED: &[&str] = &[
    "netns", "owner", "cgroup", "protocol", "family", "saddr", "sport", "daddr", "dport", "laddr", "lport", "raddr",
    "rport", "time", "cpu", "pid", "comm",
];

const CASTS: &[&str] =
    &["tcp_sock", "inet_sock", "udp_sock", "unix_sock", "inet_connection_sock", "sock", "sock_common"];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "6",
    "80",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
];

const TEXTS: &[&str] =
    &["", "eth0", "lo", "kworker/0:1", "exactly-16-bytes", "a text that is longer than most places for one"];

const ADDRESSES: &[&str] = &["10.0.0.1", "127.0.0.1", "::1", "fd00:1:2:3:4:5:6:7", "0.0.0.0"];

/// Numbers that are the same in each run (splitmix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True so many times of a hundred.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The kernel whose tracepoints are asked.
pub struct Kernel<'a> {
    pub btf: &'a Btf,
    pub layout: &'a Arc<Layout>,
    pub names: &'a [&'a str],
}

/// The text of a query. Most of them make sense; some are refused, for a path that ends at a struct, or one column compared with another of
/// its kind's opposite.
pub fn query(kernel: &Kernel, random: &mut Random) -> String {
    let found = match random.below(10) {
        0..2 => pass::find(kernel.btf, kernel.layout, "socket"),
        2 => pass::find(kernel.btf, kernel.layout, "task"),
        3..6 => Hook::find(kernel.btf, kernel.layout, random.pick(OFTEN)),
        _ => Hook::find(kernel.btf, kernel.layout, random.pick(kernel.names)),
    };
    let Ok(hook) = found else { return "SELECT nothing FROM nowhere".into() };
    let mut columns = Vec::new();
    // Mostly few, so that there is room for a filter; sometimes as many as somebody may want.
    let wanted = if random.percent(15) { 1 + random.below(40) } else { 1 + random.below(8) };
    let mut tries = 0;
    while columns.len() < wanted && tries < 10 * wanted {
        tries += 1;
        columns.extend(column(kernel, &hook, &columns, random));
    }
    let filter = random.percent(60).then(|| condition(&columns, 4, random));
    let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    // Not everything that is filtered by is selected, nor the other way round.
    let shown: Vec<&Column> = columns.iter().filter(|_| random.percent(80)).collect();
    let mut items: Vec<String> = shown.iter().filter_map(|column| item(column, random)).collect();
    if random.percent(30) {
        items.extend(expression(&columns, 3, random));
    }
    let grouped = random.percent(40);
    let mut keys = items.clone();
    if grouped {
        items.extend(aggregates(&columns, random));
    }
    if items.is_empty() {
        let one = if hook.pass().is_some() { "pid" } else { "time" };
        items.push(if grouped { "count(*)".into() } else { one.into() });
    }
    keys.truncate(if grouped { keys.len() } else { 0 });
    let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let named = |(index, item): (usize, &String)| match item.starts_with("histogram") {
        true => item.clone(),
        false => format!("{item} AS c{index}"),
    };
    let items: Vec<String> = items.iter().enumerate().map(named).collect();
    format!("SELECT {} FROM {}{filter}{group}", items.join(", "), hook.table_name())
}

/// Numbers that are computed with, and at times compared.
fn expression(columns: &[Column], depth: usize, random: &mut Random) -> Option<String> {
    let numbers: Vec<&Column> =
        columns.iter().filter(|column| matches!(column.column.ty, Type::U64 | Type::S64)).collect();
    if numbers.is_empty() {
        return None;
    }
    let compared = random.percent(20).then(|| random.pick(&["=", "<", ">="]));
    let left = arithmetic(&numbers, depth, random);
    Some(match compared {
        Some(compared) => format!("{left} {compared} {}", arithmetic(&numbers, 1, random)),
        None => left,
    })
}

fn arithmetic(numbers: &[&Column], depth: usize, random: &mut Random) -> String {
    if depth == 0 || random.percent(20) {
        return random.pick(numbers).text.clone();
    }
    let left = arithmetic(numbers, depth - 1, random);
    let right = match random.percent(40) {
        true => random.pick(&["2", "8", "1000", "4294967296", "-3"]).to_owned(),
        false => arithmetic(numbers, depth - 1, random),
    };
    format!("({left} {} {right})", random.pick(&["+", "-", "*", "/", "%"]))
}

/// A column as it is written in a query.
#[derive(Clone)]
struct Column {
    text: String,
    column: TableColumn,
}

fn column(kernel: &Kernel, hook: &Hook, known: &[Column], random: &mut Random) -> Option<Column> {
    let text = match random.below(10) {
        0..3 => random.pick(COMPUTED).to_owned(),
        3..5 if !hook.arguments.is_empty() => {
            let name = &hook.arguments[random.below(hook.arguments.len())].name;
            format!("\"{name}\"")
        }
        _ if hook.arguments.is_empty() => return None,
        _ => path(kernel, hook, random),
    };
    let steps = query::path(&text).ok()?;
    let column = hook.column(kernel.btf, &steps, &text).ok()?;
    let twice = known.iter().any(|other| other.text == text);
    (!twice).then_some(Column { text, column })
}

/// A walk through the kernel's types.
fn path(kernel: &Kernel, hook: &Hook, random: &mut Random) -> String {
    let argument = &hook.arguments[random.below(hook.arguments.len())];
    let mut text = format!("\"{}\"", argument.name);
    let mut ty = argument.ty;
    for _ in 0..12 {
        let target = kernel.btf.pointee(ty).unwrap_or_else(|| kernel.btf.strip(ty));
        let name = kernel.btf.name(target.id);
        let cast = match name {
            "sock" | "sock_common" => random.percent(40),
            _ => target.kind == Kind::Struct && random.percent(2),
        };
        if cast {
            let to = random.pick(CASTS);
            text = format!("({text}::{to})");
            let Some(id) = kernel.btf.find(Kind::Struct, to) else { break };
            ty = id;
        }
        let Some(next) = step(kernel, ty, &mut text, random) else { break };
        ty = next;
        let value = !matches!(kernel.btf.strip(ty).kind, Kind::Struct | Kind::Union | Kind::Array | Kind::Ptr);
        if value || random.percent(4) {
            break;
        }
    }
    text
}

/// One step from an object of a type.
fn step(kernel: &Kernel, ty: TypeId, text: &mut String, random: &mut Random) -> Option<TypeId> {
    let btf = kernel.btf;
    if let Some((element, count)) = btf.array(btf.strip(ty)) {
        // Bytes and texts are columns as they are.
        if btf.size(element) == 1 && random.percent(70) {
            return None;
        }
        let beyond = usize::from(random.percent(5));
        text.push_str(&format!("[{}]", random.below(count as usize + beyond)));
        return Some(element);
    }
    let target = btf.pointee(ty).unwrap_or_else(|| btf.strip(ty));
    let members = btf.all_members(target.id);
    // Sockets of packets, and what else leads on, more often than flags.
    let known = ["sk", "dev", "__sk_common", "skc_net", "sk_socket", "nsproxy", "net_ns", "mm", "cgroups"];
    let on: Vec<_> = members.iter().filter(|(name, _)| known.contains(name)).collect();
    let (name, member) = if !on.is_empty() && random.percent(30) {
        *on[random.below(on.len())]
    } else {
        *members.get(random.below(members.len()))?
    };
    text.push_str(&format!(".\"{name}\""));
    Some(member.ty)
}

/// What of a column is selected; None of an address of the kernel, at times.
fn item(column: &Column, random: &mut Random) -> Option<String> {
    let text = &column.text;
    let names = column.column.names.is_some() || column.column.ty == Type::Scope;
    Some(match random.below(10) {
        0 | 1 => format!("{text} IS NULL"),
        2 => format!("{text} IS NOT NULL"),
        3 if column.column.ty != Type::Pointer => format!("maybe({text})"),
        4..8 if names => format!("name({text})"),
        _ if column.column.ty == Type::Pointer => return names.then(|| format!("name({text})")),
        _ => text.clone(),
    })
}

fn aggregates(columns: &[Column], random: &mut Random) -> Vec<String> {
    if random.percent(15)
        && let Some(number) = expression(columns, 1, random)
        && !number.contains(['=', '<', '>'])
    {
        return vec![format!("histogram({number})")];
    }
    let mut aggregates: Vec<String> = Vec::new();
    for _ in 0..1 + random.below(5) {
        let column = &columns.get(random.below(columns.len()));
        let number = column.filter(|column| matches!(column.column.ty, Type::U64 | Type::S64));
        let aggregate = match (random.below(5), number, column) {
            (1, _, Some(column)) => format!("count({})", column.text),
            (2, Some(column), _) => format!("sum({})", column.text),
            (3, Some(column), _) => format!("min({})", column.text),
            (4, Some(column), _) => format!("max({})", column.text),
            _ => "count(*)".into(),
        };
        let computed = random.percent(25).then(|| expression(columns, 2, random)).flatten();
        let aggregate = match computed.filter(|text| !text.contains(['=', '<', '>'])) {
            Some(computed) => format!("sum({computed})"),
            None => aggregate,
        };
        if !aggregates.contains(&aggregate) {
            aggregates.push(aggregate);
        }
    }
    aggregates
}

fn condition(columns: &[Column], depth: usize, random: &mut Random) -> String {
    if columns.is_empty() {
        return "pid > 1".into();
    }
    if depth == 0 || random.percent(45) {
        return test(columns, random);
    }
    match random.below(3) {
        0 => format!("NOT ({})", condition(columns, depth - 1, random)),
        which => {
            let parts = 2 + random.below(3);
            let parts: Vec<String> =
                (0..parts).map(|_| format!("({})", condition(columns, depth - 1, random))).collect();
            parts.join(if which == 1 { " AND " } else { " OR " })
        }
    }
}

fn test(columns: &[Column], random: &mut Random) -> String {
    let Column { text, column } = &columns[random.below(columns.len())];
    if random.percent(15)
        && let Some(computed) = expression(columns, 2, random)
        && !computed.contains(['=', '<', '>'])
    {
        return format!("{computed} > {}", random.pick(NUMBERS));
    }
    if random.percent(15) {
        return format!("{text} IS {}NULL", random.pick(&["", "NOT "]));
    }
    let compared = random.pick(&["=", "<>", "<", "<=", ">", ">="]);
    let equal = random.pick(&["=", "<>"]);
    let text = if random.percent(10) { format!("maybe({text})") } else { text.clone() };
    if let (Some(Names::Enum(names)), true) = (&column.names, random.percent(60)) {
        let members: Vec<&str> = names.names().collect();
        if !members.is_empty() {
            let (one, other) = (random.pick(&members), random.pick(&members));
            return match random.below(3) {
                0 => format!("name({text}) {equal} '{one}'"),
                1 => format!("name({text}) NOT IN ('{one}', '{other}', maybe('NO_SUCH_MEMBER'))"),
                _ => format!("name({text}) IN ('{one}', '{other}')"),
            };
        }
    }
    let same = |other: &&Column| other.column.ty == column.ty;
    match column.ty {
        Type::U64 | Type::S64 => match random.below(5) {
            0 => format!("{text} IN ({}, {}, {})", random.pick(NUMBERS), random.pick(NUMBERS), random.pick(NUMBERS)),
            1 => format!("{text} NOT BETWEEN {} AND {}", random.pick(NUMBERS), random.pick(NUMBERS)),
            2 => {
                let number = |other: &&Column| matches!(other.column.ty, Type::U64 | Type::S64);
                let others: Vec<&Column> = columns.iter().filter(number).collect();
                format!("{text} {compared} {}", random.pick(&others).text)
            }
            _ => format!("{text} {compared} {}", random.pick(NUMBERS)),
        },
        Type::Text if random.percent(50) => format!("{text} {equal} '{}'", random.pick(TEXTS)),
        Type::Text => format!("{text} IN ('{}', '{}')", random.pick(TEXTS), random.pick(TEXTS)),
        Type::Address if random.percent(50) => format!("{text} {equal} '{}'", random.pick(ADDRESSES)),
        Type::Address => format!("{text} NOT IN ('{}', '{}')", random.pick(ADDRESSES), random.pick(ADDRESSES)),
        Type::Scope if random.percent(50) => {
            let others: Vec<&Column> = columns.iter().filter(same).collect();
            format!("{text} {equal} {}", random.pick(&others).text)
        }
        Type::Scope => format!("name({text}) {equal} 'host'"),
        Type::Bool if random.percent(50) => text,
        Type::Bool => format!("NOT {text}"),
        Type::Pointer if matches!(column.names, Some(Names::Symbol)) => format!("name({text}) {equal} 'tcp_v4_rcv'"),
        Type::Octets | Type::Pointer => format!("{text} IS NOT NULL"),
    }
}
