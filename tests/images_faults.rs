//! The store when things go wrong: kill -9 on the way, corrupt blobs, a full disk. And that 500 images cost a `run` nothing.

mod support;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
};
use support::{Background, Feature, Layout, Registry, Rl, Run, TarBuilder, eventually, in_shell, require, run, two_layers};

/// The milestones of rmi, prune and tag that are in the source, so that a new one is tested without being named here.
fn milestones() -> BTreeSet<String> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let (mut names, mut dirs) = (BTreeSet::new(), vec![Path::new(&package).join("src/image")]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir).expect("the source").map(|e| e.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split("milestone(\"").skip(1).map(|call| call[..call.find('"').unwrap()].to_string());
            names.extend(calls.filter(|name| name.starts_with("image-")));
        }
    }
    assert!(names.len() >= 8, "{names:?}");
    names
}

fn dying_at(rl: &Rl, milestone: &str, args: &[&str]) -> Run {
    let mut command = rl.command(args);
    command.env("RL_FAILPOINT", milestone);
    run(command)
}

/// A registry with `tool`, and its name there.
fn tool(rl: &Rl) -> (Registry, String) {
    let registry = Registry::start(rl);
    registry.push(&two_layers(rl.path("image"), 1).write(), "tool:latest");
    let name = format!("{}/tool:latest", registry.host());
    (registry, name)
}

fn is_whole(rl: &Rl, name: &str) {
    // Found and not executable: it is noise.
    rl.cmd(["run", "--rm", "--pull=never", name]).code(126);
}

#[test]
fn a_removal_that_dies_at_a_milestone_leaves_a_store_in_order() {
    require!(Feature::Tool("docker-registry"), Feature::SubIds);
    let rl = Rl::new();
    let (_registry, name) = tool(&rl);
    let mut died = BTreeSet::new();
    for milestone in milestones() {
        for args in [&["rmi", "-f", &name][..], &["image", "prune", "-a", "-f"], &["tag", &name, "other:1"]] {
            rl.cmd(["pull", "-q", &name]).ok();
            if dying_at(&rl, &milestone, args).status.signal() == Some(9) {
                died.insert(milestone.clone());
            }
            let checked = rl.cmd(["system", "check"]).ok();
            assert_eq!(checked.stdout(), "no problems", "{args:?} at {milestone}");
            // Whole or absent, and either way the next pull and run work.
            if rl.cmd(["image", "exists", &name]).status.success() {
                is_whole(&rl, &name);
            }
            rl.cmd(["pull", "-q", &name]).ok();
            is_whole(&rl, &name);
            rl.cmd(["image", "prune", "-a", "-f"]).ok();
            for dir in ["blobs/sha256", "refs", "tmp"] {
                assert_eq!(fs::read_dir(rl.store().join(dir)).unwrap().count(), 0, "{dir} after {args:?} at {milestone}");
            }
            for map in fs::read_dir(rl.store().join("layers")).unwrap() {
                assert_eq!(fs::read_dir(map.unwrap().path()).unwrap().count(), 0, "layers after {args:?} at {milestone}");
            }
        }
    }
    assert_eq!(died, milestones(), "each milestone lies on the way of one of them");
}

