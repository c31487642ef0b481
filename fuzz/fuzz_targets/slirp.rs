//! What slirp4netns answers on its socket.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/slirp_api.rs"]
mod slirp_api;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(answer) = slirp_api::answer(bytes) {
        let _ = slirp_api::id_of(&answer, "tcp", "0.0.0.0", 8080);
    }
});
