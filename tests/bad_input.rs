//! What cannot be is said in one line, with the cure where there is one, and leaves nothing behind.

mod support;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use support::{Feature, Layout, Rl, Run, TarBuilder, binary, image, require, run};

/// What lies in the store, as deep as whole things go: layers, containers, names, volumes, blobs. Not what is written down of the past.
fn things(store: &Path) -> BTreeSet<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> { fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect() };
    let deep = |dir: PathBuf| [vec![dir.clone()], list(&dir)].concat();
    let kept = list(store).into_iter().filter(|top| !top.ends_with("events"));
    kept.flat_map(|top| list(&top)).flat_map(deep).filter(|path| path.exists()).collect()
}

/// One line that says what is wrong, perhaps a cure, nothing on stdout, nothing new in the store.
#[track_caller]
fn refused(rl: &Rl, args: &[&str], code: i32, why: &str) -> Run {
    let before = things(&rl.store());
    let run = rl.cmd(args).code(code).says(why);
    let lines: Vec<&str> = run.stderr().lines().collect();
    assert!(lines[0].starts_with("rl: ") && lines[0].len() < 400, "no clear line: {run}");
    assert!(lines.len() <= 2 && lines[1..].iter().all(|line| line.starts_with("try: ")), "more than a line and a cure: {run}");
    assert!(!lines[0].contains("EINVAL") && !lines[0].contains("panicked"), "not a clear line: {run}");
    // As Docker, inspect prints what it has found: nothing, in JSON.
    let inspects = args[..args.len().min(2)].contains(&"inspect");
    assert_eq!(run.stdout(), if inspects { "[]" } else { "" });
    let left: Vec<_> = things(&rl.store()).difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind by {run}: {left:?}");
    run
}

/// A store in which the image is unpacked already, so that only what is wrong could add to it.
fn warm() -> Rl {
    let rl = Rl::new();
    rl.sh(&[], "true").ok();
    rl
}

#[test]
fn an_image_that_is_not_there() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    let file = rl.file("text", "text").display().to_string();
    let dir = rl.home().display().to_string();
    for (image, why, cure) in [
        ("alpine", "no such image: alpine:latest", true),
        ("ftp://x", "bad image name", true),
        ("Alpine", "lower case", true),
        ("oci:", "", false),
        ("oci:/no/such", "/no/such", false),
        (&format!("oci:{dir}"), "not an OCI image layout", false),
        (&image("alpine").replace(":latest", ":v9"), "v9", true),
        ("oci-archive:/no/such", "/no/such", false),
        (&format!("oci-archive:{file}"), "not a tar archive", false),
        ("docker-archive:/no/such", "/no/such", false),
        ("rootfs:/no/such", "/no/such", false),
        (&format!("rootfs:{file}"), "not a directory", false),
    ] {
        for flags in [&["run", "--pull=never"][..], &["run", "--pull=never", "--rm", "--name", "a"]] {
            let run = refused(&rl, &[flags, &[image, "true"]].concat(), 125, why);
            assert!(!cure || run.stderr().contains("\ntry: "), "no cure: {run}");
        }
    }
}

#[test]
fn an_image_whose_parts_are_missing_or_changed() {
    let rl = Rl::new();
    let image = |name: &str, layer: &[u8]| Layout::new(rl.path(name)).layer(layer).config(json!({"Cmd": ["/a"]})).write();
    rl.cmd(["run", "--rm", &image("whole", &TarBuilder::new().file("a", "b").finish())]).code(126);
    let layer = TarBuilder::new().file("a", "a").finish();
    let write = |name: &str| image(name, &layer);
    for (name, of) in [("config", "config.v1"), ("layer", "layer.v1"), ("manifest", "manifest.v1")] {
        let image = write(name);
        let blobs = rl.path(name).join("blobs/sha256");
        let is_it = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            match name {
                "manifest" => text.contains("schemaVersion"),
                "config" => text.contains("diff_ids"),
                _ => text.starts_with('a'),
            }
        };
        let blob = fs::read_dir(blobs).unwrap().map(|e| e.unwrap().path()).find(is_it).expect(of);
        let digest = blob.file_name().unwrap().to_str().unwrap().to_string();
        let mut bytes = fs::read(&blob).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&blob, &bytes).unwrap();
        refused(&rl, &["run", "--rm", &image], 125, &digest);
        fs::remove_file(&blob).unwrap();
        refused(&rl, &["run", "--rm", &image], 125, &digest);
    }
}

