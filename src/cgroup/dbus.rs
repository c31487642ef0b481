//! As much of D-Bus as it takes to ask systemd for a scope (D-Bus specification; org.freedesktop.systemd1(5)).
//!
//! Everything that we have to say fits one write: who we are, and all the calls. A server reads it in order, so that no answer has to be
//! waited for in between. A silent peer is left at the deadline; a hostile one can send no more than [`LONGEST`] bytes at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// Longest message taken from a peer.
const LONGEST: usize = 1 << 20;

/// No reply is wanted (header flag).
pub const NO_REPLY: u8 = 0x1;

/// Where a D-Bus server may listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Path(String),
    /// A name in Linux's abstract namespace, without the leading NUL.
    Abstract(String),
}

/// The unix sockets in a D-Bus address, such as `unix:path=/run/user/1000/bus;unix:abstract=x,guid=…`; others are left out.
pub fn addresses(text: &str) -> Vec<Address> {
    let address = |entry: &str| {
        let pairs = entry.strip_prefix("unix:")?;
        pairs.split(',').find_map(|pair| match pair.split_once('=')? {
            ("path", value) => unescape(value).map(Address::Path),
            ("abstract", value) => unescape(value).map(Address::Abstract),
            _ => None,
        })
    };
    text.split(';').filter_map(address).collect()
}

/// `%2f` and the like.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, tail) = tail.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// A connection to a D-Bus server; all waiting ends at its deadline.
pub struct Connection {
    stream: UnixStream,
    deadline: Instant,
    received: Vec<u8>,
    serial: u32,
    authenticated: bool,
}

impl Connection {
    /// Connects without waiting: a server whose queue is full counts as none.
    pub fn open(address: &Address, deadline: Instant) -> io::Result<Connection> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let address = match address {
            Address::Path(path) => UnixAddr::new(Path::new(path))?,
            Address::Abstract(name) => {
                let address = SocketAddr::from_abstract_name(name)?;
                UnixAddr::new_abstract(address.as_abstract_name().unwrap_or_default())?
            }
        };
        connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
        Ok(Connection { stream: fd.into(), deadline, received: Vec::new(), serial: 0, authenticated: false })
    }

    /// The number that the next message is given.
    pub fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Sends our identity (EXTERNAL: the server asks the kernel who we are) and after it the messages.
    pub fn begin(&mut self, uid: u32, messages: &[Vec<u8>]) -> Result<()> {
        let hex: String = uid.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut bytes = format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").into_bytes();
        messages.iter().for_each(|message| bytes.extend(message));
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => bail!("the connection was closed"),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut set = [PollFd::new(self.stream.as_fd(), events)];
        match poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => bail!("no answer in time"),
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for an answer"),
        }
    }

    /// Reads until `whole` says how many of the received bytes belong together.
    fn read_until(&mut self, whole: impl Fn(&[u8]) -> Result<Option<usize>>) -> Result<Vec<u8>> {
        loop {
            if let Some(length) = whole(&self.received)? {
                return Ok(self.received.drain(..length).collect());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the connection was closed"),
                Ok(length) => self.received.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::POLLIN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }

    /// The next message; before the first one the answer to our identity.
    pub fn receive(&mut self) -> Result<Message> {
        if !self.authenticated {
            let line = self.read_until(|bytes| match bytes.windows(2).position(|pair| pair == b"\r\n") {
                Some(at) => Ok(Some(at + 2)),
                None if bytes.len() > 4096 => bail!("not a D-Bus server"),
                None => Ok(None),
            })?;
            if !line.starts_with(b"OK ") {
                bail!("the server does not accept us: {}", String::from_utf8_lossy(&line).trim());
            }
            self.authenticated = true;
        }
        let bytes = self.read_until(length_of)?;
        Message::parse(&bytes)
    }
}

/// What a message has besides its body (D-Bus specification, "Header Fields").
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// 1 call, 2 return, 3 error, 4 signal.
    pub kind: u8,
    pub interface: String,
    pub member: String,
    pub error_name: String,
    pub reply_serial: Option<u32>,
    body: Vec<u8>,
    big_endian: bool,
}

pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

/// The length of the message that begins here, once its first 16 bytes are there.
fn length_of(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = bytes.get(..16) else { return Ok(None) };
    let mut reader = Reader { bytes: head, at: 4, big_endian: is_big_endian(head)? };
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    if body > LONGEST || fields > LONGEST {
        bail!("a message too long to be meant for us");
    }
    let length = (16 + fields).next_multiple_of(8) + body;
    Ok((bytes.len() >= length).then_some(length))
}

fn is_big_endian(bytes: &[u8]) -> Result<bool> {
    match bytes.first() {
        Some(b'l') => Ok(false),
        Some(b'B') => Ok(true),
        _ => bail!("not a D-Bus message"),
    }
}

impl Message {
    /// Parses one whole message.
    fn parse(bytes: &[u8]) -> Result<Message> {
        let big_endian = is_big_endian(bytes)?;
        let mut reader = Reader { bytes, at: 12, big_endian };
        let end = reader.u32()? as usize + 16;
        let mut message = Message { kind: *bytes.get(1).context("cut short")?, big_endian, ..Message::default() };
        while reader.at < end {
            reader.align(8);
            let code = reader.byte()?;
            let kind = reader.signature()?;
            match (code, kind.as_str()) {
                (2, "s") => message.interface = reader.string()?,
                (3, "s") => message.member = reader.string()?,
                (4, "s") => message.error_name = reader.string()?,
                (5, "u") => message.reply_serial = Some(reader.u32()?),
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => bail!("a header field of type {kind}"),
            }
        }
        reader.at = end.next_multiple_of(8);
        message.body = bytes.get(reader.at..).unwrap_or_default().to_vec();
        Ok(message)
    }

    /// The body, to be read value by value.
    pub fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0, big_endian: self.big_endian }
    }
}

/// Reads values in the order in which they were marshalled.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(length).context("a length beyond all bounds")?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| anyhow!("a message cut short"))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.align(4);
        let big_endian = self.big_endian;
        let bytes: [u8; 4] = self.take(4)?.try_into()?;
        Ok(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A string or an object path.
    pub fn string(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).context("a string that is not UTF-8")
    }

    fn signature(&mut self) -> Result<String> {
        let length = self.byte()? as usize;
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).context("a signature that is not UTF-8")
    }
}

/// A body being marshalled, little-endian.
#[derive(Debug, Default, Clone)]
pub struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub fn u32(&mut self, value: u32) -> &mut Body {
        self.align(4);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A string or an object path.
    pub fn string(&mut self, text: &str) -> &mut Body {
        self.u32(text.len() as u32);
        self.0.extend(text.bytes());
        self.0.push(0);
        self
    }

    fn signature(&mut self, text: &str) -> &mut Body {
        self.0.push(text.len() as u8);
        self.0.extend(text.bytes());
        self.0.push(0);
        self
    }

    /// An array: its length is known when `fill` is done, without the padding before the first element.
    pub fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Body)) -> &mut Body {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        fill(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        self
    }

    /// `(sv)`: a property and its value.
    pub fn property(&mut self, name: &str, value: &Value) -> &mut Body {
        self.align(8);
        self.string(name);
        match value {
            Value::Text(text) => self.signature("s").string(text),
            Value::Bool(flag) => self.signature("b").u32((*flag).into()),
            Value::U64(number) => {
                self.signature("t").align(8);
                self.0.extend(number.to_le_bytes());
                self
            }
            Value::U32s(numbers) => self.signature("au").array(4, |body| {
                numbers.iter().for_each(|n| {
                    body.u32(*n);
                })
            }),
        }
    }
}

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Bool(bool),
    U64(u64),
    U32s(Vec<u32>),
}

/// A method call.
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    /// Of the body; empty for none.
    pub signature: &'a str,
    pub flags: u8,
}

