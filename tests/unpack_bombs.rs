//! Archives that are small and want much: refused in bounded time, in less than 128 MiB of memory, with nothing left of them.
//!
//! In a file of their own, because the memory is the largest of all processes that this one has waited for, and a process begins with
//! what its parent holds: nothing here may hold much.

mod support;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};
use support::{Layout, Rl, TarBuilder};

const LIMIT_KIB: i64 = 128 << 10;

/// An image of one layer that `write` writes, compressed on the way to its blob.
fn image_of(rl: &Rl, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut layout = Layout::new(rl.path("image"));
    let file = rl.path("blob");
    let mut encoder = zstd::Encoder::new(File::create(&file).unwrap(), 1).unwrap();
    write(&mut encoder).unwrap();
    encoder.finish().unwrap();
    let mut hash = Sha256::new();
    io::copy(&mut File::open(&file).unwrap(), &mut hash).unwrap();
    let (hex, size) = (format!("{:x}", hash.finalize()), fs::metadata(&file).unwrap().len());
    fs::rename(&file, rl.path("image/blobs/sha256").join(&hex)).unwrap();
    let kind = "application/vnd.oci.image.layer.v1.tar+zstd";
    layout.manifest["layers"] = json!([{"mediaType": kind, "digest": format!("sha256:{hex}"), "size": size}]);
    // It never comes to that.
    layout.config["rootfs"]["diff_ids"] = json!([format!("sha256:{}", "0".repeat(64))]);
    layout.write()
}

#[track_caller]
fn refused(rl: &Rl, image: &str, why: &str) {
    let run = rl.cmd(["run", "--rm", image, "true"]).code(125).says(why);
    let lines = run.stderr().lines().filter(|line| !line.starts_with("try: ")).count();
    assert_eq!(lines, 1, "{run}");
    let left: Vec<_> = fs::read_dir(rl.store().join("layers")).into_iter().flatten().flatten().collect();
    let left: Vec<_> = left.iter().flat_map(|map| fs::read_dir(map.path()).unwrap()).collect();
    assert!(left.is_empty(), "{left:?}");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

fn header(name: &str, noise: u32) -> Vec<u8> {
    let mut header = TarBuilder::new().entry(b'0', name, 0o644, (0, 0), "", b"").finish();
    header.truncate(512);
    // The owner's name, which nobody reads; the checksum with it.
    let text = format!("{noise:08x}{:08x}", noise.wrapping_mul(2_654_435_761));
    header[265..265 + text.len()].copy_from_slice(text.as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn ten_million_entries() {
    let rl = Rl::new();
    // Names that stand for nothing: the limit is on entries, whatever they are.
    let image = image_of(&rl, |out| (0..2_000_001).try_for_each(|n| out.write_all(&header(".wh..wh.aufs", n))));
    refused(&rl, &image, "more than 2000000 entries");
}

#[test]
fn more_directories_than_can_be_remembered() {
    let rl = Rl::new();
    let path = vec!["d".repeat(250); 16].join("/");
    let entry = TarBuilder::new().pax(&[("path", &path)]).dir("cut").finish();
    // The same one again and again, each with other noise behind it: what zstd would not see through.
    let image = image_of(&rl, |out| {
        (0..11_000).try_for_each(|n| {
            out.write_all(&entry[..entry.len() - 1024])?;
            out.write_all(&header(".wh..wh.aufs", n))
        })
    });
    refused(&rl, &image, "this many directories");
}

#[test]
fn a_thousandfold_inflation() {
    let rl = Rl::new();
    let image = image_of(&rl, |out| {
        let mut entry = TarBuilder::new().pax(&[("size", "8589934592")]).entry(b'0', "zeros", 0o644, (0, 0), "", b"").finish();
        entry.truncate(entry.len() - 1024);
        out.write_all(&entry)?;
        (0..300).try_for_each(|_| out.write_all(&vec![0; 1 << 20]))
    });
    refused(&rl, &image, "1000 times its size");
}

#[test]
fn a_terabyte_of_nothing_takes_no_room_and_ten_are_refused() {
    let rl = Rl::new();
    let sparse = |size: &str| {
        let records = [("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,0"), ("GNU.sparse.size", size)];
        TarBuilder::new().pax(&records).file("hole", "").finish()
    };
    let image = image_of(&rl, |out| out.write_all(&sparse("10995116277760")));
    refused(&rl, &image, "1024 GiB");
    let _ = fs::remove_dir_all(rl.path("image"));
    let image = Layout::new(rl.path("image")).layer(&sparse("1099511627776")).write();
    let run = rl.cmd(["run", "--rm", "--network", "none", &image, "/no/such/program"]);
    // Where the file system has no files of that size, it says so.
    assert!(matches!(run.status.code(), Some(127) | Some(125)), "{run}");
    if run.status.code() == Some(127) {
        let store = rl.store();
        let hole = find(&store.join("layers"), "hole").expect("the file");
        assert!(hole.len() == 1 << 40 && hole.blocks() < 100, "{hole:?}");
    }
}

fn find(dir: &Path, name: &str) -> Option<fs::Metadata> {
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .find_map(|entry| if entry.file_name() == name { entry.metadata().ok() } else { find(&entry.path(), name) })
}

#[test]
fn depth_five_thousand() {
    let rl = Rl::new();
    let deep = TarBuilder::new().pax(&[("path", &"d/".repeat(5000))]).dir("cut").finish();
    let image = image_of(&rl, |out| out.write_all(&deep));
    refused(&rl, &image, "deeper than 1024 directories");
    // By symlinks, one step each.
    let mut climbing = TarBuilder::new().dir("a0");
    for n in 0..60 {
        climbing = climbing.symlink(&format!("l{}", n + 1), &format!("l{n}/{}", ["x"; 30].join("/")));
    }
    let _ = fs::remove_dir_all(rl.path("image"));
    let image = image_of(&rl, |out| out.write_all(&climbing.symlink("l0", "a0").file("l60/file", "").finish()));
    refused(&rl, &image, "too many symlinks");
}

#[test]
fn a_map_of_a_sparse_file_without_end() {
    let rl = Rl::new();
    let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "1000000000000")];
    let mut map = String::from("999999999999\n");
    for n in 0..100_000u64 {
        map += &format!("{}\n1\n", 2 * n);
    }
    let entry = TarBuilder::new().pax(&records).file("x", &map).finish();
    let image = image_of(&rl, |out| out.write_all(&entry));
    refused(&rl, &image, "more than 65536 pieces");
}
