//! Published ports: `-p` in Docker's grammar, and the host's sockets behind it, bound before anything of the container is made.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::error::Advise;
use crate::host::facts::sysctl;
use crate::sys::inet::{self, Transport};

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Protocol::Tcp { "tcp" } else { "udp" })
    }
}

/// One port asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// None: every address of the host, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// Any of these ports that is free; 0: any at all.
    pub host_ports: (u16, u16),
    pub container_port: u16,
    pub protocol: Protocol,
}

/// All that one `-p` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes(pub Vec<Wish>);

/// One published port, as the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// None: every address of the host.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl PortMapping {
    /// The host's side: `0.0.0.0:8080`.
    pub fn host(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.host_port)
    }
}

impl From<&PortMapping> for Wish {
    /// The very same again.
    fn from(mapping: &PortMapping) -> Wish {
        let PortMapping { host_ip, host_port, container_port, protocol } = *mapping;
        Wish { host_ip, host_ports: (host_port, host_port), container_port, protocol }
    }
}

/// A socket of the host's, bound and for TCP listening.
#[derive(Debug)]
pub struct Published {
    pub socket: OwnedFd,
    pub mapping: PortMapping,
}

/// `[IP:][HOST]:CONTAINER[/tcp|udp]`, each port also as a range FIRST-LAST.
pub fn parse(text: &str) -> Result<Wishes> {
    wishes(text).with_context(|| format!("bad port \"{text}\": want [IP:][HOST:]CONTAINER[/tcp|udp], for example 8080:80"))
}

fn wishes(text: &str) -> Result<Wishes> {
    let (address, protocol) = exposed_protocol(text)?;
    let (rest, container) = address.rsplit_once(':').map_or((None, address), |(rest, port)| (Some(rest), port));
    let (first, last) = range(container)?;
    let (host_ip, host) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            // [::1]:8080 has a colon after the address, [::1] alone only within it.
            Some((ip, host)) if !rest.ends_with(']') => (ip_address(ip)?, host),
            _ if rest.ends_with(']') => (ip_address(rest)?, ""),
            _ => (None, rest),
        },
    };
    let count = u32::from(last - first) + 1;
    let host = if host.is_empty() { None } else { Some(range(host)?) };
    let wish = |n: u32| {
        let host_ports = match host {
            None => (0, 0),
            // One port in the container, several to choose from on the host.
            Some((low, high)) if count == 1 => (low, high),
            Some((low, _)) => (low + n as u16, low + n as u16),
        };
        Wish { host_ip, host_ports, container_port: first + n as u16, protocol }
    };
    if let Some((low, high)) = host
        && count > 1
        && u32::from(high - low) + 1 != count
    {
        bail!("the ranges differ in length");
    }
    Ok(Wishes((0..count).map(wish).collect()))
}

/// `80/udp` as an image's EXPOSE has it.
fn exposed_protocol(text: &str) -> Result<(&str, Protocol)> {
    Ok(match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((port, "tcp")) => (port, Protocol::Tcp),
        Some((port, "udp")) => (port, Protocol::Udp),
        Some((_, other)) => bail!("unknown protocol \"{other}\""),
    })
}

fn ip_address(text: &str) -> Result<Option<IpAddr>> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    bare.parse().map(Some).with_context(|| format!("\"{bare}\" is no IP address"))
}

fn range(text: &str) -> Result<(u16, u16)> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(anyhow!("\"{text}\" is no port number")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        bail!("the range {text} runs backwards");
    }
    Ok((first, last))
}

/// `--expose PORT[-LAST][/tcp|udp]`.
pub fn parse_exposed(text: &str) -> Result<Wishes> {
    if text.contains(':') {
        bail!("bad port \"{text}\": want PORT[-LAST][/tcp|udp]; to publish it on the host, use -p");
    }
    parse(text)
}

/// What `-P` asks for: each exposed port (`80/tcp`, `7000-7002/udp`) that is not published yet.
pub fn of_exposed(exposed: &[String], already: &[Wish]) -> Result<Vec<Wish>> {
    let mut found = Vec::new();
    for text in exposed {
        let Wishes(wishes) = parse(text)?;
        let known = |wish: &Wish| already.iter().any(|a| (a.container_port, a.protocol) == (wish.container_port, wish.protocol));
        found.extend(wishes.into_iter().filter(|wish| !known(wish)));
    }
    Ok(found)
}

