//! What several targets begin with: the tables of a captured node.

use netsonde_core::{
    proc::{File, HostFiles, catalogue},
    table::Catalogue,
};
use std::sync::LazyLock;

/// A captured file of Linux 6.18.
pub fn captured(file: File) -> &'static [u8] {
    macro_rules! testdata {
        ($name:literal) => {
            include_bytes!(concat!("../host/core/src/proc/testdata/", $name, "-6.18.txt"))
        };
    }
    match file {
        File::Sockstat => testdata!("sockstat"),
        File::Sockstat6 => testdata!("sockstat6"),
        File::Snmp => testdata!("snmp"),
        File::Snmp6 => testdata!("snmp6"),
        File::Netstat => testdata!("netstat"),
        File::Dev => testdata!("dev"),
        File::SoftnetStat => testdata!("softnet_stat"),
    }
}

/// The tables of that node.
pub static TABLES: LazyLock<Catalogue> =
    LazyLock::new(|| catalogue(&HostFiles::new(|file| Ok(captured(file).to_vec())), 4096));
