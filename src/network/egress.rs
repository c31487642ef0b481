//! What a container may reach: `--egress`, `--egress-allow` and `--egress-log`. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::subnet::Subnet;
use crate::error::Advise;

/// `--egress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Nothing but what --egress-allow names
    Deny,
    /// Everything
    Allow,
}

/// What a container may reach, as its record has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Egress {
    /// Nothing but what is allowed; else anything.
    pub deny: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Rule>,
    /// What is let out goes into the log, too; what is refused always does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// Names that the container's /etc/hosts has, so that nobody is asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<(String, IpAddr)>,
}

/// One `--egress-allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    pub target: Target,
    /// None: every port, and ICMP echo.
    pub port: Option<u16>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The addresses that this name was answered with. `below`: those of every name that ends so, and not of this one.
    Name {
        name: String,
        below: bool,
    },
    Net(Subnet),
}

impl Egress {
    /// Of the flags; None where none was given. `hosts`: lines of /etc/hosts that the container will have.
    pub fn new(deny: Option<bool>, allow: &[Rule], log: bool, hosts: &[(String, IpAddr)]) -> Result<Option<Egress>> {
        if deny.is_none() && allow.is_empty() && !log {
            return Ok(None);
        }
        if deny == Some(false) && !allow.is_empty() {
            return Err(anyhow!("--egress-allow says nothing beside --egress allow")).hint(|| "leave out one of them");
        }
        let deny = deny.unwrap_or(!allow.is_empty());
        let named = |name: &str| allow.iter().any(|rule| rule.target.is_named(name));
        let hosts = hosts.iter().map(|(name, address)| (plain(name), *address)).filter(|(name, _)| named(name)).collect();
        Ok(Some(Egress { deny, allow: allow.to_vec(), log, hosts }))
    }

    /// A rule about a name that has to be asked for, where there is one.
    pub fn asked(&self) -> Option<&Rule> {
        let is_known = |rule: &&Rule| self.hosts.iter().any(|(name, _)| rule.target.is_named(name));
        self.allow.iter().find(|rule| matches!(rule.target, Target::Name { .. }) && !is_known(rule))
    }

    /// Whether this name may be asked for at all.
    pub fn admits_name(&self, name: &str) -> bool {
        !self.deny || self.allow.iter().any(|rule| rule.target.is_named(name))
    }

    /// Whether this address may be reached, whose names are these; port None: by ICMP echo.
    pub fn admits<'a>(&self, address: IpAddr, port: Option<u16>, names: impl Iterator<Item = &'a str> + Clone) -> bool {
        let pinned = self.hosts.iter().filter(|(_, known)| *known == address).map(|(name, _)| name.as_str());
        let fits = |rule: &Rule| match &rule.target {
            Target::Net(net) => net.contains(address),
            Target::Name { .. } => {
                let named = |name: &str| rule.target.is_named(name);
                names.clone().any(named) || pinned.clone().any(named)
            }
        };
        !self.deny || self.allow.iter().any(|rule| (rule.port.is_none() || rule.port == port) && fits(rule))
    }
}

impl Target {
    fn is_named(&self, name: &str) -> bool {
        match self {
            Target::Name { name: wanted, below: false } => wanted == name,
            Target::Name { name: wanted, below: true } => name.strip_suffix(wanted).is_some_and(|front| front.ends_with('.')),
            Target::Net(_) => false,
        }
    }
}

/// A name as they are compared: in lower case, without the dot at its end.
pub fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    /// `HOST[:PORT]`, `*.DOMAIN[:PORT]`, `ADDRESS[/BITS][:PORT]`; an IPv6 address with a port is in brackets.
    fn from_str(text: &str) -> Result<Rule> {
        let bad = || format!("bad --egress-allow \"{text}\"");
        let (target, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').context("no ] after [").with_context(bad)?;
                (
                    inside,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').context("want [ADDRESS]:PORT").with_context(bad)?)
                    },
                )
            }
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(target, port)| (target, Some(port))),
        };
        let number = |port: &str| port.parse().ok().filter(|port| *port != 0).context("a port is 1 to 65535");
        let port = port.map(number).transpose().with_context(bad)?;
        let target = match text.starts_with('[') || target.contains([':', '/']) {
            true => net(target),
            false => {
                net(target).or_else(|error| named(target).map_err(|other| if looks_like_address(target) { error } else { other }))
            }
        };
        Ok(Rule { target: target.with_context(bad)?, port })
    }
}

/// The last label of a name is never a number (RFC 1123, 2.1).
fn looks_like_address(text: &str) -> bool {
    text.rsplit('.').next().is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn net(text: &str) -> Result<Target> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| anyhow!("\"{address}\" is no IP address"))?;
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match bits {
        None => width,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= width).with_context(|| format!("/{bits} is not 0 to {width}"))?,
    };
    let net = Subnet::around(address, prefix);
    if net.first() != address {
        bail!("{address} is not the first address of a /{prefix}: want {net}");
    }
    Ok(Target::Net(net))
}

