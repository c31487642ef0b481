//! Layers unpacked into a directory, hostile ones too. Without U: everything belongs to whoever runs the tests.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::tar::tests::{Raw, archive};
use crate::oci::digest::Digest;
use crate::oci::image::{Descriptor, LAYER};

/// Layers of one image, each unpacked on top of those before it. On disk rather than in /tmp: a tmpfs may lack user xattrs.
struct Bench {
    directory: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/canary"), "alive").unwrap();
        Bench { directory, layers: Vec::new() }
    }

    /// Unpacks one more layer and gives its directory.
    fn unpack(&mut self, entries: &[Raw]) -> PathBuf {
        self.try_unpack(entries).unwrap()
    }

    fn try_unpack(&mut self, entries: &[Raw]) -> Result<PathBuf> {
        let bytes = archive(entries);
        let root = self.directory.path().join(self.layers.len().to_string());
        fs::create_dir(&root).unwrap();
        let lowers: Vec<OwnedFd> = self.layers.iter().map(|lower| File::open(lower).unwrap().into()).collect();
        let directory = File::open(&root).unwrap().into();
        let unpacked = super::unpack(&bytes[..], &layer_of(&bytes), directory, Setter::for_tests(), &lowers, || Ok(()));
        assert_eq!(fs::read(self.directory.path().join("outside/canary")).unwrap(), b"alive");
        let warnings = unpacked?.warnings;
        // An ordinary user without U cannot hand on what its own lower layers belong to.
        assert!(warnings.is_empty() || !nix::unistd::geteuid().is_root(), "{warnings:?}");
        self.layers.push(root.clone());
        Ok(root)
    }

    fn refused(&mut self, entries: &[Raw]) -> String {
        let error = self.try_unpack(entries).unwrap_err();
        fs::remove_dir_all(self.directory.path().join(self.layers.len().to_string())).unwrap();
        crate::error::Failure::from(&error).message
    }

    fn outside(&self) -> String {
        self.directory.path().join("outside").display().to_string()
    }
}

fn layer_of(bytes: &[u8]) -> Layer {
    let digest = Digest::of(bytes);
    let descriptor = Descriptor {
        media_type: LAYER.into(),
        digest: digest.clone(),
        size: bytes.len() as u64,
        platform: None,
        annotations: Default::default(),
    };
    Layer { diff_id: digest.clone(), chain_id: digest, descriptor, blob: PathBuf::new() }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    crate::sys::xattr::is(File::open(path).unwrap().as_fd(), attributes::OPAQUE, b"y").unwrap()
}

