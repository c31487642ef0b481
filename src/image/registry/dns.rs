//! DNS messages (RFC 1035): one question out, addresses in. A reply may be anything at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};

const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
/// Aliases that are followed within one reply.
const MAX_ALIASES: usize = 16;
/// Records that are looked at.
const MAX_RECORDS: usize = 128;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    A = 1,
    Aaaa = 28,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists; perhaps without an address of this kind.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// It did not fit: to be asked again by TCP.
    Truncated,
    /// The server could or would not say.
    Failed(u8),
}

/// A query for `name`; None when it is no name that DNS could hold.
pub fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    // One question, recursion desired.
    let mut message = [id.to_be_bytes(), [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]].concat();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() - 12 > 255 {
        return None;
    }
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(message)
}

/// Reads the reply to `query`; an error means that it is none.
pub fn answer(query: &[u8], reply: &[u8]) -> Result<Answer> {
    let mut reader = Reader { message: reply, at: 0 };
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let counts = [reader.u16()?, reader.u16()?];
    reader.skip(4)?;
    let mut asked = Reader { message: query, at: 12 };
    let (question, kind) = (asked.name()?, asked.u16()?);
    if id.to_be_bytes() != query[..2] || flags & 0x8000 == 0 || counts[0] != 1 {
        bail!("not a reply to this query");
    }
    if (reader.name()?, reader.u16()?, reader.u16()?) != (question.clone(), kind, CLASS_IN) {
        bail!("a reply to another question");
    }
    if flags & 0x0200 != 0 {
        return Ok(Answer::Truncated);
    }
    match (flags & 0xf) as u8 {
        0 => {}
        3 => return Ok(Answer::NoSuchName),
        code => return Ok(Answer::Failed(code)),
    }
    let mut records = Vec::new();
    for _ in 0..usize::from(counts[1]).min(MAX_RECORDS) {
        records.push(Record::read(&mut reader)?);
    }
    Ok(Answer::Addresses(addresses(&question, kind, &records)))
}

struct Record {
    owner: Vec<u8>,
    kind: u16,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(Vec<u8>),
    Other,
}

impl Record {
    fn read(reader: &mut Reader) -> Result<Record> {
        let (owner, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
        reader.skip(4)?;
        let length = usize::from(reader.u16()?);
        let mut inside = Reader { ..*reader };
        let bytes = reader.skip(length)?;
        let data = match (kind, bytes.len()) {
            _ if class != CLASS_IN => Data::Other,
            (1, 4) => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(bytes)?).into()),
            (28, 16) => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(bytes)?).into()),
            (TYPE_CNAME, _) => Data::Alias(inside.name()?),
            _ => Data::Other,
        };
        Ok(Record { owner, kind, data })
    }
}

/// The addresses of `name` or of what it is an alias for.
fn addresses(name: &[u8], kind: u16, records: &[Record]) -> Vec<IpAddr> {
    let mut name = name;
    for _ in 0..MAX_ALIASES {
        let alias = records.iter().find_map(|record| match &record.data {
            Data::Alias(target) if record.owner == name => Some(target),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    let of_name = records.iter().filter(|record| record.owner == name && record.kind == kind);
    of_name.filter_map(|record| if let Data::Address(address) = record.data { Some(address) } else { None }).collect()
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some(bytes) = self.message.get(self.at..self.at + length) else { bail!("a DNS reply that ends too early") };
        self.at += length;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.skip(2)?.try_into()?))
    }

    /// A name in lower case, its labels each after their length. Pointers lead backwards only, so that they end (4.1.4).
    fn name(&mut self) -> Result<Vec<u8>> {
        let mut name = Vec::new();
        let mut reader = *self;
        let mut jumped = false;
        loop {
            let from = reader.at;
            let length = reader.skip(1)?[0];
            match length {
                0 => break,
                1..=63 => {
                    let label = reader.skip(length.into())?;
                    name.push(length);
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                    if name.len() > 255 {
                        bail!("a DNS name that is too long");
                    }
                }
                0xc0.. => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(reader.skip(1)?[0]);
                    if !jumped {
                        self.at = reader.at;
                        jumped = true;
                    }
                    if target >= from {
                        bail!("a DNS name that leads forwards");
                    }
                    reader.at = target;
                }
                _ => bail!("a DNS label of an unknown kind"),
            }
        }
        if !jumped {
            self.at = reader.at;
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reply to `query` with these records behind it.
    fn reply(query: &[u8], flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[7] = records.len() as u8;
        message.extend(records.concat());
        message
    }

    fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    #[test]
    fn addresses_are_found_behind_aliases() {
        let query = query(7, "Reg.Example.", Kind::A).unwrap();
        let alias = record(&[0xc0, 12], TYPE_CNAME, b"\x03cdn\xc0\x10");
        let target = query.len() as u8 + 12;
        let address = record(&[0xc0, target], 1, &[192, 0, 2, 1]);
        let stranger = record(b"\x05other\x00", 1, &[192, 0, 2, 2]);
        let found = answer(&query, &reply(&query, 0x8180, &[&alias, &address, &stranger])).unwrap();
        assert_eq!(found, Answer::Addresses(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(answer(&query, &reply(&query, 0x8180, &[])).unwrap(), Answer::Addresses(vec![]));
    }

    #[test]
    fn each_way_to_say_no_is_told_apart() {
        let query = query(7, "reg.example", Kind::Aaaa).unwrap();
        for (flags, expected) in [(0x8183, Answer::NoSuchName), (0x8182, Answer::Failed(2)), (0x8380, Answer::Truncated)] {
            assert_eq!(answer(&query, &reply(&query, flags, &[])).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_reply_to_the_query_is_refused() {
        let asked = query(7, "reg.example", Kind::A).unwrap();
        for other in [query(8, "reg.example", Kind::A), query(7, "org.example", Kind::A), query(7, "reg.example", Kind::Aaaa)] {
            assert!(answer(&asked, &reply(&other.unwrap(), 0x8180, &[])).is_err());
        }
        assert!(answer(&asked, &asked).is_err());
        // A name that is a pointer to itself.
        let looped = [&[0, 7, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12][..], &[0, 1, 0, 1]].concat();
        assert!(answer(&asked, &looped).is_err());
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for name in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(query(1, name, Kind::A), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics(tail in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..60) {
            let query = query(7, "reg.example", Kind::A).unwrap();
            let mut message = reply(&query, 0x8180, &[&tail]);
            message[7] = 3;
            message.truncate(message.len().saturating_sub(cut));
            let _ = answer(&query, &message);
            let _ = answer(&query, &tail);
        }
    }
}
