//! DNS messages about containers: which question it is, and the answer (RFC 1035, 3596). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
/// What a resolver takes over UDP that says nothing else.
const LONGEST: usize = 512;
const IN: u16 = 1;
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;
/// Seconds that an answer may be kept: a container that is made anew may have another address.
const TTL: u32 = 1;
/// A name that was said in the question (RFC 1035, 4.1.4).
const AS_ASKED: [u8; 2] = [0xc0, HEADER as u8];

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without the dot at the end.
    pub name: String,
    pub kind: u16,
    /// Where it ends in the message.
    end: usize,
}

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// These; of an address's name the name.
    Addresses(Vec<IpAddr>),
    Name(String),
    /// There is no such name.
    Nothing,
}

/// The question of a message that has one, about the internet; a name with anything but letters, digits, `-` and `_` is nobody's here.
pub fn question(message: &[u8]) -> Option<Question> {
    let half = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    // QR and the opcode clear: a standard query.
    if message.get(2)? & 0xf8 != 0 || half(4)? != 1 {
        return None;
    }
    let (mut name, mut at) = (String::new(), HEADER);
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        let is_ours = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if length > 63 || name.len() > 255 || !label.iter().all(is_ours) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
    }
    let (kind, class) = (half(at)?, half(at + 2)?);
    (class == IN && !name.is_empty()).then_some(Question { name, kind, end: at + 4 })
}

impl Question {
    /// The address whose name is asked for.
    pub fn reverse(&self) -> Option<IpAddr> {
        if self.kind != PTR {
            return None;
        }
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let bytes: Vec<u8> = digits.split('.').rev().map(|byte| byte.parse().ok()).collect::<Option<_>>()?;
            return <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let nibble = |text: &str| u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 1);
        let nibbles: Vec<u128> = digits.split('.').rev().map(nibble).collect::<Option<_>>()?;
        (nibbles.len() == 32).then(|| Ipv6Addr::from(nibbles.iter().fold(0, |sum, nibble| sum << 4 | nibble)).into())
    }

    /// The answer to it, which `message` has asked. Of many addresses those that fit.
    pub fn answer(&self, message: &[u8], known: &Known) -> Vec<u8> {
        let mut answer = message[..self.end].to_vec();
        // An answer, with authority; recursion as it was desired, and available.
        answer[2] = 0x84 | message[2] & 0x01;
        answer[3] = 0x80 | if *known == Known::Nothing { NXDOMAIN } else { 0 };
        answer[6..HEADER].fill(0);
        let mut count = 0u16;
        for data in self.records(known) {
            if answer.len() + 12 + data.len() > LONGEST {
                break;
            }
            answer.extend(AS_ASKED);
            answer.extend(self.kind.to_be_bytes());
            answer.extend(IN.to_be_bytes());
            answer.extend(TTL.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer
    }

    /// The data of the records of the kind asked for.
    fn records(&self, known: &Known) -> Vec<Vec<u8>> {
        match known {
            Known::Addresses(addresses) => {
                let of_kind = |address: &IpAddr| match (address, self.kind) {
                    (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
                    (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
                    _ => None,
                };
                addresses.iter().filter_map(of_kind).collect()
            }
            Known::Name(name) if self.kind == PTR => {
                let labels = name.split('.').filter(|label| (1..=63).contains(&label.len()));
                let mut data: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
                data.push(0);
                vec![data]
            }
            Known::Name(_) | Known::Nothing => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        name.split('.').for_each(|label| message.extend([&[label.len() as u8], label.as_bytes()].concat()));
        message.extend([0]);
        message.extend(kind.to_be_bytes());
        message.extend(IN.to_be_bytes());
        // What EDNS adds.
        message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        message
    }

    fn answers(message: &[u8]) -> u16 {
        u16::from_be_bytes([message[6], message[7]])
    }

    #[test]
    fn a_name_is_answered_with_the_addresses_of_the_kind_asked_for() {
        let known = Known::Addresses(vec!["10.89.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]);
        for (kind, data) in [(A, &[10, 89, 0, 2][..]), (AAAA, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])] {
            let message = ask("Web", kind);
            let question = question(&message).unwrap();
            assert_eq!(question.name, "web");
            let answer = question.answer(&message, &known);
            assert_eq!((&answer[..2], answers(&answer)), (&message[..2], 1));
            assert_eq!(answer[2..4], [0x85, 0x80]);
            assert!(answer.ends_with(data));
        }
        let message = ask("web", 15);
        assert_eq!(answers(&question(&message).unwrap().answer(&message, &known)), 0, "it has no mail exchanger");
        let message = ask("nobody.rl.internal", A);
        assert_eq!(question(&message).unwrap().answer(&message, &Known::Nothing)[3], 0x83);
    }

    #[test]
    fn an_address_is_answered_with_its_name() {
        let message = ask("2.0.89.10.in-addr.arpa", PTR);
        let asked = question(&message).unwrap();
        assert_eq!(asked.reverse(), Some("10.89.0.2".parse().unwrap()));
        assert!(asked.answer(&message, &Known::Name("web".into())).ends_with(b"\x00\x05\x03web\x00"));
        let nibbles = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
        assert_eq!(question(&ask(&nibbles, PTR)).unwrap().reverse(), Some("fd00::2".parse().unwrap()));
        for name in ["10.in-addr.arpa", "x.0.89.10.in-addr.arpa", "1.ip6.arpa", "web"] {
            assert_eq!(question(&ask(name, PTR)).unwrap().reverse(), None, "{name}");
        }
    }

    #[test]
    fn of_many_addresses_those_are_told_that_fit() {
        let message = ask("web", A);
        let many = Known::Addresses((0..200).map(|n| IpAddr::from([10, 89, 0, n])).collect());
        let answer = question(&message).unwrap().answer(&message, &many);
        assert!(answer.len() <= LONGEST && answers(&answer) > 20);
    }

    #[test]
    fn what_is_no_question_of_ours_is_none() {
        let message = ask("web", A);
        let with = |at: usize, value: u8| {
            let mut changed = message.clone();
            changed[at] = value;
            question(&changed)
        };
        assert!(with(2, 0x81).is_none(), "an answer");
        assert!(with(5, 2).is_none(), "two questions");
        assert!(with(12, 0xc0).is_none(), "a pointer");
        assert!(with(13, b' ').is_none(), "a space");
        assert!(question(&message[..14]).is_none() && question(&[]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_asked(message in proptest::collection::vec(any::<u8>(), 0..120), plain: bool) {
            let mut message = message;
            if plain && message.len() > HEADER {
                message[2] &= 0x07;
                message[4..6].copy_from_slice(&[0, 1]);
            }
            if let Some(question) = question(&message) {
                let known = question.reverse().map_or(Known::Nothing, |_| Known::Name("a.b".into()));
                let answer = question.answer(&message, &known);
                prop_assert!(answer.len() <= LONGEST + message.len() && answer[2] & 0x80 != 0);
            }
        }
    }
}
