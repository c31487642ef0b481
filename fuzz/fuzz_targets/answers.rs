//! DNS as the gateway reads it: the name that a container asks for, and the addresses that a server gives it.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/embedded/answers.rs"]
mod answers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(name) = answers::question(bytes) {
        assert!(name.len() <= 320 && !name.contains(char::is_whitespace));
        assert!(answers::addresses(&name, bytes).len() <= bytes.len());
    }
});
