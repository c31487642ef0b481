//! DNS as the hub of a user-defined network answers it: a question of a container's, and what it is told.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/network/embedded/names.rs"]
mod names;

use names::Known;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(question) = names::question(bytes) else { return };
    let address = question.reverse();
    for known in
        [Known::Nothing, Known::Name("a.b".into()), Known::Addresses(address.into_iter().chain([[10, 0, 0, 1].into()]).collect())]
    {
        let answer = question.answer(bytes, &known);
        assert!(answer[..2] == bytes[..2] && answer[2] & 0x80 != 0);
    }
});
