//! The host's name servers, followed while they change: a VPN that comes up later, another Wi-Fi (resolv.conf(5)).
//!
//! The file is asked about before every question, which costs a microsecond: whether it was written, replaced, or is now a link to another
//! one, in however many steps. Watching it would take an inotify instance of which a user has 128 (inotify(7)), and not see all of that.

use std::fs::{self, Metadata};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::addresses::DNS_PORT;
use crate::sys::net;

const FILE: &str = "/etc/resolv.conf";
/// Where the usual programs that look after it keep what it is a link to.
const ELSEWHERE: [&str; 4] = ["/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/connman"];
/// As many as glibc takes (MAXNS).
const MOST: usize = 3;
/// A file may be written twice within one tick of the clock that dates it (at most 10 ms).
const TICK: Duration = Duration::from_millis(50);

/// Tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Stamp { device: file.dev(), inode: file.ino(), size: file.size(), modified, changed }
    }

    /// Whether the file could be changed once more and look the same.
    fn is_fresh(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanoseconds.clamp(0, 999_999_999) as u32);
        SystemTime::now().duration_since(changed).unwrap_or_default() < TICK
    }
}

/// See the module.
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// The file as it was read; None: it has to be read again.
    read: Option<Stamp>,
}

impl Resolver {
    /// Knows what the file says now.
    pub fn open() -> Resolver {
        let mut resolver = Resolver { servers: servers(""), read: None };
        resolver.refresh();
        resolver
    }

    /// The directories that have to stay readable.
    pub fn directories() -> Vec<PathBuf> {
        let target = Path::new(FILE).canonicalize().ok();
        let parents = [Some(PathBuf::from(FILE)), target];
        let mut found: Vec<PathBuf> = parents.iter().flatten().filter_map(|file| Some(file.parent()?.to_path_buf())).collect();
        found.extend(ELSEWHERE.map(PathBuf::from));
        found.dedup();
        found
    }

    /// Reads the file if it has changed. One that is not there, or not to be read, changes nothing.
    fn refresh(&mut self) {
        let Ok(stamp) = fs::metadata(FILE).map(|file| Stamp::of(&file)) else { return };
        if self.read == Some(stamp) {
            return;
        }
        if let Ok(text) = fs::read_to_string(FILE) {
            self.servers = servers(&text);
            self.read = Some(stamp).filter(|stamp| !stamp.is_fresh());
        }
    }

    /// The server to ask at the n-th try.
    pub fn server(&mut self, tries: usize) -> Option<SocketAddr> {
        if tries == 0 {
            self.refresh();
        }
        self.servers.get(tries.checked_rem(self.servers.len())?).copied()
    }

    pub fn count(&self) -> usize {
        self.servers.len()
    }
}

/// The servers that resolv.conf(5) names; where it names none, this host, as glibc has it.
fn servers(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().map(|line| line.split_ascii_whitespace());
    let named = words.filter_map(|mut words| (words.next()? == "nameserver").then(|| words.next()).flatten());
    let mut found: Vec<SocketAddr> = named.filter_map(address).take(MOST).collect();
    if found.is_empty() {
        found.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
    }
    found
}

/// An address, which may name the link it is valid on.
fn address(word: &str) -> Option<SocketAddr> {
    let Some((address, link)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, DNS_PORT));
    };
    let scope = link.parse().ok().or_else(|| net::interface_index(link).ok())?;
    Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_glibc_reads_them() {
        let text =
            "# comment\nsearch lan\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # rest\n nameserver fe80::1%lo\noptions x\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]);
        assert_eq!(servers("nameserver\nnameserver nonsense\n"), ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(servers(&"nameserver 10.0.0.1\n".repeat(9)).len(), MOST);
    }
}
