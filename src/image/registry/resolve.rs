//! From a host's name to its addresses, without getaddrinfo(3): in a static binary that loads whatever NSS modules the host has, built
//! for another libc, and it cannot be told how long to wait. So: /etc/hosts, then the name servers of resolv.conf(5).

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::dns::{self, Answer, Kind};

/// Waited for one server, and how often all of them are asked. resolv.conf may say less.
const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 2;
const SERVERS: usize = 3;
const MAX_FILE: u64 = 8 << 20;

/// The addresses of `host`: a number or a name. IPv4 first, which every registry has.
pub fn addresses(host: &str) -> Result<Vec<IpAddr>> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let known = in_hosts(&read("/etc/hosts")?, host);
    if !known.is_empty() {
        return Ok(known);
    }
    // RFC 6761, 6.3.
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let config = ResolvConf::parse(&read("/etc/resolv.conf")?);
    let mut last = anyhow!("there is no such host");
    for candidate in config.candidates(host) {
        match lookup(&config, &candidate) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read(path: &str) -> Result<String> {
    let mut text = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut text).with_context(|| format!("cannot read {path}"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
    };
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// hosts(5).
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.'))) && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// What of resolv.conf(5) matters here.
#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: u32,
}

impl ResolvConf {
    fn parse(text: &str) -> ResolvConf {
        let mut config = ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: TIMEOUT, attempts: ATTEMPTS };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => config.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => config.search = words.map(String::from).take(6).collect(),
                Some("options") => words.for_each(|option| config.option(option)),
                _ => {}
            }
        }
        config.servers.truncate(SERVERS);
        if config.servers.is_empty() {
            config.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        config
    }

    fn option(&mut self, option: &str) {
        let Some((name, Ok(value))) = option.split_once(':').map(|(name, value)| (name, value.parse::<u32>())) else { return };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 3).into()),
            "attempts" => self.attempts = value.clamp(1, ATTEMPTS),
            _ => {}
        }
    }

    /// The names to ask for, in order: one with enough dots is itself first.
    fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_string()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_matches('.'))).collect();
        let whole = if host.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(whole, host.to_string());
        names
    }
}

/// An address, perhaps with a zone: `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else { return Some((word.parse::<IpAddr>().ok()?, 53).into()) };
    let index = zone
        .parse()
        .ok()
        .or_else(|| fs::read_to_string(format!("/sys/class/net/{}/ifindex", zone.replace('/', ""))).ok()?.trim().parse().ok())?;
    Some(std::net::SocketAddrV6::new(address.parse().ok()?, 53, 0, index).into())
}

/// Asks for both kinds of address. Empty: there is no such name, or it has none.
fn lookup(config: &ResolvConf, name: &str) -> Result<Vec<IpAddr>> {
    let four = ask(config, name, Kind::A)?;
    // Having one kind, the other one's failure is not worth a word.
    match ask(config, name, Kind::Aaaa) {
        Ok(six) => Ok([four, six].concat()),
        Err(_) if !four.is_empty() => Ok(four),
        Err(error) => Err(error),
    }
}

fn ask(config: &ResolvConf, name: &str, kind: Kind) -> Result<Vec<IpAddr>> {
    let mut last = None;
    for _ in 0..config.attempts {
        for server in &config.servers {
            match exchange(*server, name, kind, config.timeout) {
                Ok(Answer::Addresses(found)) => return Ok(found),
                Ok(Answer::NoSuchName) => return Ok(Vec::new()),
                Ok(Answer::Failed(code)) => last = Some(anyhow!("name server {} answers with error {code}", server.ip())),
                Ok(Answer::Truncated) => last = Some(anyhow!("name server {} cannot fit its answer", server.ip())),
                Err(error) => last = Some(error.context(format!("name server {} does not answer", server.ip()))),
            }
        }
    }
    Err(last.unwrap_or_else(|| anyhow!("there is no name server")))
}

fn exchange(server: SocketAddr, name: &str, kind: Kind, timeout: Duration) -> Result<Answer> {
    let mut id = [0; 2];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id)).context("cannot read /dev/urandom")?;
    let Some(query) = dns::query(u16::from_be_bytes(id), name, kind) else { return Ok(Answer::NoSuchName) };
    let from: SocketAddr = if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(from)?;
    // Only this server's packets arrive, and that nobody listens there is told.
    socket.connect(server)?;
    socket.send(&query)?;
    let end = Instant::now() + timeout;
    let mut reply = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {} s", timeout.as_secs());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut reply) {
            // Anything else may be a late answer, or a forged one: the right one may still come.
            Ok(length) => match dns::answer(&query, &reply[..length]) {
                Ok(Answer::Truncated) => return by_tcp(server, &query, timeout),
                Ok(answer) => return Ok(answer),
                Err(_) => {}
            },
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// RFC 1035, 4.2.2: each message after its length.
fn by_tcp(server: SocketAddr, query: &[u8], timeout: Duration) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply)?;
    dns::answer(query, &reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_localhost_need_no_server() {
        let found = |host| addresses(host).unwrap();
        assert_eq!(found("127.0.0.1"), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(found("[::1]"), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(found("localhost").contains(&"127.0.0.1".parse().unwrap()));
        assert!(found("a.localhost").iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn hosts_are_found_by_each_of_their_names() {
        let text = "::1 reg\n192.0.2.1 reg.example Reg # other\n# 192.0.2.2 reg\nx reg\n";
        assert_eq!(in_hosts(text, "REG"), ["192.0.2.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(in_hosts(text, "other"), [] as [IpAddr; 0]);
    }

    #[test]
    fn resolv_conf_gives_servers_and_search_domains() {
        let config = ResolvConf::parse(
            "; c\nnameserver 192.0.2.1\nnameserver fe80::1%1\nnameserver no\nsearch a.example b.example.\noptions ndots:2 timeout:1 x\n",
        );
        assert_eq!(config.servers, ["192.0.2.1:53".parse().unwrap(), "[fe80::1%1]:53".parse::<SocketAddr>().unwrap()]);
        assert_eq!((config.ndots, config.timeout), (2, Duration::from_secs(1)));
        assert_eq!(config.candidates("reg.x"), ["reg.x.a.example", "reg.x.b.example", "reg.x"]);
        assert_eq!(config.candidates("a.b.c")[0], "a.b.c");
        assert_eq!(config.candidates("reg."), ["reg."]);
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_server_is_asked_by_udp_and_where_that_is_too_small_by_tcp() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(server).unwrap();
        let answering = std::thread::spawn(move || {
            let mut query = [0; 512];
            let (length, from) = udp.recv_from(&mut query).unwrap();
            query[2] = 0x83;
            udp.send_to(b"noise", from).unwrap();
            udp.send_to(&query[..length], from).unwrap();
            let (mut stream, _) = tcp.accept().unwrap();
            let mut reply = vec![0; length + 2];
            stream.read_exact(&mut reply).unwrap();
            (reply[4], reply[9]) = (0x81, 1);
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 9]);
            let length = reply.len() as u16 - 2;
            reply[..2].copy_from_slice(&length.to_be_bytes());
            stream.write_all(&reply).unwrap();
        });
        let found = exchange(server, "reg.example", Kind::A, Duration::from_secs(60)).unwrap();
        assert_eq!(found, Answer::Addresses(vec!["192.0.2.9".parse().unwrap()]));
        answering.join().unwrap();
    }
}
