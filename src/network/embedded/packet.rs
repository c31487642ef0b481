//! Frames as the gateway sees and makes them: a container's SYNs, held and sent on; echo requests; datagrams; the one that nftables is to
//! refuse. Pure: bytes in, bytes out, nothing read beyond their end (RFC 791, 8200, 9293, 792, 4443, 1071).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use crate::sys::packet::Instruction;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Ethernet, the longest IP header, the longest TCP header.
const LONGEST: usize = ETHERNET + 60 + 60;
const ETHERNET: usize = 14;
const IPV6: usize = 40;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Classic BPF (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_BYTE_AT_X: u16 = 0x50;
const HEADER_LENGTH_TO_X: u16 = 0xb1;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const fn i(code: u16, k: u32) -> Instruction {
    jump(code, k, 0, 0)
}

const fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, k }
}

/// What becomes of a packet that is sent on. Coded in the last byte of its source address: the rest of that address is the secret by which
/// nftables knows our packets from the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    GoOn,
    Reset,
    NoRoute,
    HostUnreachable,
    PortUnreachable,
    Prohibited,
}

impl Verdict {
    /// The source address that says so.
    pub fn mac(self, secret: [u8; 4]) -> Mac {
        let [a, b, c, d] = secret;
        [a, b, c, d, 0, self as u8]
    }

    /// What tells the container the errno that a connect ended with on the host. None: silence, as after ETIMEDOUT.
    pub fn of(error: &std::io::Error) -> Option<Verdict> {
        match error.raw_os_error()? {
            libc::ETIMEDOUT => None,
            libc::ENETUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL => Some(Verdict::NoRoute),
            libc::EHOSTUNREACH | libc::EHOSTDOWN => Some(Verdict::HostUnreachable),
            libc::EACCES | libc::EPERM => Some(Verdict::Prohibited),
            _ => Some(Verdict::Reset),
        }
    }
}

/// Four secret bytes that make a unicast, locally administered address.
pub fn secret(random: [u8; 4]) -> [u8; 4] {
    [random[0] & 0xfc | 0x02, random[1], random[2], random[3]]
}

/// Lets through what [`parse`] understands, unless it is marked with the secret: SYNs and echo requests.
pub fn filter(secret: [u8; 4]) -> Vec<Instruction> {
    vec![
        i(LOAD_WORD, 6),
        jump(EQUAL, u32::from_be_bytes(secret), 23, 0),
        i(LOAD_HALF, 12),
        jump(EQUAL, 0x0800, 0, 12),
        i(LOAD_BYTE, 23),
        jump(EQUAL, TCP.into(), 3, 0),
        jump(EQUAL, ICMP.into(), 0, 18),
        i(HEADER_LENGTH_TO_X, 14),
        jump(EQUAL, ICMP.into(), 5, 0),
        i(LOAD_HALF, 20),
        jump(ANY_BIT, 0x3fff, 14, 0),
        i(HEADER_LENGTH_TO_X, 14),
        i(LOAD_BYTE_AT_X, 27),
        jump(EQUAL, 0, 11, 9),
        i(LOAD_BYTE_AT_X, 14),
        // IPv4 has 8 for an echo request; what follows is IPv6.
        jump(EQUAL, 8, 10, 9),
        jump(EQUAL, 0x86dd, 0, 8),
        i(LOAD_BYTE, 20),
        jump(EQUAL, TCP.into(), 3, 0),
        jump(EQUAL, ICMPV6.into(), 0, 5),
        i(LOAD_BYTE, 54),
        jump(EQUAL, 128, 4, 3),
        i(LOAD_BYTE, 67),
        i(AND, 0x17),
        jump(EQUAL, 2, 1, 0),
        i(RETURN, 0),
        i(RETURN, 2048),
    ]
}

/// Lets through the datagrams that [`datagram_in`] understands, where they are for `gateway` alone and not marked with the secret.
pub fn datagram_filter(secret: [u8; 4], gateway: Mac) -> Vec<Instruction> {
    let [a, b, c, d, e, f] = gateway;
    vec![
        i(LOAD_WORD, 6),
        jump(EQUAL, u32::from_be_bytes(secret), 13, 0),
        i(LOAD_WORD, 0),
        jump(EQUAL, u32::from_be_bytes([a, b, c, d]), 0, 11),
        i(LOAD_HALF, 4),
        jump(EQUAL, u16::from_be_bytes([e, f]).into(), 0, 9),
        i(LOAD_HALF, 12),
        jump(EQUAL, 0x86dd, 5, 0),
        jump(EQUAL, 0x0800, 0, 6),
        i(LOAD_HALF, 20),
        jump(ANY_BIT, 0x3fff, 4, 0),
        i(LOAD_BYTE, 23),
        jump(EQUAL, UDP.into(), 3, 2),
        // IPv6.
        i(LOAD_BYTE, 20),
        jump(EQUAL, UDP.into(), 1, 0),
        i(RETURN, 0),
        i(RETURN, u32::MAX),
    ]
}