#[test]
fn a_root_directory_in_a_closed_one() {
    require!(Feature::Root(false));
    let rl = Rl::new();
    let closed = rl.path("closed");
    fs::create_dir_all(closed.join("root")).unwrap();
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o0)).unwrap();
    let dir = closed.join("root").display().to_string();
    let run = rl.cmd(["run", "--rm", &format!("rootfs:{dir}"), "true"]);
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();
    let run = run.code(125).says(&dir).says("Permission denied");
    assert_eq!(run.stderr().lines().count(), 1, "{run}");
}

#[test]
fn a_root_directory_of_somebody_else_that_cannot_be_read() {
    require!(Feature::Root(false));
    let rl = Rl::new();
    if Path::new("/root").read_dir().is_err() {
        refused(&rl, &["run", "--rm", "rootfs:/root", "true"], 125, "/root");
    }
}

#[test]
fn an_empty_root_directory_has_no_command() {
    let rl = Rl::new();
    let root = format!("rootfs:{}", rl.home().display());
    refused(&rl, &["run", "--rm", &root], 125, "no command");
    refused(&rl, &["run", "--rm", &root, "true"], 127, "true");
    assert_eq!(fs::read_dir(rl.home()).unwrap().count(), 0, "nothing was made in it");
}

#[test]
fn an_env_file_that_is_none() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    let bad = rl.file("bad", "GOOD=1\nA B=2\n").display().to_string();
    let bytes = rl.file("bytes", b"A=\xff\xfe\n").display().to_string();
    let nul = rl.file("nul", b"A=1\0 2\n").display().to_string();
    for (file, why) in [
        ("/no/such", "/no/such"),
        (bad.as_str(), "line 2"),
        (&bytes, &bytes),
        (&nul, &nul),
        (rl.home().to_str().unwrap(), "home"),
    ] {
        refused(&rl, &["run", "--rm", "--env-file", file, &image("alpine"), "true"], 125, why);
    }
}

#[test]
fn a_user_that_is_none() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    for user in ["nobody-there", "0:nobody-there", "-1", "1.5", "4294967296", "0:4294967296", "200000000"] {
        let name = user.strip_prefix("0:").unwrap_or(user);
        refused(&rl, &["run", "--rm", &format!("--user={user}"), &image("alpine"), "true"], 125, name);
    }
    refused(&rl, &["run", "--rm", "--group-add", "nobody-there", &image("alpine"), "true"], 125, "nobody-there");
}

#[test]
fn a_command_that_cannot_be_run() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    for (command, code) in [("no-such-command", 127), ("/no/such", 127), ("./no-such", 127), ("/etc/passwd", 126), ("/etc", 126)]
    {
        for flags in [&["run", "--rm"][..], &["run", "--rm", "--init"], &["run", "--rm", "-u", "1000"]] {
            refused(&rl, &[flags, &[&image("alpine"), command]].concat(), code, command);
        }
    }
    // Without --rm the record stays, as Docker's does, and says why.
    rl.cmd(["run", "--name", "a", &image("alpine"), "no-such-command"]).code(127);
    let state = rl.inspect("a")["State"].clone();
    assert_eq!(state["Running"], false);
    assert!(state["Error"].as_str().unwrap().contains("no-such-command") || state["ExitCode"] == 127, "{state}");
    rl.cmd(["rm", "a"]).ok();
}

#[test]
fn a_mount_that_cannot_be() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    let home = rl.home().display().to_string();
    for (flag, value, why) in [
        ("-v", "/no/such:/x".to_string(), "/no/such"),
        ("-v", format!("{home}:relative"), "relative"),
        ("-v", format!("{home}:/x:sometimes"), "sometimes"),
        ("-v", format!("{home}:/"), "/"),
        ("-v", String::new(), "--volume"),
        ("--mount", "type=bind,src=/no/such,dst=/x".into(), "/no/such"),
        ("--mount", format!("type=bind,src={home}"), "--mount"),
        ("--mount", "type=nfs,dst=/x".into(), "nfs"),
        ("--mount", format!("type=bind,src={home},dst=/x,colour=red"), "colour"),
        ("--tmpfs", "relative".into(), "relative"),
        ("--device", "/dev/no-such".into(), "/dev/no-such"),
        ("--device", home.clone(), "home"),
    ] {
        refused(&rl, &["run", "--rm", flag, &value, &image("alpine"), "true"], 125, why);
    }
    assert!(!Path::new("/no").exists());
}

