//! Images made to do harm: each refused with one clear line, or run without harm; nothing half-made stays in the store.

mod support;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};
use support::{Feature, Layout, Rl, Run, TarBuilder, Tree, image, require};

/// What lies outside of every image.
struct Canary(PathBuf, Tree);

impl Canary {
    fn new(rl: &Rl) -> Canary {
        let dir = rl.path("canary");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "alive").unwrap();
        let tree = Tree::of(&dir);
        Canary(dir, tree)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    #[track_caller]
    fn is_unharmed(&self) {
        self.1.is_unchanged(&self.0);
    }
}

/// Layers and what only a process at work may have, by name below the store.
fn layers_and_temporaries(store: &Path) -> Vec<String> {
    let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let maps = list(store.join("layers"));
    maps.flat_map(list).chain(list(store.join("tmp"))).map(|path| path.display().to_string()).collect()
}

/// Exit code 125, one line that says why, perhaps a cure, and nothing half-made.
#[track_caller]
fn refused(rl: &Rl, image: &str, why: &str) -> Run {
    let before = layers_and_temporaries(&rl.store());
    let run = rl.cmd(["run", "--rm", image, "true"]).code(125).says(why);
    let lines: Vec<&str> = run.stderr().lines().filter(|line| !line.starts_with("try: ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("rl: "), "not one line: {run}");
    assert_eq!(layers_and_temporaries(&rl.store()), before, "left behind by {run}");
    assert!(rl.containers().is_empty(), "a container of {run}");
    run
}

fn of_layer(rl: &Rl, layer: TarBuilder) -> String {
    let _ = fs::remove_dir_all(rl.path("image"));
    Layout::new(rl.path("image")).layer(&layer.finish()).write()
}

/// A file of 10 TB without a byte in it.
const GIANT: [(&str, &str); 3] =
    [("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,0"), ("GNU.sparse.size", "10995116277760")];

#[test]
fn layers_that_lead_out_are_refused_by_name() {
    let rl = Rl::new();
    let canary = Canary::new(&rl);
    let out = canary.path("file");
    let cases = [
        (TarBuilder::new().file("../../canary/file", "dead"), "\"../../canary/file\""),
        (TarBuilder::new().file("a/../../b", "dead"), "\"a/../../b\""),
        (TarBuilder::new().hardlink("x", "../../canary/file"), "\"x\""),
        (TarBuilder::new().hardlink("x", &out), "not in this layer"),
        (TarBuilder::new().symlink("d", &canary.path("")).hardlink("x", "d/file"), "not in this layer"),
        (TarBuilder::new().symlink("./", &canary.path("")), "the root is not a directory"),
        (TarBuilder::new().file(".wh...", ""), "whiteout of nothing"),
        (TarBuilder::new().file(&"d/".repeat(50), "x"), "slash"),
        (TarBuilder::new().pax(&[("path", &"d/".repeat(5000))]).dir("cut"), "deeper than"),
        (TarBuilder::new().pax(&[("size", "512")]).file("x", ""), "PAX header says 512"),
        (TarBuilder::new().pax(&[("size", "")]).file("x", ""), "malformed PAX header"),
        (TarBuilder::new().entry(b'x', "pax", 0o644, (0, 0), "", b"8 path=x\n").file("x", ""), "malformed PAX header"),
        (TarBuilder::new().pax(&GIANT).file("x", ""), "GiB"),
        (TarBuilder::new().pax(&[("uid", "3000000")]).file("x", ""), "no uid 3000000"),
        (TarBuilder::new().pax(&[("uid", "4294967295")]).file("x", ""), "not a user or group id"),
        (TarBuilder::new().entry(b'Z', "x", 0, (0, 0), "", b""), "unknown type"),
    ];
    for (layer, why) in cases {
        refused(&rl, &of_layer(&rl, layer), why);
        canary.is_unharmed();
    }
}

#[test]
fn a_refused_uid_names_the_cure() {
    require!(Feature::SubIds);
    let rl = Rl::new();
    refused(&rl, &of_layer(&rl, TarBuilder::new().pax(&[("uid", "3000000")]).file("x", "")), "no uid").says("try: ");
}

#[test]
fn layers_that_only_seem_to_lead_out_stay_inside() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let canary = Canary::new(&rl);
    let inside = canary.path("file");
    let dir = canary.path("");
    let layer = TarBuilder::new()
        .symlink("link", &dir)
        .file("link/file", "inside")
        .file("link/.wh.file2", "")
        .symlink("dir", &dir)
        .entry(b'5', "dir", 0o777, (0, 0), "", b"")
        .file("dir/file", "a directory now")
        .file("/absolute", "relative")
        .symlink("up", "../../../../../..")
        .file("up/top", "top")
        .entry(b'4', "disk", 0o666, (0, 0), "", b"")
        .symlink("s", "/etc/shadow");
    let image = Layout::on(&support::images().join("alpine"), rl.path("image")).layer(&layer.finish()).write();
    let script = format!("cat {inside} dir/file absolute top; stat -c %F disk; readlink s");
    let seen = rl.cmd(["run", "--rm", &image, "sh", "-c", &script]).ok();
    assert_eq!(seen.stdout(), "insidea directory nowrelativetopregular empty file\n/etc/shadow");
    canary.is_unharmed();
}

#[test]
fn documents_that_lie_are_refused() {
    let rl = Rl::new();
    let layer = TarBuilder::new().file("x", "").finish();
    let layout = || {
        let _ = fs::remove_dir_all(rl.path("image"));
        Layout::new(rl.path("image")).layer(&layer)
    };
    let mut both = layout();
    both.manifest["manifests"] = json!([]);
    refused(&rl, &both.write(), "index as well");
    let mut traversal = layout();
    traversal.manifest["layers"][0]["digest"] = json!("sha256:../../x");
    refused(&rl, &traversal.write(), "hex digits");
    let mut unknown = layout();
    unknown.manifest["layers"][0]["mediaType"] = json!("application/x-evil");
    refused(&rl, &unknown.write(), "unknown media type");
    let mut size = layout();
    size.manifest["layers"][0]["size"] = json!(1);
    refused(&rl, &size.write(), "bytes instead of 1");
    let mut other = layout();
    other.config["rootfs"]["diff_ids"][0] = json!(format!("sha256:{}", "0".repeat(64)));
    refused(&rl, &other.write(), "as the image's configuration says");
    let mut fewer = layout();
    fewer.config["rootfs"]["diff_ids"] = json!([]);
    refused(&rl, &fewer.write(), "1 layers and the configuration 0");
    let mut windows = layout();
    windows.config["os"] = json!("windows");
    refused(&rl, &windows.write(), "windows");
    let mut giant = layout();
    giant.config["x"] = json!("y".repeat(5 << 20));
    refused(&rl, &giant.write(), "4 MiB");
}

#[test]
fn a_corrupt_layer_is_named_and_works_once_it_is_whole_again() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let layer = TarBuilder::new().file("x", "x").finish();
    let layout = Layout::on(&support::images().join("alpine"), rl.path("image")).layer(&layer);
    let digest = layout.manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_string();
    let image = layout.write();
    let blob = rl.path("image/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let mut bytes = layer.clone();
    bytes[600] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    rl.cmd(["run", "--rm", &image, "true"]).code(125).says("corrupt").says(&digest);
    fs::remove_file(&blob).unwrap();
    rl.cmd(["run", "--rm", &image, "true"]).code(125).says("cannot open").says(&digest);
    fs::write(&blob, &layer).unwrap();
    assert_eq!(rl.cmd(["run", "--rm", &image, "cat", "/x"]).ok().stdout(), "x");
}

#[test]
fn a_layer_that_cannot_be_read_holds_up_nobody() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let good = TarBuilder::new().file("good", vec![b'x'; 1 << 20]).finish();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &good).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&good[..], 1).unwrap();
    let broken = [
        ("layer.v1.tar+gzip", gzip[..gzip.len() / 2].to_vec()),
        ("layer.v1.tar+zstd", zstd[..zstd.len() / 2].to_vec()),
        ("layer.v1.tar", good[..700].to_vec()),
        ("layer.v1.tar+gzip", b"\xfd7zXZ\0".to_vec()),
    ];
    for (n, (kind, blob)) in broken.into_iter().enumerate() {
        // First, between and last: the others are on their way then.
        for place in 0..3 {
            let layout = Layout::new(rl.path(format!("image-{n}-{place}")));
            let good = |text: &str| TarBuilder::new().file(text, vec![b'y'; 100_000]).finish();
            let mut layout = layout.layer(&good("a")).layer(&good("b"));
            let descriptor = layout.blob(kind, &blob);
            layout.manifest["layers"].as_array_mut().unwrap().insert(place, descriptor);
            let diff_id = json!(format!("sha256:{}", "1".repeat(64)));
            layout.config["rootfs"]["diff_ids"].as_array_mut().unwrap().insert(place, diff_id);
            let run = rl.cmd(["run", "--rm", &layout.write(), "true"]).code(125).says("cannot unpack layer");
            assert_eq!(run.stderr().lines().count(), 1, "{run}");
            let left = layers_and_temporaries(&rl.store());
            assert!(left.iter().all(|path| !path.ends_with(".tmp")), "{left:?}");
        }
    }
    rl.cmd(["run", "--rm", &image("alpine"), "true"]).ok();
}

#[test]
fn a_missing_layout_or_tag_says_what_is_there() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let dir = rl.path("nothing").display().to_string();
    refused(&rl, &format!("oci:{dir}"), "there is no directory");
    fs::create_dir_all(rl.path("nothing/etc")).unwrap();
    refused(&rl, &format!("oci:{dir}"), "not an OCI image layout").says(&format!("try: rootfs:{dir}"));
    refused(&rl, &image("alpine").replace(":latest", ":v9"), "no image \"v9\"").says("latest");
    refused(&rl, &format!("oci-archive:{dir}"), "not a file");
    refused(&rl, "ftp://thing", "bad image name").says("try: ");
    fs::write(rl.path("text"), "no archive").unwrap();
    refused(&rl, &format!("docker-archive:{}", rl.path("text").display()), "not a tar archive");
}