/// A SYN that waits for what the far end says.
#[derive(Clone)]
pub struct Syn {
    pub client: SocketAddr,
    pub destination: SocketAddr,
    frame: [u8; LONGEST],
    length: usize,
}

/// An echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    /// The Ethernet addresses of the frame: from, to.
    pub macs: (Mac, Mac),
    pub client: IpAddr,
    pub destination: IpAddr,
    pub identifier: u16,
    pub sequence: u16,
    pub payload: &'a [u8],
}

/// What a captured frame is.
pub enum Captured<'a> {
    Syn(Syn),
    Echo(Echo<'a>),
}

/// The parts of a frame: addresses, protocol, and where the transport header begins and the packet ends.
struct Parts {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport: usize,
    end: usize,
}

fn parts(frame: &[u8]) -> Option<Parts> {
    let kind: [u8; 2] = frame.get(12..14)?.try_into().ok()?;
    let ip = frame.get(ETHERNET..)?;
    let address4 = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?).into());
    let address6 = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?).into());
    let half = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
    match kind {
        ETHERTYPE_IPV4 => {
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let (total, fragment) = (usize::from(half(2)?), half(6)? & 0x3fff);
            if ip[0] >> 4 != 4 || header < 20 || total < header || fragment != 0 {
                return None;
            }
            let end = (ETHERNET + total).min(frame.len());
            let (source, destination) = (address4(12)?, address4(16)?);
            Some(Parts { source, destination, protocol: *ip.get(9)?, transport: ETHERNET + header, end })
        }
        ETHERTYPE_IPV6 if ip.first()? >> 4 == 6 => {
            let end = (ETHERNET + IPV6 + usize::from(half(4)?)).min(frame.len());
            let (source, destination) = (address6(8)?, address6(24)?);
            Some(Parts { source, destination, protocol: *ip.get(6)?, transport: ETHERNET + IPV6, end })
        }
        _ => None,
    }
}

/// Understands a SYN or an echo request; None for anything else, however malformed.
pub fn parse(frame: &[u8]) -> Option<Captured<'_>> {
    let parts = parts(frame)?;
    let transport = frame.get(parts.transport..parts.end)?;
    match parts.protocol {
        TCP => syn(frame, &parts, transport).map(Captured::Syn),
        ICMP | ICMPV6 => {
            let request = if parts.protocol == ICMP && parts.source.is_ipv4() { 8 } else { 128 };
            let (header, payload) = transport.split_at_checked(8)?;
            let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
            let (client, destination) = (parts.source, parts.destination);
            let mac = |at: usize| Mac::try_from(&frame[at..at + 6]).unwrap_or_default();
            let macs = (mac(6), mac(0));
            let echo = Echo { macs, client, destination, identifier: half(4), sequence: half(6), payload };
            (header[0] == request && header[1] == 0).then_some(Captured::Echo(echo))
        }
        _ => None,
    }
}

/// Understands a datagram: whom it is from and for, and where in the frame its bytes are. None for anything else, fragments too.
pub fn datagram_in(frame: &[u8]) -> Option<(SocketAddr, SocketAddr, Range<usize>)> {
    const HEADER: usize = 8;
    let parts = parts(frame).filter(|parts| parts.protocol == UDP)?;
    let transport = frame.get(parts.transport..parts.end)?;
    let half = |at: usize| Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]));
    let length = usize::from(half(4)?);
    if length < HEADER || length > transport.len() {
        return None;
    }
    let bytes = parts.transport + HEADER..parts.transport + length;
    Some((SocketAddr::new(parts.source, half(0)?), SocketAddr::new(parts.destination, half(2)?), bytes))
}

