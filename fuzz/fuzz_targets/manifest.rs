//! Indexes, manifests and configurations: read or refused, and what is read is the same after writing it.
#![no_main]
#![allow(dead_code)]

mod oci;

use oci::image::{Document, ImageConfig};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = Document::parse(bytes, "") {
        let written = match &document {
            Document::Index(index) => serde_json::to_vec(index),
            Document::Manifest(manifest) => serde_json::to_vec(manifest),
        };
        assert_eq!(Document::parse(&written.expect("JSON"), "").expect("it was written"), document);
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        assert_eq!(ImageConfig::parse(&serde_json::to_vec(&config).expect("JSON")).expect("it was written"), config);
    }
});
