//! Frames that a container makes: a SYN, an echo request, a datagram, or nothing; and the frames we make of them.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/embedded/packet.rs"]
mod packet;

/// As src/sys has it, without the system calls.
mod sys {
    pub mod packet {
        #[derive(Debug, Clone, Copy)]
        pub struct Instruction {
            pub code: u16,
            pub if_true: u8,
            pub if_false: u8,
            pub k: u32,
        }
    }
}

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    match packet::parse(frame) {
        Some(packet::Captured::Syn(mut syn)) => {
            let again = syn.frame_from([2, 0, 0, 0, 0, 1]).to_vec();
            assert!(again.len() <= frame.len() && matches!(packet::parse(&again), Some(packet::Captured::Syn(_))));
        }
        Some(packet::Captured::Echo(echo)) => assert!(echo.payload.len() < frame.len()),
        None => {}
    }
    if let Some((_, _, bytes)) = packet::datagram_in(frame) {
        assert!(bytes.start <= bytes.end && bytes.end <= frame.len());
    }
});