#[test]
fn files_come_with_mode_time_links_and_attributes() {
    let mut bench = Bench::new();
    let root = bench.unpack(&[
        Raw::dir("d").mode(0o1777),
        Raw::pax(&[("mtime", "1234567890.123456789"), ("SCHILY.xattr.user.x", "y"), ("SCHILY.xattr.user.overlay.opaque", "y")]),
        Raw::file("d/file", "hello").mode(0o4755),
        Raw::hardlink("hard", "/d/file"),
        Raw::symlink("soft", "/etc/passwd"),
        Raw::new(b'6', "fifo", b"").mode(0o622),
        Raw::new(b'3', "dev/null", b"").put(329, b"0000001\0").put(337, b"0000003\0").mode(0o666),
    ]);
    let file = fs::metadata(root.join("d/file")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec(), file.nlink()), (1_234_567_890, 123_456_789, 2));
    assert_eq!(fs::read(root.join("hard")).unwrap(), b"hello");
    assert_eq!(fs::read_link(root.join("soft")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!((mode(&root.join("d")), mode(&root.join("d/file")), mode(&root.join("fifo"))), (0o1777, 0o4755, 0o622));
    assert_eq!((fs::metadata(root.join("d")).unwrap().mtime(), mode(&root.join("dev"))), (0, 0o755));
    assert!(fs::symlink_metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    let has = |path: &str, name, value: &[u8]| {
        crate::sys::xattr::is(File::open(root.join(path)).unwrap().as_fd(), name, value).unwrap()
    };
    assert!(has("d/file", c"user.x", b"y") && !has("d/file", c"user.overlay.opaque", b"y"));
    let null = fs::metadata(root.join("dev/null")).unwrap();
    assert!(null.is_file() && null.len() == 0 && null.mode() & 0o777 == 0);
}

#[test]
fn names_that_lead_out_are_refused() {
    let mut bench = Bench::new();
    assert!(bench.refused(&[Raw::file("../outside/canary", "dead")]).contains("entry \"../outside/canary\": leads out"));
    assert!(bench.refused(&[Raw::file("a/../../outside/canary", "dead")]).contains("leads out"));
    assert!(bench.refused(&[Raw::hardlink("x", "../outside/canary")]).contains("leads out"));
    assert!(bench.refused(&[Raw::symlink("./", "/etc")]).contains("the root is not a directory"));
    assert!(bench.refused(&[Raw::file("/", "")]).contains("slash"));
    assert!(bench.refused(&[Raw::file(".wh...", "")]).contains("whiteout of nothing"));
    assert!(bench.refused(&[Raw::file(&"d/".repeat(3), "x"), Raw::file("x", "")]).contains("slash"));
}

#[test]
fn an_absolute_name_is_one_in_the_image() {
    let mut bench = Bench::new();
    let root = bench.unpack(&[Raw::file("/etc/passwd", "root")]);
    assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"root");
}

#[test]
fn parents_that_are_symlinks_are_followed_inside_the_layer_only() {
    let mut bench = Bench::new();
    let outside = bench.outside();
    let root = bench.unpack(&[
        Raw::dir("usr/lib"),
        Raw::symlink("lib", "usr/lib"),
        Raw::file("lib/a", "a"),
        Raw::symlink("absolute", &outside),
        Raw::file("absolute/b", "b"),
        Raw::symlink("up", "../../../.."),
        Raw::file("up/c", "c"),
        Raw::symlink("dangling", "some/../where"),
        Raw::file("dangling/d", "d"),
        Raw::file("absolute/canary", "dead"),
    ]);
    assert_eq!(fs::read(root.join("usr/lib/a")).unwrap(), b"a");
    assert_eq!(fs::read(format!("{}{outside}/b", root.display())).unwrap(), b"b");
    assert_eq!(fs::read(root.join("c")).unwrap(), b"c");
    assert_eq!(fs::read(root.join("where/d")).unwrap(), b"d");
    assert!(bench.refused(&[Raw::symlink("a", "b"), Raw::symlink("b", "a"), Raw::file("a/x", "")]).contains("too many symlinks"));
    assert!(bench.refused(&[Raw::file("a", ""), Raw::file("a/x", "")]).contains("is not a directory"));
    assert!(bench.refused(&[Raw::symlink("a", &outside), Raw::hardlink("x", "a/canary")]).contains("not in this layer"));
}

#[test]
fn a_directory_never_goes_through_a_symlink_of_its_name() {
    let mut bench = Bench::new();
    let outside = bench.outside();
    let before = mode(Path::new(&outside));
    let root = bench.unpack(&[Raw::symlink("x", &outside), Raw::dir("x").mode(0o777), Raw::file("x/y", "")]);
    assert!(fs::symlink_metadata(root.join("x")).unwrap().is_dir());
    assert_eq!((before, names(Path::new(&outside))), (mode(Path::new(&outside)), vec!["canary".to_string()]));
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let mut bench = Bench::new();
    let root = bench.unpack(&[
        Raw::file("file", "old"),
        Raw::hardlink("other", "file"),
        Raw::file("file", "new"),
        Raw::file("tree/a/b/c", ""),
        Raw::dir("tree/a/e"),
        Raw::symlink("tree", "file"),
        Raw::dir("merged").mode(0o700),
        Raw::file("merged/kept", ""),
        Raw::dir("merged").mode(0o750),
        Raw::hardlink("file", "file"),
    ]);
    assert_eq!((fs::read(root.join("file")).unwrap(), fs::read(root.join("other")).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    assert!(fs::symlink_metadata(root.join("tree")).unwrap().is_symlink());
    assert_eq!((names(&root.join("merged")), mode(&root.join("merged"))), (vec!["kept".to_string()], 0o750));
}

#[test]
fn hard_links_need_a_file_of_this_layer() {
    let mut bench = Bench::new();
    bench.unpack(&[Raw::file("lower", "x")]);
    assert!(bench.refused(&[Raw::hardlink("x", "lower")]).contains("target \"lower\" is not in this layer"));
    assert!(bench.refused(&[Raw::dir("d"), Raw::hardlink("x", "d")]).contains("is a directory"));
    assert!(bench.refused(&[Raw::file(".wh.lower", ""), Raw::hardlink("x", "lower")]).contains("removed by this layer"));
    let root = bench.unpack(&[Raw::symlink("s", "nowhere"), Raw::hardlink("t", "s")]);
    assert_eq!(fs::read_link(root.join("t")).unwrap(), Path::new("nowhere"));
}

#[test]
fn whiteouts_hide_what_lower_layers_have() {
    let mut bench = Bench::new();
    bench.unpack(&[
        Raw::file("gone", ""),
        Raw::file("d/x", ""),
        Raw::file("e/x", ""),
        Raw::file("f/x", ""),
        Raw::file("g/h/x", ""),
    ]);
    let root = bench.unpack(&[
        Raw::file(".wh.gone", ""),
        Raw::file("d/.wh..wh..opq", ""),
        Raw::file("d/new", ""),
        // Removed and made again, either way round.
        Raw::file(".wh.e", ""),
        Raw::dir("e"),
        Raw::dir("f"),
        Raw::file(".wh.f", ""),
        Raw::file("g/h/.wh.x", ""),
        // Nothing there to hide: it would be seen, or refused by readers of the layer.
        Raw::file(".wh.never", ""),
        Raw::file("nor/this/.wh.never", ""),
        Raw::file("d/.wh.x", ""),
        Raw::file(".wh..wh.plnk/1.2", "AUFS"),
    ]);
    assert!(is_whiteout(&root.join("gone")) && is_whiteout(&root.join("g/h/x")));
    assert!(
        is_opaque(&root.join("d")) && is_opaque(&root.join("e")) && is_opaque(&root.join("f")) && !is_opaque(&root.join("g"))
    );
    assert_eq!(names(&root), ["d", "e", "f", "g", "gone"]);
    assert_eq!(names(&root.join("d")), ["new"]);
    let again = bench.unpack(&[Raw::file("gone", "back"), Raw::file(".wh.e", ""), Raw::file("e", "a file now")]);
    assert_eq!(fs::read(again.join("gone")).unwrap(), b"back");
    assert_eq!(fs::read(again.join("e")).unwrap(), b"a file now");
}

#[test]
fn a_whiteout_never_leaves_through_a_symlink() {
    let mut bench = Bench::new();
    let outside = bench.outside();
    bench.unpack(&[Raw::symlink("x", &outside), Raw::file("x/.wh.canary", ""), Raw::file("x/.wh..wh..opq", "")]);
    assert_eq!(names(Path::new(&outside)), ["canary"]);
    assert!(bench.refused(&[Raw::file(".wh.a/b", "")]).contains("below a whiteout"));
}

#[test]
fn an_opaque_root_hides_every_lower_name() {
    let mut bench = Bench::new();
    bench.unpack(&[Raw::file("a/x", ""), Raw::file("b", ""), Raw::file("c", "")]);
    let root = bench.unpack(&[Raw::file(".wh..wh..opq", ""), Raw::file("a/y", ""), Raw::file("c", "new")]);
    assert!(is_opaque(&root.join("a")) && is_whiteout(&root.join("b")));
    assert_eq!(fs::read(root.join("c")).unwrap(), b"new");
}

#[test]
fn parents_that_a_layer_does_not_list_are_as_below() {
    let mut bench = Bench::new();
    bench.unpack(&[
        Raw::dir("./").mode(0o711),
        Raw::dir("tmp").mode(0o1777),
        Raw::dir("a").mode(0o700),
        Raw::dir("a/b").mode(0o750),
        Raw::dir("hidden").mode(0o700),
    ]);
    bench.unpack(&[Raw::file("tmp/x", ""), Raw::file(".wh.hidden", "")]);
    let root = bench.unpack(&[Raw::file("tmp/y", ""), Raw::file("a/b/c/d", ""), Raw::file("hidden/x", "")]);
    assert_eq!((mode(&root), mode(&root.join("tmp"))), (0o711, 0o1777));
    assert_eq!((mode(&root.join("a")), mode(&root.join("a/b")), mode(&root.join("a/b/c"))), (0o700, 0o750, 0o755));
    assert_eq!(mode(&root.join("hidden")), 0o755);
    let root = bench.unpack(&[Raw::file("a/.wh..wh..opq", ""), Raw::file("a/b/x", "")]);
    assert_eq!((mode(&root.join("a")), mode(&root.join("a/b"))), (0o700, 0o755));
}

#[test]
fn holes_stay_holes() {
    let records = [("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", "0,3,1073741824,0"), ("GNU.sparse.size", "1073741824")];
    let mut bench = Bench::new();
    let root = bench.unpack(&[Raw::pax(&records), Raw::file("holes", "abc")]);
    let file = fs::metadata(root.join("holes")).unwrap();
    assert_eq!(file.len(), 1 << 30);
    assert!(file.blocks() < 100);
}

#[test]
fn a_wrong_digest_is_told_before_anything_that_came_of_it() {
    let bytes = archive(&[Raw::file("../x", "")]);
    let unpack = |layer: &Layer| {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let error =
            super::unpack(&bytes[..], layer, File::open(directory.path()).unwrap().into(), Setter::for_tests(), &[], || Ok(()))
                .unwrap_err();
        format!("{error:#}")
    };
    let mut layer = layer_of(&bytes);
    assert!(unpack(&layer).contains("leads out"));
    layer.descriptor.digest = Digest::of(b"other");
    assert!(unpack(&layer).contains("corrupt"));
}

#[test]
fn contents_that_the_configuration_does_not_promise_are_refused() {
    let bytes = archive(&[]);
    let mut layer = layer_of(&bytes);
    layer.diff_id = Digest::of(b"other");
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = File::open(directory.path()).unwrap().into();
    let error = super::unpack(&bytes[..], &layer, root, Setter::for_tests(), &[], || Ok(())).unwrap_err();
    assert!(error.to_string().contains("as the image's configuration says"));
}

#[test]
fn a_deep_tree_is_removed_with_few_descriptors() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let deep = directory.path().join("x/".repeat(600));
    fs::create_dir_all(&deep).unwrap();
    symlink("/", deep.join("root")).unwrap();
    fs::write(directory.path().join("x/file"), "").unwrap();
    tree::clear(File::open(directory.path()).unwrap().into()).unwrap();
    assert!(names(directory.path()).is_empty());
}
