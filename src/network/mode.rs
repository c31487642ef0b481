//! `--network`: which network a container is to have, and the options of the drivers, in Podman's words (podman-run(1), "--network").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::bridge::store::check_name;

/// `--network`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// A namespace connected to the host's networks by our own gateway.
    Gateway(Gateway),
    /// The same by pasta.
    Pasta(Pasta),
    /// The same by slirp4netns.
    Slirp(Slirp),
    /// A namespace with `lo` only.
    None,
    /// The host's own namespace.
    Host,
    /// The namespace of another container: its name as it was asked for, its id in a record.
    Container(String),
    /// User-defined networks; the name of the first.
    User(String),
}

/// Options of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gateway {
    /// The container may reach what listens on the host's loopback.
    pub host_loopback: bool,
    /// None: the first that the kernel has.
    pub method: Option<Method>,
}

/// How a container's packets, which are for addresses of others, come to the gateway's sockets. Best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// nftables hands each to the socket that it is for, or to the one that waits for what is new.
    Tproxy,
    /// A route makes all addresses local ("AnyIP"): sockets are bound to the address that is wanted, before a held SYN goes on, and UDP is
    /// read as frames. Lost are datagrams over IPv6 in fragments and, before Linux 6.2, those that were sent as one to be segmented.
    AnyIp,
}

impl Method {
    /// Best first.
    pub const ALL: [Method; 2] = [Method::Tproxy, Method::AnyIp];

    /// As an option has it.
    pub fn word(self) -> &'static str {
        match self {
            Method::Tproxy => "tproxy",
            Method::AnyIp => "anyip",
        }
    }
}

impl FromStr for Method {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Method> {
        Method::ALL
            .into_iter()
            .find(|method| method.word() == text)
            .with_context(|| format!("want tproxy or anyip, not \"{text}\""))
    }
}

/// Arguments for pasta(1), which may be anything that does not take the namespace or the process out of our hands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pasta {
    pub arguments: Vec<String>,
    /// The gateway's address stands for the host's loopback.
    pub map_gateway: bool,
}

/// Options of slirp4netns(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slirp {
    pub allow_host_loopback: bool,
    pub mtu: u32,
    /// The container's network; its second address is the host, the third answers DNS, the hundredth is the container.
    pub network: Ipv4Addr,
    pub prefix: u8,
    pub ipv6: bool,
    /// An address or an interface of the host's.
    pub outbound: Option<String>,
    pub outbound6: Option<String>,
}

impl Default for Slirp {
    fn default() -> Slirp {
        Slirp {
            allow_host_loopback: false,
            mtu: 65520,
            network: Ipv4Addr::new(10, 0, 2, 0),
            prefix: 24,
            ipv6: true,
            outbound: None,
            outbound6: None,
        }
    }
}

impl Slirp {
    fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + n)
    }

    /// What the host is called, where its loopback is open.
    pub fn host(&self) -> Ipv4Addr {
        self.nth(2)
    }

    pub fn dns(&self) -> Ipv4Addr {
        self.nth(3)
    }

    pub fn container(&self) -> Ipv4Addr {
        self.nth(100)
    }
}

impl FromStr for Slirp {
    type Err = anyhow::Error;

    /// `name=value,…`
    fn from_str(text: &str) -> Result<Slirp> {
        let mut slirp = Slirp::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let bad = || format!("bad option \"{option}\" of the network slirp4netns");
            match name {
                "allow_host_loopback" => slirp.allow_host_loopback = truth(value).with_context(bad)?,
                "enable_ipv6" => slirp.ipv6 = truth(value).with_context(bad)?,
                "mtu" => {
                    const RANGE: std::ops::RangeInclusive<u32> = 68..=65521;
                    slirp.mtu =
                        value.parse().ok().filter(|mtu| RANGE.contains(mtu)).context("want 68 to 65521").with_context(bad)?;
                }
                "cidr" => (slirp.network, slirp.prefix) = cidr(value).with_context(bad)?,
                "outbound_addr" => slirp.outbound = Some(source(value, false).with_context(bad)?),
                "outbound_addr6" => slirp.outbound6 = Some(source(value, true).with_context(bad)?),
                "port_handler" if value == "slirp4netns" => {}
                "port_handler" if value == "rootlesskit" => {
                    bail!("the port handler rootlesskit, which hides the client's address, is not supported: want slirp4netns")
                }
                "port_handler" => bail!("unknown port handler \"{value}\": want slirp4netns"),
                _ => bail!("unknown option \"{name}\" of the network slirp4netns"),
            }
        }
        if slirp.outbound6.is_some() && !slirp.ipv6 {
            bail!("outbound_addr6 of the network slirp4netns needs enable_ipv6=true");
        }
        Ok(slirp)
    }
}

fn truth(value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bail!("want true or false"),
    }
}

/// A network that has the addresses slirp4netns wants: no smaller than a /25.
fn cidr(text: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
    let (address, prefix): (Ipv4Addr, u8) = parsed.context("want an IPv4 network such as 10.0.2.0/24")?;
    if !(1..=25).contains(&prefix) {
        bail!("the prefix must be 1 to 25");
    }
    let mask = u32::MAX << (32 - prefix);
    if u32::from(address) & !mask != 0 {
        bail!("{address} is not the first address of a /{prefix}");
    }
    Ok((address, prefix))
}

