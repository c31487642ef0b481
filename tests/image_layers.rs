//! Layers as a container sees them: merged, with whiteouts, owners, modes and times, in every compression, from every source.

mod support;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{fs, io::Write, process::Command, thread, time::Duration};
use support::{Feature, Layout, Rl, Run, TarBuilder, image, images, require, run};

fn on_alpine(rl: &Rl) -> Layout {
    Layout::on(&images().join("alpine"), rl.path("image"))
}

#[track_caller]
fn sh(rl: &Rl, image: &str, script: &str) -> Run {
    rl.cmd(["run", "--rm", image, "sh", "-c", script]).ok()
}

/// Names in the store that only a process at work may have.
fn unfinished(rl: &Rl) -> Vec<String> {
    let store = rl.store();
    let script = "find \"$1/layers\" -maxdepth 2 -name '*.tmp'; ls -A \"$1/tmp\" 2>/dev/null || :";
    run(support::in_shell("sh", script, &Command::new(store))).ok().stdout().lines().map(String::from).collect()
}

#[test]
fn what_a_layer_removes_is_gone_and_what_it_adds_is_there() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let lower =
        TarBuilder::new().file("d/a", "a").file("d/b", "b").file("o/a", "a").file("o/s/a", "a").file("f", "f").file("t/x", "x");
    let upper =
        TarBuilder::new().file("d/.wh.a", "").file("o/.wh..wh..opq", "").file("o/b", "b").file(".wh.f", "").file("t", "file");
    let top = TarBuilder::new().file("f/again", "x").file("d/.wh.none", "").file("nowhere/.wh.none", "").file("o/.wh.b", "");
    let image = on_alpine(&rl).layer(&lower.finish()).layer(&upper.finish()).layer(&top.finish()).write();
    let seen = sh(&rl, &image, "ls -A d o f; cat t; ls -d nowhere 2>/dev/null; find d o f t -type c");
    assert_eq!(seen.stdout(), "d:\nb\n\nf:\nagain\n\no:\nfile");
}

#[test]
fn a_directory_that_a_layer_does_not_list_stays_as_it_was() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let lower = TarBuilder::new().entry(b'5', "own", 0o2750, (7, 8), "", b"").dir("own/sub");
    let upper = TarBuilder::new().file("tmp/x", "").file("own/sub/x", "").file("new/dir/x", "");
    let image = on_alpine(&rl).layer(&lower.finish()).layer(&upper.finish()).write();
    let seen = sh(&rl, &image, "stat -c '%n %a %u:%g' / /tmp /own /own/sub /new/dir");
    assert_eq!(seen.stdout(), "/ 755 0:0\n/tmp 1777 0:0\n/own 2750 7:8\n/own/sub 755 0:0\n/new/dir 755 0:0");
}

#[test]
fn files_keep_owner_mode_time_links_and_attributes() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let long = format!("{}/name", ["directory"; 20].join("/"));
    let layer = TarBuilder::new()
        .pax(&[("mtime", "1234567890.123456789")])
        .entry(b'0', "su", 0o4755, (3, 4), "", b"su")
        .hardlink("su2", "/su")
        .symlink("out", "/etc/passwd")
        .pax(&[("path", &long)])
        .file("cut", "long")
        .entry(b'6', "fifo", 0o620, (5, 6), "", b"")
        .entry(b'3', "dev/sda", 0o666, (0, 0), "", b"");
    let image = on_alpine(&rl).layer(&layer.finish()).write();
    let script =
        format!("stat -c '%n %a %u:%g %h %F' su fifo; stat -c %y su; readlink out; cat /{long}; [ su -ef su2 ] && echo same");
    let seen = sh(&rl, &image, &script);
    let lines: Vec<&str> = seen.stdout().lines().collect();
    assert_eq!(lines[..2], ["su 4755 3:4 2 regular file", "fifo 620 5:6 1 fifo"]);
    assert!(lines[2].starts_with("2009-02-13 23:31:30.123456789"), "{seen}");
    assert_eq!(lines[3..], ["/etc/passwd", "longsame"]);
}

