//! Replies of name servers: an answer or a refusal, in bounded time.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/image/registry/dns.rs"]
mod dns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let query = dns::query(7, "reg.example", dns::Kind::A).expect("a name");
    let _ = dns::answer(&query, bytes);
    // Past the checks of identity and question.
    let mut reply = query.clone();
    (reply[2], reply[7]) = (0x81, 8);
    reply.extend_from_slice(bytes);
    let _ = dns::answer(&query, &reply);
});
