//! Netlink, raw: building requests, sending a batch of them in one system call, reading the answers (netlink(7)).
//!
//! No `ip` and no `nft` is ever started: with them the network took 35-110 ms, so it takes under 2. Only the last request of a batch asks
//! for an answer; the kernel answers those that fail in any case.

pub mod nft;
pub mod route;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// NLM_F_CREATE | NLM_F_EXCL: a request that makes something new.
pub const CREATE: u16 = 0x600;
/// NLM_F_CREATE | NLM_F_APPEND: a request that adds to an ordered list.
pub const APPEND: u16 = 0xc00;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;

/// Requests to be sent together.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// What each request does, for messages: the sequence number is the place in this list.
    labels: Vec<&'static str>,
    /// Where the last request begins that can be answered.
    last: usize,
}

impl Batch {
    /// Adds one request: its type and flags, the fixed part, then what `attributes` adds.
    pub fn request(
        &mut self,
        label: &'static str,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes),
    ) -> &mut Batch {
        self.last = self.bytes.len();
        self.message(label, kind, flags, fixed, attributes);
        self
    }

    /// A message that the kernel never answers: the bounds of a batch for nftables.
    fn message(&mut self, label: &'static str, kind: u16, flags: u16, fixed: &[u8], attributes: impl FnOnce(&mut Attributes)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend((self.labels.len() as u32).to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(fixed);
        pad(&mut self.bytes);
        attributes(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.labels.push(label);
    }

    /// The bytes to send, the last request asking for an answer, and that request's number.
    fn finish(&mut self) -> (&[u8], u32) {
        if self.bytes.is_empty() {
            return (&[], 0);
        }
        let flags = self.last + 6;
        let with_ack = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | NLM_F_ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&with_ack.to_ne_bytes());
        let number = self.last + 8;
        let number = self.bytes[number..number + 4].try_into().map(u32::from_ne_bytes).unwrap_or(0);
        (&self.bytes, number)
    }
}

/// Adds attributes to a request.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// One attribute with this value, as it is.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(((value.len() + ATTRIBUTE) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        pad(self.bytes);
    }

    /// A number in the host's order, as rtnetlink has them.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network order, as nftables has them.
    pub fn network_number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A string, with the NUL byte at its end.
    pub fn string(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// An attribute that consists of attributes, after a fixed part that may be empty.
    pub fn nest(&mut self, kind: u16, fixed: &[u8], inner: impl FnOnce(&mut Attributes)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        self.bytes.extend(fixed);
        inner(&mut Attributes { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// What the kernel said about one request.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    number: u32,
    /// 0, or why not.
    errno: i32,
}

/// The answers in one datagram. Whatever is malformed or something else ends or skips; nothing is read beyond the bytes there are.
fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    while let Some(length) = word(bytes, 0) {
        let length = length as usize;
        let Some(message) = bytes.get(..length).filter(|m| m.len() >= HEADER) else { break };
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if let (NLMSG_ERROR, Some(number), Some(errno)) = (kind, word(message, 8), word(message, HEADER)) {
            found.push(Answer { number, errno: (errno as i32).saturating_neg() });
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Links, addresses, routes, rules (rtnetlink(7)).
    Route,
    /// nftables.
    Netfilter,
}

/// A netlink socket. It acts in the network namespace in which it was opened, whoever uses it.
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens a socket in this thread's network namespace.
    pub fn open(subsystem: Subsystem) -> Result<Netlink> {
        let protocol = match subsystem {
            Subsystem::Route => SockProtocol::NetlinkRoute,
            Subsystem::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
        Ok(Netlink { socket: socket.context("cannot open a netlink socket")? })
    }

    /// Sends the batch and waits until the kernel has done all of it. The first failure is the error; for nftables nothing has changed then.
    pub fn commit(&self, mut batch: Batch) -> Result<()> {
        let (bytes, last) = batch.finish();
        if bytes.is_empty() {
            return Ok(());
        }
        let sent = send(self.socket.as_raw_fd(), bytes, MsgFlags::empty()).context("cannot send to the kernel")?;
        if sent != bytes.len() {
            bail!("the kernel took {sent} of {} bytes", bytes.len());
        }
        let mut buffer = [0; 8 << 10];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other.context("cannot receive from the kernel")?,
            };
            for answer in answers(&buffer[..length]) {
                if answer.errno != 0 {
                    // What the others of this batch are told is not to be taken for an answer to the next; all of it is there already.
                    while recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
                    let what = batch.labels.get(answer.number as usize).unwrap_or(&"do that");
                    return Err(io::Error::from_raw_os_error(answer.errno)).context(format!("cannot {what}"));
                }
                if answer.number == last {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_has_its_length_its_number_and_padded_attributes() {
        let mut batch = Batch::default();
        batch.request("make a", 16, CREATE, &[7; 16], |a| {
            a.string(3, "eth0");
            a.nest(18, &[], |a| a.bytes(1, b"x"));
        });
        batch.request("make b", 20, 0, &[], |_| ());
        let (bytes, last) = batch.finish();
        assert_eq!(last, 1);
        assert_eq!(bytes.len(), 16 + 16 + 12 + 12 + 16);
        assert_eq!(bytes[..4], 56u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 16u16.to_ne_bytes());
        // Only the last asks for an answer.
        assert_eq!(bytes[6..8], 0x601u16.to_ne_bytes());
        assert_eq!(bytes[62..64], 5u16.to_ne_bytes());
        assert_eq!(bytes[32..44], *b"\x09\0\x03\0eth0\0\0\0\0");
        assert_eq!(bytes[44..56], [12, 0, 18, 0x80, 5, 0, 1, 0, b'x', 0, 0, 0]);
    }

    fn error(number: u32, errno: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(36u32.to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend((-errno).to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn answers_are_found_among_other_messages() {
        let mut bytes = error(3, libc::EEXIST);
        let mut other = error(0, 0);
        other[4] = 99;
        bytes.extend(other);
        bytes.extend(error(4, 0));
        let wanted = [Answer { number: 3, errno: libc::EEXIST }, Answer { number: 4, errno: 0 }];
        assert_eq!(answers(&bytes), wanted);
        assert_eq!(answers(&bytes[..30]), []);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_as_answers(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in 0u32..64) {
            let mut bytes = bytes;
            if bytes.len() >= 6 {
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
                bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            }
            prop_assert!(answers(&bytes).len() <= bytes.len() / HEADER);
        }
    }

    #[test]
    fn the_kernel_names_the_request_that_failed() {
        let netlink = Netlink::open(Subsystem::Route).unwrap();
        let mut batch = Batch::default();
        // Nobody may add a link to the host's namespace, nor is there such a kind.
        batch.request("make a link", 16, CREATE, &[0; 16], |a| a.nest(18, &[], |a| a.bytes(1, b"no-such-kind")));
        let error = netlink.commit(batch).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot make a link: "), "{error:#}");
        let mut two = Batch::default();
        two.request("make one", 16, CREATE, &[0; 16], |_| ()).request("make another", 16, CREATE, &[0; 16], |_| ());
        assert!(format!("{:#}", netlink.commit(two).unwrap_err()).starts_with("cannot make one: "));
        let mut after = Batch::default();
        after.request("begin", 16, CREATE, &[0; 16], |_| ()).request("end", 16, CREATE, &[0; 16], |_| ());
        assert!(format!("{:#}", netlink.commit(after).unwrap_err()).starts_with("cannot begin: "));
    }
}
