//! DNS over TCP where not every name may be asked for (guard.rs), or some are of containers (hub.rs): each question is read whole and looked
//! at, then asked of the host's first server over a connection of its own (RFC 7766). Elsewhere such a connection is relayed like any other
//! (tcp.rs).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::dns::{self, NXDOMAIN, SERVFAIL};
use super::engine::{Due, Engine, Source};
use super::relay::Side;
use super::slab::Key;
use crate::sys::inet::{self, Transport};

/// How long one may take in all, idle or not: who has more to ask connects again.
const PATIENCE: Duration = Duration::from_secs(30);
/// At once.
const MOST: usize = 64;
/// Bytes of the length before each message.
const PREFIX: usize = 2;

/// A container's connection, and the question of it that is under way.
pub struct Session {
    client: OwnedFd,
    /// Sent by the client and not looked at yet.
    input: Vec<u8>,
    /// Under way.
    question: Vec<u8>,
    server: Option<OwnedFd>,
    /// From the server, or for the client.
    answer: Vec<u8>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    Connecting,
    Waiting,
    Answering,
}

/// The first message of a stream, once it is whole.
fn message(stream: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = stream.split_first_chunk::<PREFIX>()?;
    rest.get(..usize::from(u16::from_be_bytes(*prefix)))
}

/// A message as a stream has it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

impl Engine {
    /// Whether one more may begin.
    pub(super) fn has_room_for_session(&self) -> bool {
        self.sessions.len() < MOST && self.has_room(4)
    }

    /// A container's connection to the gateway's port 53.
    pub(super) fn begin_session(&mut self, client: OwnedFd) {
        let session =
            Session { client, input: Vec::new(), question: Vec::new(), server: None, answer: Vec::new(), phase: Phase::Reading };
        let key = self.sessions.insert(session);
        let registered = self
            .sessions
            .get(key)
            .map(|session| self.register(session.client.as_fd(), EpollFlags::EPOLLIN, Source::Session(key, Side::Container)));
        match registered {
            Some(Ok(())) => self.later(PATIENCE, Due::Session(key)),
            _ => self.end_session(key),
        }
    }

    pub(super) fn end_session(&mut self, key: Key) {
        self.sessions.remove(key);
    }

    /// Something happened on one side of one.
    pub(super) fn session(&mut self, key: Key, side: Side) {
        let Some(phase) = self.sessions.get(key).map(|session| session.phase) else { return };
        let done = match (phase, side) {
            (Phase::Reading, Side::Container) => self.read_question(key),
            (Phase::Connecting, Side::Host) => self.send_question(key),
            (Phase::Waiting, Side::Host) => self.read_answer(key),
            (Phase::Answering, Side::Container) => self.send_answer(key),
            // The client has gone, whose socket is for nothing else now.
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        if done.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.end_session(key);
        }
    }

    fn read_question(&mut self, key: Key) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let length = inet::receive(&session.client, &mut self.buffer, 0)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        session.input.extend(&self.buffer[..length]);
        self.next_question(key)
    }

    fn next_question(&mut self, key: Key) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let Some(question) = message(&session.input).map(<[u8]>::to_vec) else {
            // Longer than any question that is passed on.
            let too_long = session.input.len() > PREFIX + dns::LONGEST;
            return if too_long { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) };
        };
        session.input.drain(..PREFIX + question.len());
        if !dns::is_question(&question) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        session.question.clone_from(&question);
        let client = inet::peer_address(&session.client)?.ip();
        if let Some(answer) = self.hub.as_ref().and_then(|hub| hub.answer(client, &question)) {
            return self.answer_with(key, framed(&answer));
        }
        if !self.admits_question(client, &question) {
            return self.answer_with(key, framed(&dns::failure(&question, NXDOMAIN)));
        }
        let connecting = self.server(client, 0).map(|server| {
            let socket = inet::socket(Transport::Tcp, server.ip())?;
            inet::connect(&socket, server).map(|()| socket)
        });
        let Some(Ok(server)) = connecting else { return self.fail_question(key) };
        self.register(server.as_fd(), EpollFlags::EPOLLOUT, Source::Session(key, Side::Host))?;
        self.expect_of_client(key, EpollFlags::empty())?;
        if let Some(session) = self.sessions.get_mut(key) {
            (session.server, session.phase) = (Some(server), Phase::Connecting);
        }
        Ok(())
    }

    fn expect_of_client(&self, key: Key, events: EpollFlags) -> io::Result<()> {
        let client = self.sessions.get(key).map(|session| session.client.as_fd());
        client.map_or(Ok(()), |client| self.register_again(client, events, Source::Session(key, Side::Container)))
    }

    fn send_question(&mut self, key: Key) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let Some(server) = &session.server else { return Ok(()) };
        let stream = framed(&session.question);
        // It is the first on that connection, whose queue takes more.
        let sent = inet::take_error(server).and_then(|()| inet::send(server.as_fd(), &stream));
        if !sent.is_ok_and(|length| length == stream.len()) {
            return self.fail_question(key);
        }
        session.answer.clear();
        session.phase = Phase::Waiting;
        let source = Source::Session(key, Side::Host);
        let server = self.sessions.get(key).and_then(|session| session.server.as_ref());
        server.map_or(Ok(()), |server| self.register_again(server.as_fd(), EpollFlags::EPOLLIN, source))
    }

    fn read_answer(&mut self, key: Key) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let Some(server) = &session.server else { return Ok(()) };
        match inet::receive(server, &mut self.buffer, 0) {
            Ok(length @ 1..) => session.answer.extend(&self.buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            _ => return self.fail_question(key),
        }
        let Some(answer) = message(&session.answer).map(<[u8]>::to_vec) else { return Ok(()) };
        if !dns::is_answer(&answer, &session.question) {
            return self.fail_question(key);
        }
        let (client, question) = (inet::peer_address(&session.client)?.ip(), session.question.clone());
        self.learn(client, &question, &answer);
        self.answer_with(key, framed(&answer))
    }

    /// Nobody could answer.
    fn fail_question(&mut self, key: Key) -> io::Result<()> {
        let question = self.sessions.get(key).map(|session| dns::failure(&session.question, SERVFAIL));
        question.map_or(Ok(()), |answer| self.answer_with(key, framed(&answer)))
    }

    fn answer_with(&mut self, key: Key, stream: Vec<u8>) -> io::Result<()> {
        if let Some(session) = self.sessions.get_mut(key) {
            (session.server, session.answer, session.phase) = (None, stream, Phase::Answering);
        }
        self.expect_of_client(key, EpollFlags::EPOLLOUT)
    }

    fn send_answer(&mut self, key: Key) -> io::Result<()> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let length = inet::send(session.client.as_fd(), &session.answer)?;
        session.answer.drain(..length);
        if !session.answer.is_empty() {
            return Ok(());
        }
        session.phase = Phase::Reading;
        self.expect_of_client(key, EpollFlags::EPOLLIN)?;
        // What was sent meanwhile.
        self.next_question(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_once_it_is_whole() {
        let stream = [framed(b"abc"), framed(b"")].concat();
        assert!((0..5).all(|end| message(&stream[..end]).is_none()));
        assert_eq!(message(&stream), Some(&b"abc"[..]));
        assert_eq!(message(&stream[5..]), Some(&b""[..]));
    }
}