fn named(text: &str) -> Result<Target> {
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let name = plain(name);
    let is_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) || looks_like_address(&name) {
        bail!("want HOST[:PORT], *.DOMAIN[:PORT] or ADDRESS[/BITS][:PORT]");
    }
    Ok(Target::Name { name, below })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match &self.target {
            Target::Name { name, below: false } => name.clone(),
            Target::Name { name, below: true } => format!("*.{name}"),
            Target::Net(net) if net.is_one() => net.first().to_string(),
            Target::Net(net) => net.to_string(),
        };
        match self.port {
            Some(port) if target.contains(':') => write!(f, "[{target}]:{port}"),
            Some(port) => write!(f, "{target}:{port}"),
            None => f.write_str(&target),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Rule> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

/// One line of the log.
pub fn line(allowed: bool, protocol: &str, destination: impl fmt::Display, name: Option<&str>) -> String {
    let verdict = if allowed { "allow" } else { "deny" };
    name.map_or_else(
        || format!("{verdict} {protocol} {destination}\n"),
        |name| format!("{verdict} {protocol} {destination} {name}\n"),
    )
}

/// A destination as a line of the log has it; without a port by its address alone.
pub fn shown(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn egress(allow: &[&str]) -> Egress {
        let rules: Vec<Rule> = allow.iter().map(|text| text.parse().unwrap()).collect();
        let hosts = [("DB.local".to_string(), "10.1.1.1".parse().unwrap()), ("other".to_string(), "10.1.1.2".parse().unwrap())];
        Egress::new(Some(true), &rules, false, &hosts).unwrap().unwrap()
    }

    fn admits(egress: &Egress, to: &str, names: &[&str]) -> bool {
        let to: SocketAddr = to.parse().unwrap();
        egress.admits(to.ip(), Some(to.port()).filter(|port| *port != 0), names.iter().copied())
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for (text, written) in [
            ("Registry.Example.com.:443", "registry.example.com:443"),
            ("*.example.com", "*.example.com"),
            ("10.0.0.0/8:53", "10.0.0.0/8:53"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("[::/0]:80", "[::/0]:80"),
            ("db", "db"),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), written);
        }
        for text in [
            "",
            ":80",
            "*",
            "*.",
            "**.x",
            "a..b",
            "a b",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.256",
            "[::1",
            "[::1]80",
            "[host]:80",
            "::1/129",
            "1.2.3",
            "-a.b",
            "a/8",
            "http://a",
            "x.*.y",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
        let error = format!("{:#}", "10.1.2.3/8".parse::<Rule>().unwrap_err());
        assert!(error.contains("want 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn what_no_rule_names_is_refused() {
        let all = egress(&["10.0.0.0/8:53", "example.com:443", "*.cdn.net", "2001:db8::/32", "db.local"]);
        assert!(admits(&all, "10.255.0.1:53", &[]) && !admits(&all, "10.255.0.1:54", &[]) && !admits(&all, "11.0.0.1:53", &[]));
        assert!(admits(&all, "192.0.2.1:443", &["example.com"]) && !admits(&all, "192.0.2.1:80", &["example.com"]));
        assert!(!admits(&all, "192.0.2.1:443", &["an.example.com"]) && !admits(&all, "192.0.2.1:443", &[]));
        assert!(admits(&all, "192.0.2.1:9", &["a.b.cdn.net"]) && !admits(&all, "192.0.2.1:9", &["cdn.net", "acdn.net"]));
        assert!(admits(&all, "[2001:db8:1::1]:1", &[]) && !admits(&all, "[2001:db9::1]:1", &[]));
        // ICMP echo needs a rule without a port.
        assert!(admits(&all, "[2001:db8::1]:0", &[]) && !admits(&all, "10.0.0.1:0", &[]));
        // A name of /etc/hosts, which nobody is asked for.
        assert!(admits(&all, "10.1.1.1:5432", &[]) && !admits(&all, "10.1.1.2:5432", &[]));
        assert_eq!(all.asked().unwrap().to_string(), "example.com:443");
        assert!(egress(&["10.0.0.0/8", "db.local"]).asked().is_none());
        assert!(all.admits_name("example.com") && all.admits_name("x.cdn.net") && !all.admits_name("exfil.example.com"));
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let rule: Rule = "a.b".parse().unwrap();
        assert!(Egress::new(None, &[], false, &[]).unwrap().is_none());
        assert!(Egress::new(None, std::slice::from_ref(&rule), false, &[]).unwrap().unwrap().deny);
        assert!(!Egress::new(None, &[], true, &[]).unwrap().unwrap().deny);
        assert!(Egress::new(Some(false), &[rule], false, &[]).is_err());
        let kept = egress(&["db.local:5432", "10.0.0.0/8"]);
        assert_eq!(serde_json::from_value::<Egress>(serde_json::to_value(&kept).unwrap()).unwrap(), kept);
    }

    proptest! {
        #[test]
        fn any_text_can_be_parsed_and_what_is_understood_survives(text in r"\[?[-a-zA-Z0-9_.*:/]{0,40}\]?(:[0-9]{0,6})?") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
            }
        }
    }
}
