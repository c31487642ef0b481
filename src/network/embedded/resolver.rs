//! The host's name servers, followed while they change: a VPN that comes up later, another Wi-Fi (resolv.conf(5), inotify(7)).
//!
//! The file is usually a link into /run and is replaced as a whole, so its directory is watched and that of its target.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::addresses::DNS_PORT;
use crate::sys::net;

const FILE: &str = "/etc/resolv.conf";
/// As many as glibc takes (MAXNS).
const MOST: usize = 3;

/// See the module.
pub struct Resolver {
    servers: Vec<SocketAddr>,
    inotify: Inotify,
    watched: Vec<PathBuf>,
}

impl Resolver {
    pub fn open() -> Result<Resolver> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags).context("cannot watch the name servers")?;
        let mut resolver = Resolver { servers: Vec::new(), inotify, watched: Vec::new() };
        resolver.read();
        Ok(resolver)
    }

    /// The directories that have to stay readable.
    pub fn directories() -> Vec<PathBuf> {
        let target = Path::new(FILE).canonicalize().ok();
        let parents = [Some(PathBuf::from(FILE)), target];
        let mut found: Vec<PathBuf> = parents.iter().flatten().filter_map(|file| Some(file.parent()?.to_path_buf())).collect();
        found.dedup();
        found
    }

    fn read(&mut self) {
        let events = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        for directory in Resolver::directories() {
            if !self.watched.contains(&directory) && self.inotify.add_watch(&directory, events).is_ok() {
                self.watched.push(directory);
            }
        }
        if let Ok(text) = std::fs::read_to_string(FILE) {
            self.servers = servers(&text);
        }
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// One of the directories has changed.
    pub fn changed(&mut self) {
        let mut any = false;
        while let Ok(events) = self.inotify.read_events() {
            any |= events.iter().any(|event| event.name.as_ref().is_none_or(|name| is_ours(Path::new(name))));
        }
        if any {
            self.read();
        }
    }

    /// The server to ask at the n-th try; None where there is none at all.
    pub fn server(&self, tries: usize) -> Option<SocketAddr> {
        self.servers.get(tries.checked_rem(self.servers.len())?).copied()
    }

    pub fn first(&self) -> Option<SocketAddr> {
        self.server(0)
    }

    pub fn count(&self) -> usize {
        self.servers.len()
    }
}

/// The file itself or its target, which the distributions call by a few names.
fn is_ours(name: &Path) -> bool {
    name.to_string_lossy().contains("resolv")
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