/// Adds a layer as it is, compressed somehow.
fn compressed(mut layout: Layout, kind: &str, tar: &[u8], blob: &[u8]) -> Layout {
    let descriptor = layout.blob(kind, blob);
    let diff_id = json!(format!("sha256:{:x}", Sha256::digest(tar)));
    layout.config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(diff_id);
    layout.manifest["layers"].as_array_mut().unwrap().push(descriptor);
    layout
}

#[test]
fn layers_may_be_plain_gzip_of_several_members_or_zstd() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let [one, two, three] = ["one", "two", "three"].map(|name| TarBuilder::new().file(name, name).finish());
    let layout = compressed(on_alpine(&rl), "layer.v1.tar+gzip", &one, &[gzip(&one[..700]), gzip(&one[700..])].concat());
    let layout = compressed(layout, "layer.v1.tar+zstd", &two, &zstd::encode_all(&two[..], 3).unwrap());
    // By its bytes, whatever it is called.
    let image = compressed(layout, "layer.v1.tar+gzip", &three, &three).write();
    assert_eq!(sh(&rl, &image, "cat one two three").stdout(), "onetwothree");
}

#[test]
fn an_archive_that_has_changed_is_read_again() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let archive = rl.path("image.tar");
    let pack = |text: &str| {
        let _ = fs::remove_dir_all(rl.path("image"));
        on_alpine(&rl).layer(&TarBuilder::new().file("text", text).finish()).write();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(rl.path("image")).arg("-cf").arg(&archive).arg(".");
        run(tar).ok();
    };
    let name = format!("oci-archive:{}", archive.display());
    for text in ["first", "second"] {
        pack(text);
        assert_eq!(sh(&rl, &name, "cat text").stdout(), text);
        assert_eq!(sh(&rl, &name, "cat text").stdout(), text);
    }
    assert_eq!(fs::read_dir(rl.store().join("imports")).unwrap().count(), 1);
    fs::remove_file(&archive).unwrap();
    rl.cmd(["run", &name, "true"]).code(125).says("image.tar");
}

#[test]
fn first_runs_at_the_same_time_unpack_once_and_all_work() {
    require!(Feature::Image("nginx"));
    let rl = Rl::new();
    let name = image("nginx");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| rl.cmd(["run", "--rm", "--entrypoint", "true", &name]).ok());
        }
    });
    assert_eq!(unfinished(&rl), [] as [String; 0]);
}

#[test]
fn a_first_run_that_was_killed_leaves_nothing_to_repair() {
    require!(Feature::Image("nginx"));
    let rl = Rl::new();
    let name = image("nginx");
    for after in [5, 50, 200, 500] {
        let mut first = rl.command(["run", "--rm", "--entrypoint", "true", &name]).spawn().unwrap();
        thread::sleep(Duration::from_millis(after));
        let _ = first.kill();
        first.wait().unwrap();
    }
    rl.cmd(["run", "--rm", "--entrypoint", "true", &name]).ok();
    assert_eq!(unfinished(&rl), [] as [String; 0]);
}

#[test]
fn unpacked_trees_equal_umocis() {
    require!(Feature::Image("alpine"), Feature::Tool("umoci"), Feature::SubIds);
    let rl = Rl::new();
    let list = "cd / && find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./etc/hosts -o -path ./etc/hostname \
        -o -path ./etc/resolv.conf \\) -prune -o \\( -type d -o -type f -o -type l \\) -exec stat -c '%n %a %u:%g %s %F %Y %N' {} +";
    let files = |listing: &str| {
        let mut lines: Vec<String> = listing.lines().filter(|line| !line.contains(" directory ")).map(String::from).collect();
        lines.sort();
        lines
    };
    let ours = sh(&rl, &image("alpine"), list);
    let bundle = rl.path("bundle");
    let layout = format!("{}:latest", images().join("alpine").display());
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--rootless", "--image", &layout]).arg(&bundle);
    run(umoci).ok();
    let theirs = sh(&rl, &format!("rootfs:{}", bundle.join("rootfs").display()), list);
    // Unpacked by one user only: owners are told by the test above.
    let without =
        |line: &String| -> Vec<String> { line.split(' ').enumerate().filter(|(n, _)| *n != 2).map(|(_, w)| w.into()).collect() };
    let without_owner = |lines: Vec<String>| lines.iter().map(without).collect::<Vec<_>>();
    assert_eq!(without_owner(files(ours.stdout())), without_owner(files(theirs.stdout())));
}
