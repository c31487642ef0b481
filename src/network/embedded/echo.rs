//! ICMP echo: a container's request is sent on from the kernel's ping socket of the host (icmp(7)), where net.ipv4.ping_group_range allows
//! the caller one, and answered when the far end has answered. Elsewhere it stays unanswered: never is a reply made up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::addresses::Destination;
use super::engine::Engine;
use super::packet::{self, Echo, Mac};
use crate::sys::inet::{self, Transport};

/// Requests remembered at once; older ones are forgotten.
const MOST: usize = 1024;

/// A request that may be answered: found by the far end and the sequence number we sent.
struct Asked {
    /// The Ethernet addresses of the reply: from, to.
    macs: (Mac, Mac),
    client: IpAddr,
    destination: IpAddr,
    identifier: u16,
    sequence: u16,
}

/// The ping sockets, where they are allowed, and what was asked through them.
#[derive(Default)]
pub struct Echoes {
    sockets: [Option<OwnedFd>; 2],
    asked: HashMap<u16, Asked>,
    next: u16,
}

impl Echoes {
    pub fn open() -> Echoes {
        let open = |like: IpAddr| inet::socket(Transport::Icmp, like).ok();
        Echoes { sockets: [open(Ipv4Addr::UNSPECIFIED.into()), open(Ipv6Addr::UNSPECIFIED.into())], ..Echoes::default() }
    }

    /// The sockets there are, numbered.
    pub fn sockets(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.sockets.iter().enumerate().filter_map(|(index, socket)| Some((index, socket.as_ref()?.as_fd())))
    }
}

impl Engine {
    /// The container asks whether somebody is there.
    pub(super) fn echo_request(&mut self, echo: &Echo) {
        // Any port: only the address decides.
        let any = SocketAddr::new(echo.destination, 7);
        let Destination::Outside(wanted) = self.destination(echo.client, any) else { return };
        // For the gateway itself its kernel answers.
        if self.is_closed() || echo.destination == self.networks.of(echo.destination).gateway {
            return;
        }
        if !self.admits(echo.client, "icmp", echo.destination, None) {
            return;
        }
        let echoes = &mut self.echoes;
        let Some(socket) = &echoes.sockets[usize::from(wanted.is_ipv6())] else { return };
        if echoes.asked.len() >= MOST {
            echoes.asked.clear();
        }
        // The kernel chooses the identifier of a ping socket; ours is the sequence number.
        echoes.next = echoes.next.wrapping_add(1);
        let mut message = vec![if wanted.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0];
        message.extend(echoes.next.to_be_bytes());
        message.extend(echo.payload);
        let (client, destination) = (echo.client, echo.destination);
        let asked =
            Asked { macs: (echo.macs.1, echo.macs.0), client, destination, identifier: echo.identifier, sequence: echo.sequence };
        if inet::send_to(socket.as_fd(), &message, SocketAddr::new(wanted.ip(), 0)).is_ok() {
            echoes.asked.insert(echoes.next, asked);
        }
    }

    /// Somebody was.
    pub(super) fn echoed(&mut self, index: usize) {
        loop {
            let Some(socket) = &self.echoes.sockets[index] else { return };
            let Ok(got) = inet::receive_from(socket, &mut self.buffer) else { return };
            let Some((header, payload)) = self.buffer[..got.length].split_at_checked(8) else { continue };
            let number = u16::from_be_bytes([header[6], header[7]]);
            let is_reply = matches!(header[0], 0 | 129);
            let Some(asked) = self.echoes.asked.remove(&number).filter(|_| is_reply) else { continue };
            let Asked { macs, client, destination, identifier, sequence } = asked;
            let frame = packet::echo_reply(&Echo { macs, client, destination, identifier, sequence, payload });
            let _ = inet::send(self.inside.captured.as_fd(), &frame);
        }
    }
}
