//! What the configuration names: the cache folder, the address to listen on.

use super::{Check, Verdict};
use crate::{agent, probe::cache::Cache};
use netsonde_core::config::Config;
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

/// How long what has our address may take to say who it is.
const WAIT: Duration = Duration::from_millis(500);
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Bytes of its first page.
const MOST: u64 = 16 << 10;

/// The checks, and why the agent would not start.
pub fn look(config: &Config) -> (Vec<Check>, Option<String>) {
    let (listen, access) = (listen(config.listen), access(config));
    let missing = [&listen, &access].into_iter().find(|check| check.verdict == Verdict::Missing);
    let useless = missing.map(|check| format!("the agent would not start: {}", check.found));
    (vec![cache(&config.cache_folder), listen, access], useless)
}

/// Who may see pages that tell addresses.
fn access(config: &Config) -> Check {
    const LOST: &str = "pages that tell addresses, for all but this machine";
    let security = match agent::security(config) {
        Ok(security) => security,
        Err(errors) => {
            let todo = "correct what is named; `netsonde check` looks at it again";
            return Check::missing("access", errors.join("; "), "the agent: it does not start with such files", todo);
        }
    };
    let files = security.now();
    let tls = if files.tls.is_some() { "with TLS" } else { "without TLS" };
    match agent::warnings(config.listen, &security).first() {
        None if config.listen.ip().is_loopback() => {
            Check::good("access", format!("{tls}, for this machine, by a loopback address"))
        }
        None => Check::good("access", format!("{tls}, for other machines too, if they say who they are")),
        Some(warning) if files.lets_others_in() => {
            Check::partly("access", *warning, "secrets, to whoever reads the network", "docs/access.md has an example")
        }
        Some(warning) => Check::partly("access", *warning, LOST, "docs/access.md has an example"),
    }
}

/// Looks without making the folder: what the agent makes should be the agent's user's.
fn cache(folder: &Path) -> Check {
    let result = match folder.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => can_be_made(folder),
        _ => Cache::open(folder).map(|_| "usable").map_err(|error| error.to_string()),
    };
    match result {
        Ok(found) => Check::good("cache folder", format!("{}: {found}", folder.display())),
        Err(why) => Check::partly(
            "cache folder",
            why,
            "time: modules are compiled at each start, a second or so for each",
            "run as the agent's user, or let `cache_folder` name a folder that is this user's alone (mode 700)",
        ),
    }
}

fn can_be_made(folder: &Path) -> Result<&'static str, String> {
    // The nearest folder that is there: those below are made, and then ours.
    let above =
        folder.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    for above in above {
        match accessat(CWD, above, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => return Ok("not there yet, and can be made"),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(format!("{} cannot be made in {}: {error}", folder.display(), above.display())),
        }
    }
    Err(format!("{} cannot be made: nothing above it is there", folder.display()))
}

/// The agent takes the address in the same way.
fn listen(address: SocketAddr) -> Check {
    let found = match TcpListener::bind(address) {
        Ok(_) => return Check::good("listen", format!("{address} is free")),
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => format!("cannot listen on {address}: {error}"),
        Err(_) if is_agent(address) => {
            return Check::good("listen", format!("{address} is that of an agent that runs"));
        }
        Err(_) => format!("{address} is in use by another program"),
    };
    Check::missing(
        "listen",
        found,
        "the agent: it does not start where it cannot listen",
        "stop what has the address, or set `listen` to another one",
    )
}

/// Whether an agent answers at an address that somebody has.
fn is_agent(address: SocketAddr) -> bool {
    let page = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        stream.write_all(REQUEST)?;
        let mut page = Vec::new();
        // What came before it broke off may tell enough.
        let _ = stream.take(MOST).read_to_end(&mut page);
        Ok(String::from_utf8_lossy(&page).to_lowercase())
    };
    page().is_ok_and(|page| page.contains("netsonde"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::DirBuilderExt, thread};

    /// Answers one request with `page`.
    fn serve(page: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: a connection closed over unread bytes is reset, and the page may be lost.
            stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
            stream.write_all(page.as_bytes()).unwrap();
            // The address stays taken until the test is over.
            std::mem::forget(listener);
        });
        address
    }

    #[test]
    fn an_address_that_an_agent_has_is_told_from_another_programs() {
        assert_eq!(listen("127.0.0.1:0".parse().unwrap()).verdict, Verdict::Good);
        let agent = listen(serve("HTTP/1.0 200 OK\r\n\r\n<title>Netsonde</title>"));
        assert!(agent.verdict == Verdict::Good && agent.found.contains("agent that runs"), "{agent:?}");
        let other = listen(serve("220 mail.example.org"));
        assert!(other.verdict == Verdict::Missing && other.found.contains("another program"), "{other:?}");
        // TEST-NET-1 (RFC 5737): no machine has it.
        let nowhere = listen("192.0.2.1:13119".parse().unwrap());
        assert!(nowhere.verdict == Verdict::Missing && nowhere.found.contains("192.0.2.1:13119"), "{nowhere:?}");
    }

    #[test]
    fn a_cache_folder_that_is_not_there_is_not_made_here() {
        let above = std::env::temp_dir().join(format!("netsonde-doctor-{}", std::process::id()));
        let folder = above.join("a/b");
        let check = cache(&folder);
        assert!(check.verdict == Verdict::Good && check.found.contains("can be made"), "{check:?}");
        assert!(!above.exists());
        fs::DirBuilder::new().mode(0o755).create(&above).unwrap();
        let open = cache(&above);
        fs::remove_dir(&above).unwrap();
        assert!(open.verdict == Verdict::Partly && open.found.contains("mode 755"), "{open:?}");
    }
}