/// Where connections come from on the host: an address of the family, or what may be the name of an interface.
fn source(text: &str, v6: bool) -> Result<String> {
    const LONGEST: usize = 15;
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == v6 => {}
        Ok(_) => bail!("the address is of the other family"),
        Err(_) => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-@".contains(c);
            if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_name) || text.starts_with('-') {
                bail!("want an address or an interface of the host");
            }
        }
    }
    Ok(text.to_string())
}

impl fmt::Display for Slirp {
    /// What differs from the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Slirp::default();
        let mut options = Vec::new();
        if self.allow_host_loopback {
            options.push("allow_host_loopback=true".to_string());
        }
        if self.mtu != default.mtu {
            options.push(format!("mtu={}", self.mtu));
        }
        if (self.network, self.prefix) != (default.network, default.prefix) {
            options.push(format!("cidr={}/{}", self.network, self.prefix));
        }
        if !self.ipv6 {
            options.push("enable_ipv6=false".to_string());
        }
        options.extend(self.outbound.iter().map(|source| format!("outbound_addr={source}")));
        options.extend(self.outbound6.iter().map(|source| format!("outbound_addr6={source}")));
        f.write_str("slirp4netns")?;
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

/// What we say ourselves, or what would make pasta another than the process that we look after.
const OURS: &[&str] = &[
    "--config-net",
    "--daemon",
    "--fd",
    "-F",
    "--foreground",
    "-f",
    "--help",
    "-h",
    "--log-file",
    "-l",
    "--netns",
    "--netns-only",
    "--no-netns-quit",
    "--pcap",
    "-p",
    "--pid",
    "-P",
    "--runas",
    "--userns",
    "--version",
    "--socket",
    "-s",
    "--socket-path",
    "--vhost-user",
    "--one-off",
    "-1",
    "--repair-path",
];

impl FromStr for Pasta {
    type Err = anyhow::Error;

    /// pasta's own arguments, with commas between them; and Podman's `--map-gw`.
    fn from_str(text: &str) -> Result<Pasta> {
        let mut pasta = Pasta::default();
        for argument in text.split(',').filter(|argument| !argument.is_empty()) {
            let name = argument.split_once('=').map_or(argument, |(name, _)| name);
            // pasta takes a long option by its beginning, too, and what follows a short one may stand beside it.
            let short = !name.starts_with("--") && name.starts_with('-');
            let is = |ours: &&&str| match short {
                true => ours.len() == 2 && name.starts_with(**ours),
                false => name == **ours || (name.len() > 3 && name.starts_with("--") && ours.starts_with(name)),
            };
            match name {
                "--map-gw" => pasta.map_gateway = true,
                "--" => bail!("the network pasta takes no command"),
                _ if OURS.iter().any(|ours| is(&ours)) => bail!("the option {argument} of pasta is not yours to set here"),
                _ => pasta.arguments.push(argument.to_string()),
            }
        }
        Ok(pasta)
    }
}

impl Pasta {
    /// Whether one of these options was given.
    pub fn has(&self, names: &[&str]) -> bool {
        self.value(names).is_some()
    }

    /// The value of the first of these options that was given, whichever way; empty where it has none.
    pub fn value(&self, names: &[&str]) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            for name in names {
                match argument.strip_prefix(name) {
                    Some("") => return Some(arguments.next().map_or("", String::as_str)),
                    Some(rest) if name.starts_with("--") => {
                        if let Some(value) = rest.strip_prefix('=') {
                            return Some(value);
                        }
                    }
                    Some(value) => return Some(value),
                    None => {}
                }
            }
        }
        None
    }

    /// The container's address, where it can be known before pasta runs: the one asked for, else the host's own.
    pub fn container(&self) -> Option<IpAddr> {
        if let Some(address) = self.value(&["--address", "-a"]) {
            return address.split('/').next()?.parse().ok();
        }
        if self.has(&["--interface", "-i", "--outbound-if4"]) { None } else { of_host() }
    }
}

/// The address the host itself has on the way to the world. Nothing is sent.
fn of_host() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

impl fmt::Display for Pasta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = self.map_gateway.then_some("--map-gw");
        let all: Vec<&str> = map.into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        f.write_str("pasta")?;
        if all.is_empty() { Ok(()) } else { write!(f, ":{}", all.join(",")) }
    }
}