/// For a network that publishes over IPv4 only.
pub fn only_ipv4(wish: &mut Wish) -> Result<()> {
    match wish.host_ip {
        None => wish.host_ip = Some(Ipv4Addr::UNSPECIFIED.into()),
        Some(IpAddr::V4(_)) => {}
        Some(ip) => bail!("cannot publish {ip}: slirp4netns serves ports over IPv4 only"),
    }
    Ok(())
}

/// Binds every port that is asked for, or none: who holds a port that is not free is named where that can be known.
pub fn bind(wishes: &[Wish]) -> Result<Vec<Published>> {
    let mut all = Vec::new();
    for wish in wishes {
        all.extend(bind_one(wish)?);
    }
    Ok(all)
}

fn bind_one(wish: &Wish) -> Result<Vec<Published>> {
    /// A random port that is free for IPv4 may be taken for IPv6.
    const RANDOM_TRIES: usize = 16;
    let (first, last) = wish.host_ports;
    let candidates: Vec<u16> = if first == 0 { vec![0; RANDOM_TRIES] } else { (first..=last).collect() };
    let mut failure = None;
    for port in candidates {
        match bind_at(wish, port) {
            Ok(published) => return Ok(published),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => failure = Some((port, error)),
            Err(error) => {
                failure = Some((port, error));
                break;
            }
        }
    }
    let (port, error) = failure.context("no port to publish")?;
    Err(refused(wish, port, error))
}

/// The sockets for one port: two where no address is given and the host has IPv6.
fn bind_at(wish: &Wish, port: u16) -> io::Result<Vec<Published>> {
    let mut published = vec![listen(wish, wish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port)?];
    if wish.host_ip.is_none() {
        match listen(wish, Ipv6Addr::UNSPECIFIED.into(), published[0].mapping.host_port) {
            Ok(second) => published.push(second),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // No IPv6 on this host.
            Err(_) => {}
        }
    }
    Ok(published)
}

fn listen(wish: &Wish, ip: IpAddr, port: u16) -> io::Result<Published> {
    let transport = if wish.protocol == Protocol::Tcp { Transport::Tcp } else { Transport::Udp };
    let socket = inet::socket(transport, ip)?;
    match wish.protocol {
        // What lingers of an earlier container's connections does not keep the port.
        Protocol::Tcp => inet::set_reuse_address(&socket)?,
        Protocol::Udp => inet::set_packet_info(&socket, ip)?,
    }
    inet::bind(&socket, SocketAddr::new(ip, port))?;
    if wish.protocol == Protocol::Tcp {
        inet::listen(&socket)?;
    }
    let host_port = inet::local_address(&socket)?.port();
    let mapping = PortMapping { host_ip: Some(ip), host_port, container_port: wish.container_port, protocol: wish.protocol };
    Ok(Published { socket, mapping })
}

fn refused(wish: &Wish, port: u16, error: io::Error) -> anyhow::Error {
    let place = SocketAddr::new(wish.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port);
    let what = format!("cannot publish {place}/{}", wish.protocol);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = holder(port, wish.protocol).map(|who| format!(" by {who}")).unwrap_or_default();
            anyhow!("{what}: the port is in use{by}")
        }
        io::ErrorKind::PermissionDenied => {
            let first = sysctl("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
            let cure = || format!("another port, or sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}");
            let error = anyhow!("{what}: ports below {first} are for root only on this host");
            Err::<(), _>(error).hint(cure).unwrap_err()
        }
        io::ErrorKind::AddrNotAvailable => anyhow!("{what}: the host has no such address"),
        _ => anyhow::Error::new(error).context(what),
    }
}

/// Who holds a port, where it is a process of the caller's: proc(5), /proc/net/tcp and /proc/PID/fd.
fn holder(port: u16, protocol: Protocol) -> Option<String> {
    let tables = [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")];
    let inodes: Vec<u64> =
        tables.iter().filter_map(|t| fs::read_to_string(t).ok()).flat_map(|text| listening(&text, port, protocol)).collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| holds(*pid, &wanted)).find_map(describe)
}

