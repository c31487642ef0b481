//! WWW-Authenticate, Retry-After, Content-Range and Location: a value or a refusal, and never from https to http.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/image/registry/headers.rs"]
mod headers;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = headers::challenges(text);
    let _ = headers::retry_after(text, Some(text));
    if let Some((first, Some(whole))) = headers::content_range(text) {
        assert!(first < whole);
    }
    let base = "https://reg.example/v2/a/blobs/x".parse().expect("an address");
    if let Ok(uri) = headers::redirect(&base, text) {
        assert_eq!(uri.scheme_str(), Some("https"));
    }
});