/// Data in a SYN (TCP Fast Open) is cut off: the client sends it again, to the connection.
fn syn(frame: &[u8], parts: &Parts, transport: &[u8]) -> Option<Syn> {
    const FIN_SYN_RST_ACK: u8 = 0x17;
    const SYN: u8 = 0x02;
    let header = usize::from(transport.get(12)? >> 4) * 4;
    if header < 20 || transport.len() < header || transport[13] & FIN_SYN_RST_ACK != SYN {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
    let length = parts.transport + header;
    let mut syn = Syn {
        client: SocketAddr::new(parts.source, port(0)),
        destination: SocketAddr::new(parts.destination, port(2)),
        frame: [0; LONGEST],
        length,
    };
    syn.frame.get_mut(..length)?.copy_from_slice(frame.get(..length)?);
    seal(&mut syn.frame[..length], parts.transport, parts.source, parts.destination, TCP);
    Some(syn)
}

impl Syn {
    /// The frame with this source address, ready to be sent from the container's side.
    pub fn frame_from(&mut self, mac: Mac) -> &[u8] {
        self.frame[6..12].copy_from_slice(&mac);
        &self.frame[..self.length]
    }
}

/// Sets the lengths and checksums of a frame that ends with its transport header or payload.
fn seal(frame: &mut [u8], transport: usize, source: IpAddr, destination: IpAddr, protocol: u8) {
    let payload = frame.len() - transport;
    if source.is_ipv4() {
        let total = (frame.len() - ETHERNET) as u16;
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = fold(sum(&frame[ETHERNET..transport]));
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&(payload as u16).to_be_bytes());
    }
    let place = transport
        + match protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        };
    frame[place..place + 2].fill(0);
    let pseudo = match (source, destination) {
        // ICMP alone has no pseudo header.
        (IpAddr::V4(_), _) if protocol == ICMP => 0,
        (IpAddr::V4(a), IpAddr::V4(b)) => sum(&a.octets()) + sum(&b.octets()) + u32::from(protocol) + payload as u32,
        (IpAddr::V6(a), IpAddr::V6(b)) => sum(&a.octets()) + sum(&b.octets()) + u32::from(protocol) + payload as u32,
        _ => 0,
    };
    let checksum = match fold(pseudo + sum(&frame[transport..])) {
        // 0 would mean that there is none (RFC 768).
        0 if protocol == UDP => 0xffff,
        checksum => checksum,
    };
    frame[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&b| u32::from(b) << 8);
    pairs.iter().map(|&pair| u32::from(u16::from_be_bytes(pair))).sum::<u32>() + last
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Writes Ethernet and IP headers for a payload of `length` bytes; returns where the transport header begins.
fn headers(frame: &mut Vec<u8>, macs: (Mac, Mac), source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> usize {
    frame.extend(macs.1);
    frame.extend(macs.0);
    match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            frame.extend(ETHERTYPE_IPV4);
            frame.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend(a.octets());
            frame.extend(b.octets());
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            frame.extend(ETHERTYPE_IPV6);
            frame.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
            frame.extend(a.octets());
            frame.extend(b.octets());
        }
        // Never: both come from one packet.
        _ => return 0,
    }
    let transport = frame.len();
    frame.resize(transport + length, 0);
    transport
}

/// An empty datagram from `client` to `destination`, between the two Ethernet addresses: sent from the container's side under a verdict's
/// address, it makes nftables answer as if the client's own had been refused.
pub fn datagram(macs: (Mac, Mac), client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LONGEST);
    let transport = headers(&mut frame, macs, client.ip(), destination.ip(), UDP, 8);
    frame[transport..transport + 2].copy_from_slice(&client.port().to_be_bytes());
    frame[transport + 2..transport + 4].copy_from_slice(&destination.port().to_be_bytes());
    frame[transport + 4..transport + 6].copy_from_slice(&8u16.to_be_bytes());
    seal(&mut frame, transport, client.ip(), destination.ip(), UDP);
    frame
}

