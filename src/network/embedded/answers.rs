//! What name servers say, as far as it matters here: which name a question is about, and the addresses an answer gives it (RFC 1035, 4.1;
//! RFC 3596). Pure: bytes in, nothing read beyond their end, and each at most a few times.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const IN: u16 = 1;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// Longest name, and pointers to further parts of one.
const LONGEST: usize = 255;
const JUMPS: usize = 32;
/// Aliases of a name that are followed.
const ALIASES: usize = 16;

fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// The name at `at`, in lower case and without the dot at its end, and where it ends. What is no letter, digit, `-` or `_` is `?`, which
/// no rule has.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut end, mut jumps) = (String::new(), None, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        match length >> 6 {
            0 => {
                let label = message.get(at + 1..at + 1 + length)?;
                at += 1 + length;
                if length == 0 {
                    return Some((name, end.unwrap_or(at)));
                }
                if !name.is_empty() {
                    name.push('.');
                }
                let plain = |&byte: &u8| {
                    if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) { byte.to_ascii_lowercase() } else { b'?' }
                };
                name.extend(label.iter().map(plain).map(char::from));
            }
            3 => {
                let to = usize::from(half(message, at)? & 0x3fff);
                end = end.or(Some(at + 2));
                (at, jumps) = (to, jumps + 1);
            }
            _ => return None,
        }
        if name.len() > LONGEST || jumps > JUMPS {
            return None;
        }
    }
}

/// The name that a question is about: of one question, in the ordinary way (opcode QUERY).
pub fn question(message: &[u8]) -> Option<String> {
    if message.get(2)? & 0x78 != 0 || half(message, 4)? != 1 {
        return None;
    }
    let (name, end) = name(message, HEADER)?;
    half(message, end + 2)?;
    Some(name)
}

/// The addresses that an answer gives `wanted`, by itself or by its aliases.
pub fn addresses(wanted: &str, message: &[u8]) -> Vec<IpAddr> {
    let records = records(message).unwrap_or_default();
    let (mut known, mut found) = (vec![wanted.to_string()], Vec::new());
    // Each alias may stand before or behind the record it leads to.
    for _ in 0..ALIASES {
        let is_new = |record: &&Record| known.contains(&record.owner);
        let further: Vec<String> = records
            .iter()
            .filter(is_new)
            .filter_map(|record| record.alias.clone())
            .filter(|alias| !known.contains(alias))
            .collect();
        if further.is_empty() {
            break;
        }
        known.extend(further);
    }
    found.extend(records.iter().filter(|record| known.contains(&record.owner)).filter_map(|record| record.address));
    found
}

struct Record {
    owner: String,
    alias: Option<String>,
    address: Option<IpAddr>,
}

/// The records of the answer section, up to one that cannot be understood.
fn records(message: &[u8]) -> Option<Vec<Record>> {
    let (questions, answers) = (half(message, 4)?, half(message, 6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = name(message, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        let Some((record, end)) = record(message, at) else { break };
        records.push(record);
        at = end;
    }
    Some(records)
}

fn record(message: &[u8], at: usize) -> Option<(Record, usize)> {
    let (owner, at) = name(message, at)?;
    let (kind, class, length) = (half(message, at)?, half(message, at + 2)?, usize::from(half(message, at + 8)?));
    let (begin, end) = (at + 10, at + 10 + length);
    let data = message.get(begin..end)?;
    let address = match kind {
        _ if class != IN => None,
        A => <[u8; 4]>::try_from(data).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        AAAA => <[u8; 16]>::try_from(data).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    };
    let alias = if kind == CNAME && class == IN { Some(name(message, begin)?.0) } else { None };
    Some((Record { owner, alias, address }, end))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(name: &str) -> Vec<u8> {
        let mut bytes: Vec<u8> = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        bytes.push(0);
        bytes
    }

    /// A question for an IPv4 address.
    pub fn question(name: &str) -> Vec<u8> {
        [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &encoded(name), &[0, 1, 0, 1]].concat()
    }

    fn with(name: &str, records: &[(&str, u16, Vec<u8>)]) -> Vec<u8> {
        let mut message = question(name);
        message[2..4].copy_from_slice(&[0x81, 0x80]);
        message[7] = records.len() as u8;
        for (owner, kind, data) in records {
            // The name asked for as a pointer to it.
            message.extend(if *owner == name { vec![0xc0, 12] } else { encoded(owner) });
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            message.extend(data);
        }
        message
    }

    /// An answer that gives these names these addresses.
    pub fn answer(name: &str, addresses: &[(&str, IpAddr)]) -> Vec<u8> {
        let data = |address: &IpAddr| match address {
            IpAddr::V4(v4) => (A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
        };
        let records: Vec<_> = addresses.iter().map(|(owner, address)| (*owner, data(address).0, data(address).1)).collect();
        with(name, &records)
    }

    #[test]
    fn an_answer_gives_a_name_its_addresses_and_those_of_its_aliases() {
        let [a, b, c]: [IpAddr; 3] = ["192.0.2.1", "2001:db8::1", "192.0.2.3"].map(|text| text.parse().unwrap());
        assert_eq!(super::question(&question("Www.Example.COM")).as_deref(), Some("www.example.com"));
        assert_eq!(addresses("www.test", &answer("www.test", &[("www.test", a), ("WWW.test", b), ("other.test", c)])), [a, b]);
        let chain = [
            ("edge.net", A, vec![192, 0, 2, 3]),
            ("mid.net", CNAME, encoded("edge.net")),
            ("www.test", CNAME, encoded("mid.net")),
            ("elsewhere", CNAME, encoded("www.test")),
            ("elsewhere", A, vec![192, 0, 2, 9]),
        ];
        assert_eq!(addresses("www.test", &with("www.test", &chain)), [c]);
        let circle =
            [("www.test", CNAME, encoded("b.test")), ("b.test", CNAME, encoded("www.test")), ("b.test", A, vec![1, 2, 3])];
        assert!(addresses("www.test", &with("www.test", &circle)).is_empty());
    }

    #[test]
    fn what_is_no_ordinary_question_is_none() {
        let good = question("a.b");
        assert_eq!(super::question(&good[..good.len() - 1]), None);
        let changed = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            super::question(&message)
        };
        assert_eq!((changed(2, 0x28), changed(5, 2), changed(12, 0x80)), (None, None, None));
        assert_eq!(changed(13, b'.').as_deref(), Some("?.b"));
        // A name that points at itself.
        assert_eq!(super::question(&[&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200), valid: bool) {
            let bytes = if valid { [&with("a.b", &[])[..6], &[0, 9, 0, 0, 0, 0], &encoded("a.b"), &[0, 1, 0, 1], &bytes].concat() } else { bytes };
            let _ = super::question(&bytes);
            prop_assert!(addresses("a.b", &bytes).len() <= bytes.len());
        }
    }
}