#[test]
fn a_flag_that_is_not_there_or_has_a_bad_value() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    for (args, why) in [
        (&["run"][..], "IMAGE"),
        (&["run", "--rm"], "IMAGE"),
        (&["run", "--gpus", "all"], "--gpus"),
        (&["run", "-x"], "-x"),
        (&["run", "--rm=maybe"], "maybe"),
        (&["run", "--network", "nosuch"], "nosuch"),
        (&["run", "--name", "a b"], "a b"),
        (&["run", "--ulimit", "nofile=x"], "x"),
        (&["run", "--ulimit", "nosuch=1"], "nosuch"),
        (&["run", "--shm-size", "big"], "big"),
        (&["run", "--cap-add", "FLY"], "FLY"),
        (&["run", "--stop-signal", "FOO"], "FOO"),
        (&["run", "--userns", "mine"], "mine"),
        (&["run", "--add-host", "nothing"], "nothing"),
        (&["run", "--dns", "nowhere"], "nowhere"),
        (&["run", "--umask", "9"], "9"),
        (&["run", "-e", "=x"], "=x"),
        (&["run", "-w", "relative"], "relative"),
    ] {
        let alpine = image("alpine");
        let rest: &[&str] = if why == "IMAGE" { &[] } else { &[&alpine, "true"] };
        let run = refused(&rl, &[args, rest].concat(), 125, why);
        assert!(!run.stderr().contains("Usage"), "{run}");
    }
}

#[test]
fn an_id_file_that_is_there_already() {
    require!(Feature::Image("alpine"));
    let rl = warm();
    let file = rl.file("cid", "old").display().to_string();
    refused(&rl, &["run", "--rm", "--cidfile", &file, &image("alpine"), "true"], 125, &file);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    std::os::unix::fs::symlink(rl.path("elsewhere"), rl.path("link")).unwrap();
    refused(&rl, &["run", "--rm", "--cidfile", rl.path("link").to_str().unwrap(), &image("alpine"), "true"], 125, "link");
    assert!(!rl.path("elsewhere").exists());
    refused(&rl, &["run", "--rm", "--cidfile", "/no/such/dir/cid", &image("alpine"), "true"], 125, "/no/such/dir/cid");
}

#[test]
fn a_first_command_that_fails_makes_no_container() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for args in
        [&["run", "--gpus", "x"][..], &["run", "oci:/no/such", "true"], &["run", "-v", "/no/such:/x", &image("alpine"), "true"]]
    {
        rl.cmd(args).code(125);
        for dir in ["containers", "names", "volumes"] {
            assert_eq!(fs::read_dir(rl.store().join(dir)).into_iter().flatten().count(), 0, "{dir} after {args:?}");
        }
    }
}

#[test]
fn a_container_or_volume_that_is_not_there() {
    let rl = Rl::new();
    for args in [&["rm", "nobody"][..], &["inspect", "nobody"], &["volume", "rm", "nobody"], &["volume", "inspect", "nobody"]] {
        let run = refused(&rl, args, 1, "nobody");
        assert!(run.stderr().contains("\ntry: rl "), "{run}");
    }
}

#[test]
fn a_store_that_cannot_be() {
    require!(Feature::Image("alpine"), Feature::Root(false));
    let rl = Rl::new();
    let file = rl.file("file", "").display().to_string();
    for store in [file.as_str(), "/proc/rl", "/root/rl", "/dev/null/x"] {
        let mut command = Command::new(binary());
        command.args(["--root", store, "run", "--rm", &image("alpine"), "true"]);
        let run = run(command).code(125).says(store);
        let lines: Vec<_> = run.stderr().lines().filter(|l| !l.starts_with("try: ")).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("rl: "), "{run}");
    }
}
