//! Frames of a container that says from the beginning where they come from: from its own addresses alone.
//!
//! A hub knows containers by their addresses, so whoever may reach less than others must not take one of theirs, whatever capabilities it
//! has. The rules stand at its link's end in the hub's network namespace. Pure.

use std::net::IpAddr;

use super::join::Mac;
use crate::network::netlink::Batch;
use crate::network::netlink::nft::{Expression, Header, Transaction};

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The rules for what comes in by the link `port`, by which the container with these addresses is connected.
pub fn rules(port: &str, mac: Mac, addresses: impl Iterator<Item = IpAddr>) -> Batch {
    const CHAIN: &str = "own";
    let mut nft = Transaction::of_link(port);
    nft.ingress(CHAIN, port);
    for (kind, offset, value) in sources(mac, addresses) {
        let link = Expression::Bytes { header: Header::Link, offset: 6, value: [&mac[..], &kind].concat() };
        let source = Expression::Bytes { header: Header::Network, offset, value };
        nft.rule("let its own frames pass", CHAIN, &[link, source, Expression::Accept]);
    }
    nft.rule("drop all others", CHAIN, &[Expression::Drop]);
    nft.finish()
}

/// What a frame of the container's begins with: its EtherType, and the bytes at an offset of what follows.
fn sources(mac: Mac, addresses: impl Iterator<Item = IpAddr>) -> Vec<([u8; 2], u32, Vec<u8>)> {
    // Of every interface, without which there is no IPv6: link-local, and none yet.
    let mut sources = vec![(IPV6, 8, vec![0xfe, 0x80]), (IPV6, 8, vec![0; 16])];
    for address in addresses {
        match address {
            IpAddr::V4(v4) => {
                sources.push((IPV4, 12, v4.octets().to_vec()));
                sources.push((ARP, 8, [&mac[..], &v4.octets()].concat()));
            }
            IpAddr::V6(v6) => sources.push((IPV6, 8, v6.octets().to_vec())),
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_speaks_for_itself() {
        let mac = [2, 0x42, 10, 89, 0, 2];
        let all = sources(mac, ["10.89.0.2", "fd00::2"].iter().map(|text| text.parse().unwrap()));
        let is_let_pass = |kind: [u8; 2], payload: &[u8]| {
            let fits =
                |(its, offset, value): &([u8; 2], u32, Vec<u8>)| *its == kind && payload[*offset as usize..].starts_with(value);
            all.iter().any(fits)
        };
        let v4 = |address: [u8; 4]| [&[0x45; 12][..], &address, &[9; 4]].concat();
        assert!(is_let_pass(IPV4, &v4([10, 89, 0, 2])) && !is_let_pass(IPV4, &v4([10, 89, 0, 3])));
        let arp = |mac: Mac, address: [u8; 4]| [&[0, 1, 8, 0, 6, 4, 0, 2][..], &mac, &address, &[0; 10]].concat();
        assert!(is_let_pass(ARP, &arp(mac, [10, 89, 0, 2])) && !is_let_pass(ARP, &arp(mac, [10, 89, 0, 3])));
        assert!(!is_let_pass(ARP, &arp([2, 0x42, 10, 89, 0, 3], [10, 89, 0, 2])));
        let v6 = |address: &str| {
            let address: std::net::Ipv6Addr = address.parse().unwrap();
            [&[0x60; 8][..], &address.octets(), &[0; 16]].concat()
        };
        assert!(["fd00::2", "fe80::1", "::"].iter().all(|own| is_let_pass(IPV6, &v6(own))));
        assert!(["fd00::3", "::1", "2001:db8::1"].iter().all(|other| !is_let_pass(IPV6, &v6(other))));
        // 802.1Q, whatever is in it.
        assert!(!is_let_pass([0x81, 0x00], &v4([10, 89, 0, 2])));
    }
}
