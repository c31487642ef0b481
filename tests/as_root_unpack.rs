//! The process that unpacks, seen by root: what it can reach, and what becomes of it when the disk is full or it is killed.

mod support;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use support::{Feature, Layout, Rl, Run, TarBuilder, eventually, in_shell, require, run};

/// A store that ids other than root's can reach: the tests' directories are private.
fn open() -> Rl {
    let rl = Rl::new();
    fs::set_permissions(rl.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    rl
}

/// An image whose unpacking waits for us: its blob is large, and it is stopped as soon as it is seen.
fn slow_image(rl: &Rl) -> String {
    let layer = (0..300).fold(TarBuilder::new(), |tar, n| tar.file(&format!("file-{n}"), vec![b'x'; 200_000]));
    Layout::new(rl.path("image")).layer(&layer.finish()).write()
}

/// The members of a new PID namespace below a process: in /proc/PID/status they have two numbers.
fn confined(pid: i32) -> Option<PathBuf> {
    let children = |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = children(&pid.to_string());
    let guards = all.split_whitespace().map(children).collect::<String>();
    guards.split_whitespace().map(|pid| Path::new("/proc").join(pid)).find(|process| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        // The last thing that it gives up.
        field(&status, "NSpid:").split_whitespace().count() == 2 && field(&status, "NoNewPrivs:") == "1"
    })
}

/// A stopped process, which is killed when dropped: else who waits for it would wait for ever.
struct Stopped(nix::unistd::Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL);
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

#[test]
fn who_unpacks_reaches_nothing_but_the_layer_and_its_death_is_told() {
    require!(Feature::Root(true));
    let rl = open();
    let image = slow_image(&rl);
    let mut command = rl.command(["run", "--rm", &image, "true"]);
    command.env("SECRET_CANARY", "the-secret");
    let client = support::Background::spawn(command);
    let mut found = None;
    eventually("a confined worker", || {
        found = confined(client.pid());
        found.is_some()
    });
    let process = found.unwrap();
    let pid = nix::unistd::Pid::from_raw(process.file_name().unwrap().to_str().unwrap().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let stopped = Stopped(pid);

    let status = fs::read_to_string(process.join("status")).unwrap();
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID and SETFCAP.
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(field(&status, set), "000000008000001b", "{set}");
    }
    assert!(field(&status, "CapInh:").bytes().all(|b| b == b'0') && field(&status, "CapAmb:").bytes().all(|b| b == b'0'));
    let namespace = |process: &Path, name: &str| fs::read_link(process.join("ns").join(name)).unwrap();
    for name in ["user", "mnt", "net", "pid", "ipc", "uts"] {
        assert_ne!(namespace(&process, name), namespace(Path::new("/proc/self"), name), "{name}");
    }
    assert_eq!(fs::read_to_string(process.join("mountinfo")).unwrap().lines().count(), 1);
    let names: BTreeSet<String> =
        fs::read_dir(process.join("root")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("file-")), "{names:?}");
    let environment = fs::read(process.join("environ")).unwrap();
    assert!(environment.iter().all(|&byte| byte == 0), "{}", String::from_utf8_lossy(&environment));
    let descriptors: Vec<String> = fs::read_dir(process.join("fd"))
        .unwrap()
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    // /dev/null has no path there any more.
    let allowed = |fd: &str| {
        fd == "/"
            || fd.starts_with("/file-")
            || fd.ends_with("/null")
            || fd.starts_with("socket:")
            || fd.contains("/blobs/sha256/")
    };
    assert!(descriptors.iter().all(|fd| allowed(fd)), "{descriptors:?}");
    assert_eq!(descriptors.iter().filter(|fd| fd.starts_with("socket:")).count(), 1, "{descriptors:?}");

    drop(stopped);
    client.finish().code(125).says("the worker died");
    assert_eq!(unfinished(&rl), "");
    rl.cmd(["run", "--rm", "--network", "none", &image, "/no/such/program"]).code(127);
}

#[test]
fn who_unpacks_dies_with_the_client() {
    require!(Feature::Root(true));
    let rl = open();
    let image = slow_image(&rl);
    let client = support::Background::spawn(rl.command(["run", "--rm", &image, "true"]));
    let mut worker = None;
    eventually("a confined worker", || {
        worker = confined(client.pid());
        worker.is_some()
    });
    client.signal(nix::sys::signal::Signal::SIGKILL);
    client.finish();
    eventually("the worker's end", || !worker.as_ref().unwrap().exists());
    rl.cmd(["run", "--rm", "--network", "none", &image, "/no/such/program"]).code(127);
    assert_eq!(unfinished(&rl), "");
}

fn unfinished(rl: &Rl) -> String {
    let mut find = std::process::Command::new("find");
    find.arg(rl.store().join("layers")).args(["-maxdepth", "2", "-name", "*.*"]);
    run(find).ok().stdout().to_string()
}

/// Runs it with the store on a file system of 16 MiB, and tells what is on that afterwards, in KiB.
fn on_a_small_disk(rl: &Rl, args: &[&str]) -> Run {
    let store = rl.path("small").display().to_string();
    fs::create_dir_all(&store).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=16m,mode=755 tmpfs '{store}'; code=0; \"$@\" || code=$?
         find '{store}/store/layers' -name '*.tmp' 2>/dev/null || :; df -k --output=used '{store}' | tail -1; exit $code"
    );
    let mut own = std::process::Command::new(support::binary());
    own.arg("--root").arg(format!("{store}/store")).args(args);
    own.envs(rl.command(args).get_envs().filter_map(|(name, value)| Some((name, value?))));
    let inner = in_shell("sh", &script, &own);
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    unshare.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(unshare)
}

#[test]
fn a_full_disk_is_named_and_what_was_unpacked_is_freed() {
    require!(Feature::Root(true));
    let rl = open();
    let large = TarBuilder::new().file("small", "x").file("large", vec![b'x'; 32 << 20]).finish();
    let many = (0..300).fold(TarBuilder::new(), |tar, n| tar.file(&format!("file-{n}"), vec![b'x'; 100_000])).finish();
    for layer in [large, many] {
        let _ = fs::remove_dir_all(rl.path("image"));
        let image = Layout::new(rl.path("image")).layer(&layer).config(json!({})).write();
        let run = on_a_small_disk(&rl, &["run", "--rm", &image, "true"]).code(125).says("No space left on device");
        run_is_clean(&run);
    }
}

#[track_caller]
fn run_is_clean(run: &Run) {
    let used: u64 = run.stdout().trim().parse().unwrap_or_else(|_| panic!("something is left: {run}"));
    assert!(used < 200, "{used} KiB are still used: {run}");
    assert_eq!(run.stderr().lines().filter(|line| line.starts_with("rl: ")).count(), 1, "{run}");
}