impl FromStr for Gateway {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Gateway> {
        let mut gateway = Gateway::default();
        for option in text.split(',') {
            match (option, option.parse()) {
                ("host-loopback", _) => gateway.host_loopback = true,
                (_, Ok(method)) => gateway.method = Some(method),
                _ => bail!("unknown option \"{option}\" of the network gateway: there are host-loopback, tproxy and anyip"),
            }
        }
        Ok(gateway)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = [self.host_loopback.then_some("host-loopback"), self.method.map(Method::word)];
        let options: Vec<&str> = options.into_iter().flatten().collect();
        f.write_str("gateway")?;
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

impl FromStr for NetworkMode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<NetworkMode> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        match (name, options) {
            ("none", "") => Ok(NetworkMode::None),
            ("host", "") => Ok(NetworkMode::Host),
            // Docker's and Podman's names of their default.
            ("gateway" | "bridge" | "default" | "private", "") => Ok(NetworkMode::Gateway(Gateway::default())),
            ("gateway", options) => Ok(NetworkMode::Gateway(options.parse()?)),
            ("pasta", options) => Ok(NetworkMode::Pasta(options.parse()?)),
            ("slirp4netns", options) => Ok(NetworkMode::Slirp(options.parse()?)),
            ("container", "") => bail!("want container:NAME"),
            ("container", name) => Ok(NetworkMode::Container(name.to_string())),
            ("none" | "host", _) => bail!("the network {name} has no options"),
            _ if check_name(text).is_ok() => Ok(NetworkMode::User(text.to_string())),
            _ => bail!(
                "unknown network \"{text}\": there are gateway, pasta, slirp4netns, host, none, container:NAME and your own"
            ),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::Gateway(gateway) => gateway.fmt(f),
            NetworkMode::Pasta(pasta) => pasta.fmt(f),
            NetworkMode::Slirp(slirp) => slirp.fmt(f),
            NetworkMode::None => f.write_str("none"),
            NetworkMode::Host => f.write_str("host"),
            NetworkMode::Container(name) => write!(f, "container:{name}"),
            NetworkMode::User(name) => f.write_str(name),
        }
    }
}

impl TryFrom<String> for NetworkMode {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<NetworkMode> {
        text.parse()
    }
}

impl From<NetworkMode> for String {
    fn from(mode: NetworkMode) -> String {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_is_written_as_it_is_read() {
        let slirp = "slirp4netns:allow_host_loopback=true,mtu=1500,cidr=10.9.0.0/16,enable_ipv6=false,outbound_addr=eth0";
        for text in [
            "container:web",
            "gateway",
            "gateway:host-loopback",
            "gateway:tproxy",
            "gateway:host-loopback,anyip",
            "none",
            "host",
            "slirp4netns",
            slirp,
            "pasta",
            "pasta:--map-gw,-a,10.9.8.7",
        ] {
            assert_eq!(text.parse::<NetworkMode>().unwrap().to_string(), text);
        }
        assert_eq!("bridge".parse::<NetworkMode>().unwrap().to_string(), "gateway");
        assert_eq!("slirp4netns:port_handler=slirp4netns".parse::<NetworkMode>().unwrap().to_string(), "slirp4netns");
        for text in
            ["", "container", "container:", "none:x", "gateway:x", "gateway:anyip,x", "gateway:", "my:net", "private:x", "mine"]
        {
            assert_eq!(text.parse::<NetworkMode>().is_ok(), ["gateway:", "mine"].contains(&text), "{text}");
        }
    }

    #[test]
    fn what_slirp4netns_could_not_do_is_refused() {
        for options in [
            "mtu=1",
            "mtu=x",
            "cidr=10.0.2.0/26",
            "cidr=10.0.2.1/24",
            "cidr=::/64",
            "enable_ipv6=1",
            "outbound_addr=::1",
            "outbound_addr=-x",
            "outbound_addr6=1.2.3.4",
            "port_handler=rootlesskit",
            "colour=red",
            "enable_ipv6=false,outbound_addr6=::1",
        ] {
            assert!(format!("slirp4netns:{options}").parse::<NetworkMode>().is_err(), "{options}");
        }
        let slirp: Slirp = "cidr=10.9.0.0/16".parse().unwrap();
        assert_eq!((slirp.host().to_string(), slirp.container().to_string()), ("10.9.0.2".into(), "10.9.0.100".into()));
    }

    #[test]
    fn pasta_takes_its_own_options_but_stays_in_our_hands() {
        let pasta: Pasta = "-a,10.9.8.7,--mtu=1500,-T,5432".parse().unwrap();
        assert_eq!((pasta.value(&["--mtu", "-m"]), pasta.value(&["--tcp-ns", "-T"])), (Some("1500"), Some("5432")));
        assert_eq!(pasta.container(), Some("10.9.8.7".parse().unwrap()));
        assert!(pasta.has(&["-a"]) && !pasta.has(&["--udp-ns", "-U"]));
        for options in [
            "-f",
            "--foreground",
            "--foregr",
            "--netns,/x",
            "--netns=/x",
            "--userns=x",
            "-P,/x",
            "-P/x",
            "--pid=/x",
            "--,sh",
            "-s/x",
        ] {
            assert!(options.parse::<Pasta>().is_err(), "{options}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed(text in "(gateway|pasta|slirp4netns|none)?:?[-a-z0-9_=,./:]{0,30}") {
            if let Ok(mode) = text.parse::<NetworkMode>() {
                prop_assert_eq!(mode.to_string().parse::<NetworkMode>().unwrap(), mode);
            }
        }
    }
}