fn largest_blob(rl: &Rl) -> PathBuf {
    let blobs = fs::read_dir(rl.store().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_corrupt_blob_is_named_and_pulled_again() {
    require!(Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let (_registry, name) = tool(&rl);
    for spoil in [true, false] {
        rl.cmd(["pull", "-q", &name]).ok();
        assert_eq!(rl.cmd(["system", "check"]).ok().stdout(), "no problems");
        let blob = largest_blob(&rl);
        if spoil {
            let mut bytes = fs::read(&blob).unwrap();
            bytes[1000] ^= 1;
            fs::write(&blob, bytes).unwrap();
        } else {
            fs::remove_file(&blob).unwrap();
        }
        let hex = blob.file_name().unwrap().to_str().unwrap();
        let checked = rl.cmd(["system", "check"]).code(1);
        assert!(
            checked.stdout().contains(hex) && checked.stdout().contains(if spoil { "corrupt" } else { "missing" }),
            "{checked}"
        );
        // A pull alone puts it right ...
        rl.cmd(["pull", "-q", &name]).ok();
        assert_eq!(rl.cmd(["system", "check"]).ok().stdout(), "no problems");
        fs::write(&blob, "spoilt").unwrap();
        // ... and so does a repair, and then a pull.
        let repaired = rl.cmd(["system", "check", "--repair"]).ok();
        assert!(repaired.stdout().contains(&format!("try: rl pull {name}")), "{repaired}");
        rl.cmd(["image", "exists", &name]).code(1);
        rl.cmd(["run", "--rm", &name]).code(126);
        assert_eq!(rl.cmd(["system", "check"]).ok().stdout(), "no problems");
    }
}

#[test]
fn damaged_documents_are_named_and_the_image_is_pulled_again() {
    require!(Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let (registry, name) = tool(&rl);
    rl.cmd(["pull", "-q", &name]).ok();
    let manifest = rl.cmd(["inspect", "-f", "{{.Descriptor.digest}}", &name]).ok().stdout().to_string();
    let id = rl.cmd(["inspect", "-f", "{{.Id}}", &name]).ok().stdout().to_string();
    for digest in [manifest, id] {
        let blob = rl.store().join("blobs").join(digest.replace(':', "/"));
        fs::write(&blob, "{}").unwrap();
        assert!(rl.cmd(["images"]).ok().says("skipping image").stdout().lines().count() == 1);
        rl.cmd(["system", "check"]).code(1);
        rl.cmd(["run", "--rm", &name]).code(126).says("Unable to find image");
        rl.cmd(["system", "check"]).ok();
    }
    let file = rl.store().join(format!("refs/{}/tool/:latest", registry.host()));
    fs::write(&file, "{").unwrap();
    let checked = rl.cmd(["system", "check"]).code(1);
    assert!(checked.stdout().contains(&file.display().to_string()), "{checked}");
    rl.cmd(["pull", "-q", &name]).ok();
    rl.cmd(["system", "check"]).ok();
}

#[test]
fn pulls_and_removals_at_once_leave_only_whole_images() {
    require!(Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    // They share a layer, which must not go with one of them while the other looks for it.
    let shared = TarBuilder::new().file("shared", "x".repeat(200_000)).finish();
    let names: Vec<String> = (0..3)
        .map(|n| {
            let own = TarBuilder::new().file("own", n.to_string()).finish();
            let layout = Layout::new(rl.path(format!("image-{n}"))).layer(&shared).layer(&own);
            registry.push(&layout.config(json!({"Cmd": ["/shared"]})).write(), &format!("i{n}:latest"));
            format!("{}/i{n}:latest", registry.host())
        })
        .collect();
    for _ in 0..4 {
        let all: Vec<Background> = names
            .iter()
            .flat_map(|name| [rl.start(["pull", "-q", name]), rl.start(["rmi", "-f", name]), rl.start(["run", "--rm", name])])
            .collect();
        for done in all {
            let done = done.finish();
            // An image may have gone between being pulled and being run; nothing else may be missing.
            let known = matches!(done.status.code(), Some(0 | 126))
                || done.stderr().contains("no such image")
                || done.stderr().contains("uses it");
            assert!(known, "{done}");
        }
        assert_eq!(rl.cmd(["system", "check"]).ok().stdout(), "no problems");
    }
    names.iter().for_each(|name| drop(rl.cmd(["run", "--rm", name]).code(126)));
}

/// Puts an image into the store whose manifest and configuration are its own and whose layers are another's.
fn add_image(store: &Path, manifest: &Value, config: &Value, number: usize) {
    let blob = |kind: &str, value: &Value| {
        let bytes = value.to_string();
        let hex = format!("{:x}", Sha256::digest(&bytes));
        fs::write(store.join("blobs/sha256").join(&hex), &bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{kind}.v1+json"), "digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let (mut config, mut manifest) = (config.clone(), manifest.clone());
    config["author"] = json!(format!("number {number}"));
    manifest["config"] = blob("config", &config);
    let target =
        json!({"manifest": blob("manifest", &manifest), "id": manifest["config"]["digest"], "updated": "2026-01-01T00:00:00Z"});
    let directory = store.join(format!("refs/docker.io/made/image{number}"));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(":latest"), target.to_string()).unwrap();
}

/// System calls of `rl run` and bytes that it read; the least of some runs, for a signal may interrupt one or the other. The members of the
/// user namespace do not count: they are other tests' containers, too.
fn cost(rl: &Rl, name: &str) -> (usize, u64) {
    let trace = rl.path("trace");
    let script = format!("exec strace -y -o {} \"$@\"", trace.display());
    let costs = (0..5).map(|_| {
        run(in_shell("sh", &script, &rl.command(["run", "--rm", "--pull=missing", name]))).code(126);
        let text = fs::read_to_string(&trace).unwrap();
        let calls: Vec<&str> = text.lines().filter(|line| !line.starts_with("+++") && !line.starts_with("---")).collect();
        let result = |line: &&str| line.rsplit_once(" = ").and_then(|(_, end)| end.split(' ').next()?.parse::<u64>().ok());
        let reads = ["read(", "pread64(", "readv(", "getdents64("];
        let counts = |line: &&&str| reads.iter().any(|call| line.starts_with(call)) && !line.contains("/userns/");
        let read = calls.iter().filter(counts).filter_map(result).sum();
        (calls.len(), read)
    });
    costs.min().unwrap()
}

#[test]
fn five_hundred_images_cost_a_run_nothing() {
    require!(Feature::Tool("docker-registry"), Feature::Tool("strace"));
    let rl = Rl::new();
    let (registry, name) = tool(&rl);
    rl.cmd(["pull", "-q", &name]).ok();
    drop(registry);
    // As long as it runs every other joins its user namespace, which takes fewer calls than making one.
    let holder = rl.start(["run", "--rm", "--name", "holder", "rootfs:/", "sh", "-c", "echo ready; exec sleep 1000"]);
    holder.expect("ready");
    let (calls, read) = cost(&rl, &name);
    let document = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(rl.store().join("blobs").join(digest.replace(':', "/"))).unwrap()).unwrap()
    };
    let manifest = document(rl.cmd(["inspect", "-f", "{{.Descriptor.digest}}", &name]).ok().stdout());
    let config = document(manifest["config"]["digest"].as_str().unwrap());
    (1..500).for_each(|number| add_image(&rl.store(), &manifest, &config, number));
    assert_eq!(rl.cmd(["images", "-q"]).ok().stdout().lines().collect::<BTreeSet<_>>().len(), 500);
    assert_eq!(rl.cmd(["system", "check"]).ok().stdout(), "no problems");
    let (calls_500, read_500) = cost(&rl, &name);
    rl.cmd(["rm", "-f", "holder"]).ok();
    holder.finish().code(137);
    println!("run with 1 image: {calls} calls, {read} bytes read; with 500: {calls_500} calls, {read_500} bytes");
    let close = |a: u64, b: u64| a.abs_diff(b) * 50 <= a.max(b);
    assert!(close(calls as u64, calls_500 as u64), "{calls} and {calls_500} system calls");
    assert!(close(read, read_500), "{read} and {read_500} bytes");
    eventually("index.json names all of them", || {
        let index: Value = serde_json::from_slice(&fs::read(rl.store().join("index.json")).unwrap()).unwrap();
        index["manifests"].as_array().unwrap().len() == 501
    });
}