impl Call<'_> {
    /// The whole message.
    pub fn message(&self, serial: u32, body: &Body) -> Vec<u8> {
        let mut message = Body(vec![b'l', 1, self.flags, 1]);
        message.u32(body.0.len() as u32).u32(serial);
        message.array(8, |fields| {
            let texts = [(1, "o", self.path), (6, "s", self.destination), (2, "s", self.interface), (3, "s", self.member)];
            for (code, kind, text) in texts {
                fields.align(8);
                fields.0.push(code);
                fields.signature(kind).string(text);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.0.push(8);
                fields.signature("g").signature(self.signature);
            }
        });
        message.align(8);
        message.0.extend(&body.0);
        message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALL: Call = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
        signature: "ss",
        flags: 0,
    };

    #[test]
    fn addresses_are_those_of_unix_sockets() {
        let text = "tcp:host=x;unix:guid=1,path=/run/user/1000/bus;unix:abstract=/tmp/a%20b;unix:runtime=yes";
        let wanted = [Address::Path("/run/user/1000/bus".into()), Address::Abstract("/tmp/a b".into())];
        assert_eq!(addresses(text), wanted);
        for bad in ["", "unix:path=", "unix:path=%zz", "unix:path=%0", "unix:path=a%00"] {
            assert_eq!(addresses(bad), [], "{bad}");
        }
    }

    #[test]
    fn a_call_reads_back_as_it_was_written() {
        let mut body = Body::default();
        body.string("rl-web.scope").string("fail");
        let bytes = CALL.message(7, &body);
        assert_eq!(length_of(&bytes).unwrap(), Some(bytes.len()));
        assert_eq!(length_of(&bytes[..bytes.len() - 1]).unwrap(), None);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (1, "StartTransientUnit"));
        let mut reader = message.body();
        assert_eq!((reader.string().unwrap(), reader.string().unwrap()), ("rl-web.scope".into(), "fail".into()));
        assert!(reader.string().is_err());
    }

    #[test]
    fn values_lie_where_the_specification_has_them() {
        let mut body = Body::default();
        body.array(8, |body| {
            body.property("A", &Value::Bool(true)).property("B", &Value::U64(5)).property("C", &Value::U32s(vec![9]));
        });
        #[rustfmt::skip]
        let wanted = [
            &[60u8, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 0, 0, 0, b'A', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0],
            &[1, 0, 0, 0, b'B', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, b'C', 0, 2, b'a', b'u', 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0],
        ]
        .concat();
        assert_eq!(body.0, wanted);
    }

    #[test]
    fn a_silent_peer_is_left_at_the_deadline_and_a_lying_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let deadline = Instant::now() + std::time::Duration::from_millis(50);
        let open = || Connection::open(&Address::Path(path.display().to_string()), deadline).unwrap();
        assert!(format!("{:#}", open().receive().unwrap_err()).contains("in time"));
        listener.accept().unwrap();
        for (said, why) in [("REJECTED EXTERNAL\r\n", "not accept"), ("OK 1\r\nGET / HTTP/1.1  ", "not a D-Bus message")] {
            let mut connection = Connection { deadline: deadline + std::time::Duration::from_secs(60), ..open() };
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(said.as_bytes()).unwrap();
            assert!(format!("{:#}", connection.receive().unwrap_err()).contains(why), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), big: bool) {
            if let Some(first) = bytes.first_mut() { *first = if big { b'B' } else { b'l' } }
            let _ = length_of(&bytes);
            if let Ok(message) = Message::parse(&bytes) {
                let mut body = message.body();
                let _ = (body.string(), body.u32());
            }
        }

        #[test]
        fn a_spoilt_message_never_panics(at in 0usize..100, byte: u8) {
            let mut body = Body::default();
            body.string("a").u32(3);
            let mut bytes = CALL.message(1, &body);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = (length_of(&bytes), Message::parse(&bytes));
        }
    }
}
