//! One line for people about tables and columns; nothing where the kernel's name says it all.

/// What a table is.
pub(super) fn table(name: &str, page_size: u64) -> String {
    let text = match name {
        "proc.net.sockstat" => "IPv4 sockets of a namespace, by protocol",
        "proc.net.sockstat6" => "IPv6 sockets of a namespace, by protocol",
        "proc.net.snmp" => "IPv4, ICMP, TCP and UDP counters of a namespace (TCP with IPv6)",
        "proc.net.snmp6" => "IPv6, ICMPv6 and UDPv6 counters of a namespace",
        "proc.net.netstat" => "more counters of TCP, IPv4 and MPTCP of a namespace",
        "proc.net.dev" => "traffic of each network device of a namespace",
        "proc.sockstat" => return format!("socket counts and memory of the whole node (a page: {page_size} bytes)"),
        "proc.softnet_stat" => "packet processing of each online CPU of the node; counters have 32 bits",
        "proc.net.sockstat.long" => "proc.net.sockstat with a row for each key, without the node's own keys",
        name => return format!("{} with a row for each key", name.trim_end_matches(".long")),
    };
    text.to_owned()
}

/// What a key of `sockstat`, `sockstat6`, `snmp`, `snmp6` or `netstat` means.
pub(super) fn key(name: &str) -> &'static str {
    match name {
        "sockets.used" => "sockets of every family; before kernel 4.17 of the whole node",
        "TCP.inuse" => {
            "TCP sockets that listen, connect or are connected; without TIME_WAIT. Not the established ones: Tcp.CurrEstab"
        }
        "TCP.tw" => "TCP connections in TIME_WAIT",
        "TCP.orphan" => "TCP sockets that no process holds any more",
        "TCP.alloc" => "TCP sockets allocated, in whatever state",
        "TCP.mem" => "memory charged to TCP, in bytes (the kernel prints pages)",
        "UDP.mem" => "memory charged to UDP, in bytes (the kernel prints pages)",
        "UDP.inuse" | "UDPLITE.inuse" | "UDP6.inuse" | "UDPLITE6.inuse" => "sockets that are bound to a port",
        "TCP6.inuse" => "as TCP.inuse, of IPv6 sockets (which may carry IPv4)",
        "FRAG.inuse" | "FRAG6.inuse" => "packets waiting for the rest of their fragments",
        "FRAG.memory" | "FRAG6.memory" => "memory of waiting fragments, in bytes",
        "Tcp.RtoMin" | "Tcp.RtoMax" => "in milliseconds",
        "Tcp.MaxConn" => "-1: no limit",
        "Tcp.ActiveOpens" => "connections that this side began",
        "Tcp.PassiveOpens" => "connections that the other side began",
        "Tcp.AttemptFails" => "connections that failed before they were established",
        "Tcp.EstabResets" => "established connections that ended by a reset",
        "Tcp.CurrEstab" => "connections now in ESTABLISHED or CLOSE_WAIT, IPv4 and IPv6 together",
        "Tcp.RetransSegs" => "segments sent again",
        "Tcp.InErrs" => "segments received in error, bad checksums too",
        "Tcp.OutRsts" => "resets sent",
        "Udp.NoPorts" => "datagrams for a port where nobody listens",
        "Udp.InErrors" => {
            "datagrams not delivered for any other reason; holds RcvbufErrors, InCsumErrors and MemErrors"
        }
        "Udp.RcvbufErrors" => "datagrams dropped: receive buffer full",
        "Udp.SndbufErrors" => "datagrams dropped: send buffer full",
        "Udp.MemErrors" => "datagrams dropped: UDP's memory limit reached",
        "TcpExt.ListenOverflows" => "connection attempts dropped: accept queue full",
        "TcpExt.ListenDrops" => "connection attempts that a listener dropped for any reason; holds ListenOverflows",
        "TcpExt.SyncookiesSent" => "SYN cookies sent: request queue full",
        "TcpExt.TCPTimeouts" => "retransmission timers that ran out",
        "TcpExt.TCPBacklogDrop" => "segments dropped: socket backlog full",
        "TcpExt.TCPRcvQDrop" => "segments dropped: receive queue full",
        "TcpExt.TCPAbortOnData" => "connections reset: closed with SO_LINGER 0, or data came after the close",
        "TcpExt.TCPAbortOnClose" => "connections reset: closed with unread data",
        "TcpExt.TCPAbortOnMemory" => "connections reset: too many orphans, or TCP's memory limit reached",
        "TcpExt.TCPMemoryPressures" => "how often TCP came under memory pressure",
        "TcpExt.TCPMemoryPressuresChrono" => "time under memory pressure, in milliseconds",
        "TcpExt.TCPReqQFullDrop" => "SYNs dropped: request queue full, no SYN cookies",
        "TcpExt.TW" => "sockets that left TIME_WAIT by its timer",
        _ => "",
    }
}

/// What a column of `proc.net.dev` means: the kernel folds several counters together there.
pub(super) fn dev(name: &str) -> &'static str {
    match name {
        "rx_dropped" => "rx_dropped + rx_missed_errors",
        "rx_frame_errors" => "rx_length_errors + rx_over_errors + rx_crc_errors + rx_frame_errors",
        "tx_carrier_errors" => "tx_carrier_errors + tx_aborted_errors + tx_window_errors + tx_heartbeat_errors",
        "multicast" => "multicast packets received",
        _ => "",
    }
}

/// What a column of `proc.softnet_stat` means.
pub(super) fn softnet(name: &str) -> &'static str {
    match name {
        "cpu" => "its number; before kernel 5.10 the place among those online",
        "processed" => "packets taken in",
        "dropped" => "packets dropped: backlog full",
        "time_squeeze" => "how often net_rx_action stopped with work left: budget or time used up",
        "received_rps" => "how often another CPU woke this one to take packets (RPS)",
        "flow_limit_count" => "packets dropped by the flow limit",
        "backlog_len" => "packets waiting now: input_qlen + process_qlen",
        "input_qlen" => "packets waiting now in the input queue",
        "process_qlen" => "packets waiting now in the queue at work",
        _ => "",
    }
}
