//! `dev`: a line for each device. The kernel: `dev_seq_printf_stats` in net/core/net-procfs.c, which folds some counters together.

use super::{Broken, Peers, link::Devices, push_scope, text};
use crate::{batch::ColumnBuilder, scope::ScopeId, table::TableColumn};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// What rtnetlink says of one namespace's devices.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    pub devices: &'a Devices,
    /// The pairs of all namespaces; without them every `peer` is NULL.
    pub peers: Option<&'a Peers>,
}

impl Links<'_> {
    /// The namespace of the other end of `name`, a device of `scope`.
    fn peer(self, scope: Option<ScopeId>, name: &[u8]) -> Option<ScopeId> {
        self.peers?.of(scope?, self.devices.get(name)?.veth?)
    }
}

/// The numbers of a line, in the kernel's order, as `struct rtnl_link_stats64` calls them.
pub(super) const FIELDS: [&str; 16] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "rx_fifo_errors",
    "rx_frame_errors",
    "rx_compressed",
    "multicast",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
    "tx_fifo_errors",
    "collisions",
    "tx_carrier_errors",
    "tx_compressed",
];

#[derive(Debug)]
pub(super) struct Parser {
    outputs: Vec<Output>,
    /// How many fields of a line are looked at: up to the last wanted one.
    fields: usize,
    /// Hashes of the names of the file at hand, and where they stand in it.
    seen: HashTable<(u64, std::ops::Range<usize>)>,
}

#[derive(Clone, Copy, Debug)]
enum Output {
    Scope,
    Name,
    Kind,
    Peer,
    Field(usize),
    Null,
}

impl Parser {
    pub(super) fn new(columns: &[TableColumn]) -> Self {
        let output = |column: &TableColumn| match column.name.as_str() {
            "netns" => Output::Scope,
            "name" => Output::Name,
            "kind" => Output::Kind,
            "peer" => Output::Peer,
            name => FIELDS.iter().position(|field| *field == name).map_or(Output::Null, Output::Field),
        };
        let outputs: Vec<Output> = columns.iter().map(output).collect();
        let fields = outputs.iter().map(|output| if let Output::Field(field) = output { field + 1 } else { 0 });
        Self { fields: fields.max().unwrap_or(0), outputs, seen: HashTable::new() }
    }

    pub(super) fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        links: Option<Links<'_>>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, Broken> {
        let before = out.first().map_or(0, ColumnBuilder::len);
        self.seen.clear();
        let mut rows = 0;
        let mut read = || -> Result<(), Broken> {
            for device in devices(text)? {
                let (line, name, numbers) = device?;
                if !first_of_its_name(&mut self.seen, text, name) {
                    continue;
                }
                let values = values(line, name, numbers, self.fields)?;
                for (output, builder) in self.outputs.iter().zip(&mut *out) {
                    match output {
                        Output::Scope => push_scope(builder, scope),
                        Output::Name => builder.push_text(name),
                        Output::Kind => match links.and_then(|links| links.devices.get(name)) {
                            Some(device) => builder.push_text(device.kind.as_bytes()),
                            None => builder.push_null(),
                        },
                        Output::Peer => push_scope(builder, links.and_then(|links| links.peer(scope, name))),
                        Output::Field(field) => builder.push_u64(values[*field]),
                        Output::Null => builder.push_null(),
                    }
                }
                rows += 1;
            }
            Ok(())
        };
        let result = read();
        if result.is_err() {
            out.iter_mut().for_each(|builder| builder.truncate(before));
        }
        result.map(|()| rows)
    }
}

/// A long file is read in several pieces; where devices come and go between them, the kernel may show one twice.
fn first_of_its_name(seen: &mut HashTable<(u64, std::ops::Range<usize>)>, text: &[u8], name: &[u8]) -> bool {
    let hash = hash_of(name);
    let start = name.as_ptr().addr() - text.as_ptr().addr();
    let known = seen.find(hash, |(_, range)| text.get(range.clone()) == Some(name)).is_some();
    if !known {
        seen.insert_unique(hash, (hash, start..start + name.len()), |(hash, _)| *hash);
    }
    !known
}

fn hash_of(bytes: &[u8]) -> u64 {
    foldhash::fast::FixedState::default().hash_one(bytes)
}

/// The first `count` numbers of a device's line.
fn values(line: usize, name: &[u8], numbers: &[u8], count: usize) -> Result<[u64; FIELDS.len()], Broken> {
    let mut values = [0; FIELDS.len()];
    let mut fields = text::fields(numbers);
    for (value, field) in values.iter_mut().zip(FIELDS).take(count) {
        let key = || format!("{} of {}", field, text::excerpt(name));
        let text = fields.next().ok_or_else(|| Broken::no_value(line, key()))?;
        *value = text::decimal(text).ok_or_else(|| Broken::number(line, key(), text))?;
    }
    Ok(values)
}

/// Line, name and numbers.
type Device<'a> = (usize, &'a [u8], &'a [u8]);

/// The devices of the file. A name may contain colons, and the numbers may follow its own colon without a space.
fn devices(text: &[u8]) -> Result<impl Iterator<Item = Result<Device<'_>, Broken>>, Broken> {
    let mut lines = text::Lines::new(text);
    for start in ["Inter-|", " face |"] {
        let (line, header) = lines.next().unwrap_or((1, b""));
        if !header.starts_with(start.as_bytes()) {
            return Err(Broken::format(line, "header", header));
        }
    }
    Ok(lines.filter(|(_, content)| !content.is_empty()).map(|(line, content)| {
        let colon = memchr::memrchr(b':', content).ok_or_else(|| Broken::format(line, "device", content))?;
        let name = content[..colon].trim_ascii_start();
        if name.is_empty() {
            return Err(Broken::format(line, "device", content));
        }
        Ok((line, name, &content[colon + 1..]))
    }))
}

/// A number that changes when the devices' names or their order do.
pub fn fingerprint(text: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    for (_, name, _) in devices(text).into_iter().flatten().flatten() {
        hasher.write_usize(name.len());
        hasher.write(name);
    }
    hasher.finish()
}