/// The reply, in the frame of these addresses, to an echo request that `echo.destination` has really given.
pub fn echo_reply(echo: &Echo) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LONGEST + echo.payload.len());
    let (protocol, kind) = if echo.client.is_ipv4() { (ICMP, 0) } else { (ICMPV6, 129) };
    let transport = headers(&mut frame, echo.macs, echo.destination, echo.client, protocol, 8);
    frame[transport] = kind;
    frame[transport + 4..transport + 6].copy_from_slice(&echo.identifier.to_be_bytes());
    frame[transport + 6..transport + 8].copy_from_slice(&echo.sequence.to_be_bytes());
    frame.extend(echo.payload);
    seal(&mut frame, transport, echo.destination, echo.client, protocol);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MACS: (Mac, Mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

    /// A SYN with an MSS option, the checksum left undone as in a captured one, and something behind it.
    fn syn_frame(source: &str, destination: &str) -> Vec<u8> {
        let (a, b): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut frame = Vec::new();
        let at = headers(&mut frame, MACS, a.ip(), b.ip(), TCP, 24);
        frame[at..at + 2].copy_from_slice(&a.port().to_be_bytes());
        frame[at + 2..at + 4].copy_from_slice(&b.port().to_be_bytes());
        frame[at + 12] = 6 << 4;
        frame[at + 13] = 0x02;
        frame[at + 20..at + 24].copy_from_slice(&[2, 4, 5, 0xb4]);
        seal(&mut frame, at, a.ip(), b.ip(), TCP);
        frame[at + 16..at + 18].fill(0x5a);
        frame.extend(*b"fast open data");
        frame
    }

    /// A packet is right when the sum over all it covers, its own checksum included, is all ones.
    fn is_right(frame: &[u8]) -> bool {
        let parts = parts(frame).unwrap();
        let covered = &frame[parts.transport..parts.end];
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => sum(&v4.octets()),
            IpAddr::V6(v6) => sum(&v6.octets()),
        };
        let pseudo = match parts.protocol {
            ICMP => 0,
            protocol => octets(parts.source) + octets(parts.destination) + u32::from(protocol) + covered.len() as u32,
        };
        let ip = parts.source.is_ipv6() || fold(sum(&frame[ETHERNET..parts.transport])) == 0;
        ip && fold(pseudo + sum(covered)) == 0 && parts.end == frame.len()
    }

    #[test]
    fn a_syn_is_sent_on_whole_with_its_sums_but_without_data() {
        for (client, destination) in [("10.0.2.100:4444", "192.0.2.1:80"), ("[fd00::64]:4444", "[2001:db8::1]:443")] {
            let frame = syn_frame(client, destination);
            let Some(Captured::Syn(mut syn)) = parse(&frame) else { panic!("no SYN") };
            assert_eq!((syn.client.to_string().as_str(), syn.destination.to_string().as_str()), (client, destination));
            let mac = Verdict::Reset.mac(secret([1, 2, 3, 4]));
            let sent = syn.frame_from(mac);
            assert!(is_right(sent));
            assert_eq!(sent.len(), frame.len() - b"fast open data".len());
            assert_eq!(sent[6..12], [2, 2, 3, 4, 0, 1]);
        }
    }

    #[test]
    fn what_is_no_bare_syn_is_none() {
        let frame = syn_frame("10.0.2.100:4444", "192.0.2.1:80");
        let with = |at: usize, value: u8| {
            let mut changed = frame.clone();
            changed[at] = value;
            parse(&changed).is_none()
        };
        assert!(with(ETHERNET + 20 + 13, 0x12), "a SYN-ACK");
        assert!(with(ETHERNET + 6, 0x20), "a fragment");
        assert!(with(ETHERNET + 20 + 12, 15 << 4), "a header longer than the packet");
        assert!(with(ETHERNET, 0x44), "a short IP header");
        assert!(with(13, 6), "ARP");
        assert!(parse(&frame[..50]).is_none());
    }

    #[test]
    fn datagrams_and_replies_are_right() {
        for (a, b) in [("10.0.2.100:4444", "192.0.2.1:80"), ("[fd00::64]:4444", "[2001:db8::1]:443")] {
            let (a, b): (SocketAddr, SocketAddr) = (a.parse().unwrap(), b.parse().unwrap());
            assert!(is_right(&datagram(MACS, a, b)));
            let echo = Echo { macs: MACS, client: a.ip(), destination: b.ip(), identifier: 7, sequence: 9, payload: b"abc" };
            assert!(is_right(&echo_reply(&echo)));
        }
    }

    /// Runs a filter over a frame, as linux/filter.h defines it, for the instructions we use.
    fn run(filter: &[Instruction], frame: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0);
        let byte = |at: u32| frame.get(at as usize).map(|&b| u32::from(b));
        let load = |at: u32, n: u32| (0..n).try_fold(0, |word, i| Some(word << 8 | byte(at + i)?));
        loop {
            let i = filter[at];
            let loaded = match i.code {
                0x20 => load(i.k, 4),
                0x28 => load(i.k, 2),
                0x30 => load(i.k, 1),
                0x50 => load(x + i.k, 1),
                _ => Some(a),
            };
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
            at += 1;
            match i.code {
                0xb1 => x = (byte(i.k).unwrap_or(0) & 15) * 4,
                0x54 => a &= i.k,
                0x15 => at += usize::from(if a == i.k { i.if_true } else { i.if_false }),
                0x45 => at += usize::from(if a & i.k != 0 { i.if_true } else { i.if_false }),
                0x06 => return i.k,
                _ => {}
            }
        }
    }

    #[test]
    fn a_datagram_is_passed_and_understood_where_it_is_whole_and_for_the_gateway() {
        let (secret, gateway) = (secret([9, 9, 9, 9]), MACS.1);
        for (client, destination) in [("10.0.2.100:4444", "192.0.2.1:53"), ("[fd00::64]:4444", "[2001:db8::1]:53")] {
            let (client, destination): (SocketAddr, SocketAddr) = (client.parse().unwrap(), destination.parse().unwrap());
            let empty = datagram(MACS, client, destination);
            assert_eq!(datagram_in(&empty), Some((client, destination, empty.len()..empty.len())));
            let at = empty.len() - 8;
            let mut frame = [&empty[..], b"hello"].concat();
            // What the lengths do not count is padding.
            assert_eq!(datagram_in(&frame).unwrap().2, at + 8..at + 8);
            frame[at + 4..at + 6].copy_from_slice(&13u16.to_be_bytes());
            assert_eq!(datagram_in(&frame), None);
            seal(&mut frame, at, client.ip(), destination.ip(), UDP);
            assert_eq!(&frame[datagram_in(&frame).unwrap().2], b"hello");
            assert!((0..frame.len()).all(|end| datagram_in(&frame[..end]).is_none()));
            let passes = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut changed = frame.clone();
                change(&mut changed);
                run(&datagram_filter(secret, gateway), &changed) > 0
            };
            assert!(passes(&|_| ()));
            assert!(!passes(&|frame| frame[6..10].copy_from_slice(&secret)));
            assert!(!passes(&|frame| frame[0..6].fill(0xff)) && !passes(&|frame| frame[5] += 1));
            assert!(!passes(&|frame| frame[12] = 0));
            assert!(!passes(&|frame| frame[if client.is_ipv4() { 23 } else { 20 }] = TCP));
            assert!(client.is_ipv6() || !passes(&|frame| frame[20] = 0x20));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(mut frame in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
            if frame.len() > 15 {
                frame[12..14].copy_from_slice(if v6 { &ETHERTYPE_IPV6 } else { &ETHERTYPE_IPV4 });
                frame[14] = if v6 { 0x60 } else { 0x40 | frame[14] & 0x0f };
            }
            if let Some(Captured::Syn(mut syn)) = parse(&frame) {
                prop_assert!(is_right(syn.frame_from([0; 6])));
            }
            if frame.len() > 23 {
                frame[if v6 { 20 } else { 23 }] = UDP;
            }
            if let Some((_, _, bytes)) = datagram_in(&frame) {
                prop_assert!(bytes.end <= frame.len());
            }
        }

        #[test]
        fn the_filter_passes_what_is_understood(flags: u8, options in 0u8..11, v6: bool, icmp: bool, kind: u8, marked: bool) {
            let (a, b) = if v6 { ("[fd00::64]:4444", "[2001:db8::1]:443") } else { ("10.0.2.100:4444", "192.0.2.1:80") };
            let (a, b): (SocketAddr, SocketAddr) = (a.parse().unwrap(), b.parse().unwrap());
            let protocol = match (icmp, v6) { (false, _) => TCP, (true, false) => ICMP, (true, true) => ICMPV6 };
            let mut frame = Vec::new();
            let mut at = headers(&mut frame, MACS, a.ip(), b.ip(), protocol, 40);
            if !v6 {
                // IP options, all no-ops.
                frame[ETHERNET] = 0x45 + options;
                frame.splice(at..at, vec![1; usize::from(options) * 4]);
                at += usize::from(options) * 4;
            }
            if icmp {
                frame[at] = kind % 16 + if v6 { 120 } else { 0 };
            } else {
                frame[at + 12] = 5 << 4;
                frame[at + 13] = flags;
            }
            let length = (frame.len() - ETHERNET - if v6 { IPV6 } else { 0 }) as u16;
            let place = ETHERNET + if v6 { 4 } else { 2 };
            frame[place..place + 2].copy_from_slice(&length.to_be_bytes());
            let secret = secret([9, 9, 9, 9]);
            if marked {
                frame[6..10].copy_from_slice(&secret);
            }
            prop_assert_eq!(run(&filter(secret), &frame) > 0, !marked && parse(&frame).is_some());
        }
    }
}
