//! What a hub, which moves whatever containers send, says to the connectors, which have more rights than it, and they to it: what is understood
//! is said again in the same way.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/network/egress.rs"]
mod egress;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/network/subnet.rs"]
mod subnet;
#[path = "../../src/network/bridge/wire.rs"]
mod wire;

/// As src/network has it, without the sockets of ports.
mod network {
    pub(crate) use crate::egress;
    pub mod ports {
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct PortMapping {
            host_ip: Option<std::net::IpAddr>,
            host_port: u16,
            container_port: u16,
        }
    }
}

/// As src/sys has it: each message is the fuzzer's, and what is sent is kept.
mod sys {
    pub mod sock {
        use std::cell::RefCell;
        use std::io;
        use std::os::fd::{BorrowedFd, OwnedFd};

        thread_local!(pub static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

        pub fn send_now(_: BorrowedFd, message: &[u8], _: &[BorrowedFd]) -> io::Result<()> {
            MESSAGE.set(message.to_vec());
            Ok(())
        }

        pub fn receive_message(_: BorrowedFd, _: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
            Ok((MESSAGE.take(), Vec::new()))
        }
    }
}

use std::os::fd::AsFd;
use sys::sock::MESSAGE;
use wire::{FromHub, ToHub};

fn check<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    let socket = std::io::stdin();
    let socket = socket.as_fd();
    MESSAGE.set(bytes.to_vec());
    let Ok(Some((message, _))) = wire::receive::<T>(socket) else { return };
    let said = serde_json::to_vec(&message).expect("it was said");
    // What is too long is not sent: spelled anew it may be.
    if wire::send(socket, &message, &[]).is_ok() {
        let (again, _) = wire::receive::<T>(socket).expect("it was understood before").expect("it is not empty");
        assert_eq!(serde_json::to_vec(&again).expect("it was said"), said);
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check::<ToHub>(bytes);
    check::<FromHub>(bytes);
});
