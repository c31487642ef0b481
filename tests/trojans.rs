//! What an image brings is data: nothing of it runs outside of its container (THREATS.md, "Engine": CVE-2019-14271, CVE-2022-1227).

mod support;
use std::fs;
use support::{Feature, Layout, Rl, TarBuilder, images, require};

#[test]
fn no_program_and_no_library_of_an_image_runs_outside() {
    require!(Feature::Image("alpine"), Feature::Tool("ps"), Feature::Tool("tar"));
    let rl = Rl::new();
    let marker = rl.path("marker");
    fs::create_dir(&marker).unwrap();
    let trojan = format!("#!/bin/busybox sh\n: >{}/$$\n", marker.display());
    let names = [
        "usr/local/bin/ps",
        "usr/local/bin/tar",
        "usr/bin/nsenter",
        "usr/bin/unpigz",
        "usr/bin/xz",
        "usr/bin/newuidmap",
        "usr/bin/pasta",
        "bin/tar",
        "bin/ps",
        "bin/cp",
        "lib/libnss_files.so.2",
        "lib/x86_64-linux-gnu/libnss_files.so.2",
        "lib/libc.so.6",
        "usr/bin/rl",
    ];
    let add = |tar: TarBuilder, name: &str| tar.entry(b'0', name, 0o755, (0, 0), "", trojan.as_bytes());
    let layer =
        names.iter().fold(TarBuilder::new(), |tar, name| add(tar, name)).file("etc/nsswitch.conf", "passwd: files evil\n");
    let layer = layer.file("etc/ld.so.preload", "/lib/libnss_files.so.2\n").file("data/f", "of the container");
    let evil = Layout::on(&images().join("alpine"), rl.path("evil")).layer(&layer.finish()).write();
    rl.cmd(["run", "-d", "--name", "a", &evil, "sleep", "1000"]).ok();
    let own = rl.file("own", "of the host");
    let out = rl.path("out");
    for args in [
        &["top", "a"][..],
        &["top", "a", "aux"],
        &["cp", "a:/data/f", out.to_str().unwrap()],
        &["cp", own.to_str().unwrap(), "a:/data/g"],
        &["cp", "a:/data", "-"],
        &["diff", "a"],
        &["export", "a"],
        &["exec", "-u", "nobody", "a", "true"],
        &["stats", "--no-stream", "a"],
        &["ps", "-s"],
        &["inspect", "--size", "a"],
        &["kill", "a"],
        &["wait", "a"],
        &["diff", "a"],
        &["export", "a"],
        &["cp", "a:/data/f", out.to_str().unwrap()],
        &["start", "a"],
        &["rm", "-f", "a"],
    ] {
        let ran = rl.cmd(args);
        // Without cgroups there are no statistics.
        assert!(ran.status.success() || args[0] == "stats", "{ran}");
        assert_eq!(fs::read_dir(&marker).unwrap().count(), 0, "{args:?} ran something of the image's");
    }
}
