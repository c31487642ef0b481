//! DNS: questions to the gateway's own address go to the host's name servers, from the host, one after another until one answers.
//!
//! Over UDP here; over TCP a question is a connection like any other, to the first server (tcp.rs), unless not every name may be asked for
//! (sessions.rs). The message itself is the business
//! of those who ask and answer: only its header is read (RFC 1035, 4.1.1).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use super::addresses::DNS_PORT;
use super::engine::{Due, Engine, Source};
use super::slab::Key;
use crate::sys::inet::{self, Transport};

/// How long a server may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Times that a question is sent in all: beyond it the asker has given up, too.
const TRIES: usize = 6;
/// Questions under way at once.
const MOST: usize = 512;
/// Longest question that is passed on.
pub(super) const LONGEST: usize = 4096;
const HEADER: usize = 12;
pub(super) const SERVFAIL: u8 = 2;
/// What is said of a name that may not be asked for. REFUSED would be the better word, but musl waits on as if nothing had been said, and
/// glibc calls it a failure for now.
pub(super) const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// A question under way.
pub struct Query {
    client: SocketAddr,
    /// Where it asked.
    asked: IpAddr,
    question: Box<[u8]>,
    /// Connected to the server that was asked last; its port is random for every question.
    socket: OwnedFd,
    tries: usize,
}

/// Whether these bytes are a question: a whole header with QR clear.
pub(super) fn is_question(message: &[u8]) -> bool {
    (HEADER..=LONGEST).contains(&message.len()) && message[2] & 0x80 == 0
}

/// Whether `message` answers `question`: the same number, QR set.
pub(super) fn is_answer(message: &[u8], question: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & 0x80 != 0 && message[..2] == question[..2]
}

/// The answer that says only this.
pub(super) fn failure(question: &[u8], code: u8) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] |= 0x80;
    message[3] = 0x80 | code;
    message
}

impl Engine {
    /// A datagram to the gateway's port 53, or to what the container takes for it: these bytes of the buffer.
    pub(super) fn question(&mut self, client: SocketAddr, asked: IpAddr, bytes: Range<usize>) {
        let message = &self.buffer[bytes];
        if !is_question(message) || self.queries.len() >= MOST || !self.has_room(2) {
            return;
        }
        if let Some(answer) = self.hub.as_ref().and_then(|hub| hub.answer(client.ip(), message)) {
            return self.reply(client, asked, &answer);
        }
        let question: Box<[u8]> = message.into();
        if !self.admits_question(client.ip(), &question) {
            return self.reply(client, asked, &failure(&question, NXDOMAIN));
        }
        self.ask((client, asked), question, 0);
    }

    /// Asks the next server that can be asked at all; after the last, the client hears of the failure.
    fn ask(&mut self, (client, asked): (SocketAddr, IpAddr), question: Box<[u8]>, mut tries: usize) {
        while tries < TRIES {
            let Some(server) = self.server(client.ip(), tries) else { break };
            tries += 1;
            let sent = || -> std::io::Result<OwnedFd> {
                let socket = inet::socket(Transport::Udp, server.ip())?;
                inet::connect(&socket, server)?;
                inet::send(socket.as_fd(), &question)?;
                Ok(socket)
            };
            let Ok(socket) = sent() else { continue };
            let key = self.queries.insert(Query { client, asked, question, socket, tries });
            let registered = self.queries.get(key).map(|query| {
                let socket = query.socket.as_fd();
                self.register(socket, EpollFlags::EPOLLIN, Source::Query(key))
            });
            match registered {
                Some(Ok(())) => self.later(PATIENCE, Due::Query(key)),
                _ => drop(self.queries.remove(key)),
            }
            return;
        }
        self.reply(client, asked, &failure(&question, SERVFAIL));
    }

    /// A server has answered, or its host has said that there is none.
    pub(super) fn answered(&mut self, key: Key) {
        let Some(query) = self.queries.get(key) else { return };
        match inet::receive(&query.socket, &mut self.buffer, 0) {
            Ok(length) if is_answer(&self.buffer[..length], &query.question) => {
                let failed = matches!(self.buffer[3] & 0x0f, SERVFAIL | REFUSED);
                if failed && query.tries < self.resolver.count().max(1) {
                    return self.query_due(key);
                }
                let answer = self.buffer[..length].to_vec();
                if let Some(query) = self.queries.remove(key) {
                    self.learn(query.client.ip(), &query.question, &answer);
                    self.reply(query.client, query.asked, &answer);
                }
            }
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => self.query_due(key),
            _ => {}
        }
    }

    /// A server has not answered, or in vain.
    pub(super) fn query_due(&mut self, key: Key) {
        if let Some(query) = self.queries.remove(key) {
            self.ask((query.client, query.asked), query.question, query.tries);
        }
    }

    /// The server to ask for this container at the n-th try: one of its own, or else of the host's.
    pub(super) fn server(&mut self, client: IpAddr, tries: usize) -> Option<SocketAddr> {
        match self.hub.as_ref().map_or(&[][..], |hub| hub.servers(client)) {
            [] => self.resolver.server(tries),
            own => own.get(tries % own.len()).map(|server| SocketAddr::new(*server, DNS_PORT)),
        }
    }

    /// From the address and port that were asked.
    fn reply(&self, client: SocketAddr, asked: IpAddr, message: &[u8]) {
        if let Some(socket) = self.inside.dns.get(usize::from(client.is_ipv6())) {
            let _ = inet::send_from(socket.as_fd(), message, client, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_headers_are_questions_or_answers() {
        let question = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        assert!(is_question(&question) && !is_question(&question[..11]));
        assert!(!is_answer(&question, &question));
        let failed = failure(&question, SERVFAIL);
        assert!(is_answer(&failed, &question) && !is_question(&failed));
        assert!(!is_answer(&failed[..11], &question));
        let mut other = failed;
        other[0] = 0;
        assert!(!is_answer(&other, &question));
    }
}