/// The inodes of the sockets bound to a port, of connections only the listening ones.
fn listening(table: &str, port: u16, protocol: Protocol) -> Vec<u64> {
    const TCP_LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_port = u16::from_str_radix(local, 16).ok()? == port;
        let is_open = protocol == Protocol::Udp || *fields.get(3)? == TCP_LISTEN;
        (is_port && is_open).then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds(pid: u32, wanted: &[String]) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).any(|link| wanted.iter().any(|w| Path::new(w) == link))
}

/// `nginx (pid 4711)`; of ours the container: `container "web"`.
fn describe(pid: u32) -> Option<String> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title);
    if let Some((name, _)) = title.strip_prefix("rl[").and_then(|rest| rest.split_once(']')) {
        return Some(format!("container \"{name}\""));
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> (Option<String>, (u16, u16), u16, Protocol) {
        let Wishes(wishes) = parse(text).unwrap();
        assert_eq!(wishes.len(), 1, "{text}");
        let wish = &wishes[0];
        (wish.host_ip.map(|ip| ip.to_string()), wish.host_ports, wish.container_port, wish.protocol)
    }

    #[test]
    fn ports_are_written_as_for_docker() {
        use Protocol::{Tcp, Udp};
        assert_eq!(one("80"), (None, (0, 0), 80, Tcp));
        assert_eq!(one("8080:80"), (None, (8080, 8080), 80, Tcp));
        assert_eq!(one("8080:80/udp"), (None, (8080, 8080), 80, Udp));
        assert_eq!(one("127.0.0.1:8080:80"), (Some("127.0.0.1".into()), (8080, 8080), 80, Tcp));
        assert_eq!(one("127.0.0.1::80"), (Some("127.0.0.1".into()), (0, 0), 80, Tcp));
        assert_eq!(one("[::1]:8080:80"), (Some("::1".into()), (8080, 8080), 80, Tcp));
        assert_eq!(one("[::1]::80/udp"), (Some("::1".into()), (0, 0), 80, Udp));
        assert_eq!(one(":80"), (None, (0, 0), 80, Tcp));
        assert_eq!(one("8000-8010:80"), (None, (8000, 8010), 80, Tcp));
    }

    #[test]
    fn a_range_is_one_wish_for_each_port() {
        let Wishes(wishes) = parse("8000-8002:80-82").unwrap();
        let pairs: Vec<_> = wishes.iter().map(|wish| (wish.host_ports.0, wish.container_port)).collect();
        assert_eq!(pairs, [(8000, 80), (8001, 81), (8002, 82)]);
        let Wishes(random) = parse("80-82").unwrap();
        assert!(random.len() == 3 && random.iter().all(|wish| wish.host_ports == (0, 0)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "0:80", "80:0", "65536:80", "a:80", "8000-8001:80-82", "82-80", "80/sctp", "1.2.3:80:80", "+80", "::1:80"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed(text in "[0-9a-f:.\\[\\]/tcpud-]{0,40}") {
            if let Ok(Wishes(wishes)) = parse(&text) {
                prop_assert!(!wishes.is_empty());
            }
        }
    }

    #[test]
    fn exposed_ports_are_published_unless_they_are_already() {
        let Wishes(already) = parse("8080:80").unwrap();
        let found = of_exposed(&["80/tcp".into(), "80/udp".into(), "443".into()], &already).unwrap();
        let ports: Vec<_> = found.iter().map(|wish| (wish.container_port, wish.protocol)).collect();
        assert_eq!(ports, [(80, Protocol::Udp), (443, Protocol::Tcp)]);
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let Wishes(wishes) = parse("127.0.0.1::80").unwrap();
        let bound = bind(&wishes).unwrap();
        let port = bound[0].mapping.host_port;
        let Wishes(again) = parse(&format!("127.0.0.1:{port}:80")).unwrap();
        let error = format!("{:#}", bind(&again).unwrap_err());
        let us = std::process::id();
        assert!(error.contains("in use by") && error.contains(&format!("(pid {us})")), "{error}");
    }

    #[test]
    fn sockets_are_found_by_their_port() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4343 1 0\nbroken\n";
        assert_eq!(listening(table, 8080, Protocol::Tcp), [4242]);
        assert_eq!(listening(table, 8080, Protocol::Udp), [4242, 4343]);
        assert_eq!(listening(table, 80, Protocol::Tcp), [] as [u64; 0]);
    }
}
