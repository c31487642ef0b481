//! Layers: whatever the bytes, an entry is read or refused; nothing panics, and nothing that is read exceeds its limits.
#![no_main]
#![allow(dead_code)]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;

#[path = "../../src/image"]
mod image {
    pub mod limits;
    pub mod path;
    pub mod tar;
}

use image::{limits, path, tar};

fuzz_target!(|bytes: &[u8]| {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = 0;
    while let Ok(Some(entry)) = archive.next() {
        entries += 1;
        assert!(entries <= bytes.len() / 512, "an entry takes a header");
        assert!(entry.size <= limits::SIZE && entry.pieces.len() <= limits::SPARSE_PIECES);
        let mut end = 0;
        for piece in &entry.pieces {
            assert!(piece.offset >= end && piece.length <= entry.size - piece.offset, "pieces lie apart and inside");
            end = piece.offset + piece.length;
        }
        if let Ok(name) = path::normal(&entry.path) {
            assert!(name.len() <= limits::PATH && path::names(&name).count() <= limits::DEPTH);
            assert!(path::names(&name).all(|name| name != b".." && name != b"." && !name.contains(&0)));
        }
        let stored: u64 = entry.pieces.iter().map(|piece| piece.length).sum();
        let read = io::copy(&mut archive.body().take(stored), &mut io::sink());
        assert!(read.map_or(true, |read| read <= bytes.len() as u64));
    }
});
