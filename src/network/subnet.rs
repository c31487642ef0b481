//! Subnets as numbers: what lies in which, the next that is free, the next address. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A network and the length of its prefix: `10.89.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    prefix: u8,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl Subnet {
    /// The subnet of this prefix that an address lies in.
    pub fn around(address: IpAddr, prefix: u8) -> Subnet {
        let subnet = Subnet { first: address, prefix };
        Subnet { first: subnet.at(number(address) & !subnet.hosts()), prefix }
    }

    fn bits(self) -> u8 {
        if self.is_ipv4() { 32 } else { 128 }
    }

    /// The part of an address that tells hosts apart, all ones.
    fn hosts(self) -> u128 {
        match self.bits() - self.prefix {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }

    fn at(self, number: u128) -> IpAddr {
        if self.is_ipv4() { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() }
    }

    pub fn is_ipv4(self) -> bool {
        self.first.is_ipv4()
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn first(self) -> IpAddr {
        self.first
    }

    /// Whether it is a single address.
    pub fn is_one(self) -> bool {
        self.prefix == self.bits()
    }

    pub fn contains(self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && number(address) & !self.hosts() == number(self.first)
    }

    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Whether all of the other lies in it.
    pub fn covers(self, other: Subnet) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    /// The n-th address after the first, which is the network's own.
    pub fn nth(self, n: u128) -> Option<IpAddr> {
        (n <= self.hosts()).then(|| self.at(number(self.first) + n))
    }

    /// Whether an address can be a host's: not the network's own, nor over IPv4 the one that means all.
    pub fn is_host(self, address: IpAddr) -> bool {
        let host = number(address) & self.hosts();
        self.contains(address) && host != 0 && !(self.is_ipv4() && host == self.hosts())
    }

    /// The first address of `within` that is a host's and that `take` takes. It says of each whether it was free.
    pub fn first_free(self, within: Subnet, mut take: impl FnMut(IpAddr) -> Result<bool>) -> Result<Option<IpAddr>> {
        let mut n = 0;
        while let Some(address) = within.nth(n) {
            if self.is_host(address) && take(address)? {
                return Ok(Some(address));
            }
            n += 1;
        }
        Ok(None)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Subnet> {
        let bad = || format!("bad subnet \"{text}\": want one such as 10.89.0.0/24");
        let parsed = text.split_once('/').and_then(|(address, prefix)| Some((address.parse().ok()?, prefix)));
        let (address, digits): (IpAddr, &str) = parsed.with_context(bad)?;
        let prefix = digits.parse::<u8>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())).with_context(bad)?;
        if prefix > if address.is_ipv4() { 32 } else { 128 } {
            bail!(bad());
        }
        let subnet = Subnet::around(address, prefix);
        if subnet.first != address {
            bail!("bad subnet \"{text}\": it should be {subnet}");
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Subnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

/// The first subnet of those that networks get by themselves, 10.89.0.0/24 to 10.255.255.0/24 as under Podman, which overlaps none of
/// `taken`.
pub fn free_ipv4(taken: &[Subnet]) -> Option<Subnet> {
    let all = (89..=255u8).flat_map(|second| (0..=255u8).map(move |third| Ipv4Addr::new(10, second, third, 0)));
    all.map(|first| Subnet { first: first.into(), prefix: 24 }).find(|subnet| !taken.iter().any(|t| t.overlaps(*subnet)))
}

/// A unique local /64 of these random bytes (RFC 4193, 3.1).
pub fn local_ipv6(random: [u8; 5]) -> Subnet {
    let [a, b, c, d, e] = random.map(u16::from);
    let first = Ipv6Addr::new(0xfd00 | a, b << 8 | c, d << 8 | e, 0, 0, 0, 0, 0);
    Subnet { first: first.into(), prefix: 64 }
}

/// The destinations in the text of /proc/net/route (proc_pid_net(5)): little-endian words in hexadecimal. The default route is none.
pub fn routed(table: &str) -> Vec<Subnet> {
    let route = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let word = |text: &str| u32::from_str_radix(text, 16).ok().map(|word| Ipv4Addr::from(word.swap_bytes()));
        let (destination, mask) = (word(fields.nth(1)?)?, word(fields.nth(5)?)?);
        let prefix = u32::from(mask).leading_ones() as u8;
        (prefix > 0).then(|| Subnet::around(destination.into(), prefix))
    };
    table.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_written_as_it_is_read_and_nothing_else_is_one() {
        for text in ["10.89.0.0/24", "0.0.0.0/0", "10.0.0.1/32", "fd00::/64", "::/0", "fd00::1/128"] {
            assert_eq!(subnet(text).to_string(), text);
        }
        for text in ["", "10.89.0.0", "10.89.0.0/33", "10.89.0.0/+8", "10.89.0.0/", "fd00::/129", "x/8", "10.89.0.0/255.0.0.0"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
        let error = "10.89.0.7/24".parse::<Subnet>().unwrap_err().to_string();
        assert!(error.ends_with("it should be 10.89.0.0/24"), "{error}");
    }

    #[test]
    fn the_next_subnet_is_one_that_nobody_has() {
        assert_eq!(free_ipv4(&[]).unwrap().to_string(), "10.89.0.0/24");
        let taken = ["10.89.0.0/24", "10.89.1.128/25", "10.89.2.0/23"].map(subnet);
        assert_eq!(free_ipv4(&taken).unwrap().to_string(), "10.89.4.0/24");
        assert_eq!(free_ipv4(&[subnet("10.0.0.0/8")]), None);
    }

    #[test]
    fn the_hosts_routes_are_known_but_for_the_default() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nbroken\n";
        assert_eq!(routed(table), [subnet("10.89.0.0/24")]);
    }

    #[test]
    fn addresses_come_in_turn_and_none_twice() {
        let network = subnet("10.0.0.0/29");
        let mut taken = vec![ip("10.0.0.1")];
        while let Some(address) = network
            .first_free(network, |address| {
                let free = !taken.contains(&address);
                Ok(free)
            })
            .unwrap()
        {
            taken.push(address);
        }
        let wanted = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        assert_eq!(taken, wanted.map(ip));
        let upper = network.first_free(subnet("10.0.0.4/30"), |_| Ok(true)).unwrap();
        assert_eq!(upper, Some(ip("10.0.0.4")));
    }

    proptest! {
        #[test]
        fn a_subnet_has_its_own_addresses_and_no_other(address: u32, other: u32, prefix in 0u8..=32) {
            let [address, other] = [address, other].map(|number| IpAddr::from(Ipv4Addr::from(number)));
            let found = Subnet::around(address, prefix);
            let same = (0..prefix).all(|bit| (number(address) ^ number(other)) >> (31 - bit) & 1 == 0);
            prop_assert_eq!(found.contains(other), same);
            prop_assert_eq!(found.is_one(), prefix == 32);
        }

        #[test]
        fn any_subnet_holds_its_own(number: u128, v6: bool, prefix in 0u8..=128, n: u128) {
            let prefix = if v6 { prefix } else { prefix % 33 };
            let address: IpAddr = if v6 { Ipv6Addr::from(number).into() } else { Ipv4Addr::from(number as u32).into() };
            let found = Subnet::around(address, prefix);
            prop_assert!(found.contains(address) && found.covers(found) && found.overlaps(found));
            prop_assert_eq!(found.to_string().parse::<Subnet>().unwrap(), found);
            if let Some(nth) = found.nth(n & found.hosts()) {
                prop_assert!(found.contains(nth));
            }
            prop_assert!(found.hosts() == u128::MAX || found.nth(found.hosts() + 1).is_none());
        }

        #[test]
        fn a_free_subnet_overlaps_none_that_is_taken(taken in proptest::collection::vec((89u8..=92, any::<u8>(), 16u8..=28), 0..40)) {
            let around = |&(b, c, prefix): &(u8, u8, u8)| Subnet::around(Ipv4Addr::new(10, b, c, 0).into(), prefix);
            let taken: Vec<Subnet> = taken.iter().map(around).collect();
            if let Some(free) = free_ipv4(&taken) {
                prop_assert!(!taken.iter().any(|t| t.overlaps(free)));
            }
        }

        #[test]
        fn any_text_can_be_parsed(text in "[0-9a-f.:/]{0,30}", table in "[0-9A-F\t\n ]{0,80}") {
            let _ = text.parse::<Subnet>();
            let _ = routed(&table);
        }
    }
}
