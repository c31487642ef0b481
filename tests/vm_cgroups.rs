//! Resource limits by cgroup v2, delegated from the systemd user session: as an ordinary user in the VM (tests/vm/run).
//!
//! The VM is emulated: what is measured is the kernel's own accounting, not wall time, where the two could differ.

mod support;
use serde_json::Value;
use std::{
    fs,
    os::unix::net::UnixListener,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use support::{Background, Feature, Run, Session, binary, eventually, image, require, run, session, titled};

/// Asleep until it is removed, after having said so.
const IDLE: &str = "echo ready; exec sleep 1000";

/// `rl run --name NAME FLAGS alpine sh -c SCRIPT` in the background, once it has said "ready".
fn running(rl: &Session, name: &str, flags: &[&str], script: &str) -> Background {
    let image = image("alpine");
    let held = rl.start([&["run", "--name", name], flags, &[image.as_str(), "sh", "-c", script]].concat());
    held.expect("ready");
    rl.payload(name);
    held
}

fn ended(rl: &Session, name: &str, held: Background) {
    rl.cmd(["rm", "-f", name]).ok();
    held.finish().code(137);
}

/// The directory of a running container's payload.
fn cgroup(rl: &Session, name: &str) -> PathBuf {
    let pid = rl.payload(name);
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the cgroup");
    format!("/sys/fs/cgroup{}", text.trim().strip_prefix("0::").expect("cgroup v2")).into()
}

fn read(directory: &std::path::Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_else(|e| panic!("{}/{file}: {e}", directory.display())).trim().to_string()
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn systemctl(args: &[&str]) -> Run {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(args).env("SYSTEMD_COLORS", "0");
    run(command)
}

#[test]
fn a_container_lives_in_a_scope_of_the_session_and_leaves_nothing() {
    let rl = session!();
    let held = running(&rl, "web", &[], IDLE);
    let cgroup = cgroup(&rl, "web");
    assert!(cgroup.ends_with("app.slice/rl-web.scope/payload"), "{}", cgroup.display());
    let status = systemctl(&["status", "--no-pager", "rl-web.scope"]).ok();
    assert!(status.stdout().contains("rl container web") && status.stdout().contains("sleep 1000"), "{status}");
    let shown = systemctl(&["show", "rl-web.scope", "-p", "TasksMax", "-p", "Delegate"]).ok();
    assert!(shown.stdout().contains("TasksMax=2048") && shown.stdout().contains("Delegate=yes"), "{shown}");
    assert_eq!(read(cgroup.parent().unwrap(), "cgroup.subtree_control"), "", "no controller without a limit");
    ended(&rl, "web", held);
    eventually("the scope is gone", || !cgroup.parent().unwrap().exists());
    assert!(!systemctl(&["list-units", "--all", "--no-legend", "rl-*.scope"]).ok().stdout().contains("rl-web"));
}

#[test]
fn a_slice_can_be_chosen_and_a_name_used_twice_in_two_stores() {
    let rl = session!();
    let held = running(&rl, "web", &["--cgroup-parent", "mine.slice"], IDLE);
    let first = cgroup(&rl, "web");
    assert!(first.to_str().unwrap().contains("/mine.slice/rl-web.scope/"), "{}", first.display());
    let other = rl.path("other");
    let mut command = Command::new(binary());
    command.arg("--root").arg(&other).args(["run", "--rm", "--name", "web", &image("alpine"), "echo", "both"]);
    assert_eq!(run(command).ok().stdout(), "both");
    let mut clean = Command::new(binary());
    clean.args(["unshare", "rm", "-rf"]).arg(&other);
    run(clean).ok();
    ended(&rl, "web", held);
    systemctl(&["stop", "mine.slice"]).ok();
}

#[test]
fn a_memory_limit_kills_and_it_shows() {
    let rl = session!();
    let limits = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max; tail /dev/zero";
    let image = image("alpine");
    let ran = rl.cmd(["run", "--name", "fat", "-m", "64m", &image, "sh", "-c", &format!("{limits} & wait $!")]).code(137);
    assert_eq!(ran.stdout(), "67108864\n67108864");
    assert_eq!(rl.inspect("fat")["State"]["OOMKilled"], true);
    rl.cmd(["rm", "fat"]).ok();
    rl.cmd(["run", "--name", "slim", "-m", "64m", &image, "true"]).ok();
    assert_eq!(rl.inspect("slim")["State"]["OOMKilled"], false);
    rl.cmd(["rm", "slim"]).ok();
}

#[test]
fn half_a_cpu_is_half_a_cpu() {
    let rl = session!();
    let script = "usage() { sed -n 's/usage_usec //p' /sys/fs/cgroup/cpu.stat; }
        while :; do :; done & while :; do :; done & sleep 1
        a=$(usage); read s _ </proc/uptime; sleep 10; b=$(usage); read t _ </proc/uptime; echo $a $b $s $t";
    let ran = rl.sh(&["--cpus", "0.5"], script).ok();
    let [a, b, s, t] = ran.stdout().split(' ').map(number).collect::<Vec<_>>().try_into().expect("four numbers");
    let share = (b - a) / 1e6 / (t - s);
    println!("--cpus 0.5: {share:.3} of a CPU over {:.2} s", t - s);
    assert!((0.45..=0.55).contains(&share), "{share}: {ran}");
}

/// A shell that cannot fork ends, so the first process does not try.
const BOMB: &str = "b() { b | b & b | b & wait; }; (echo ready; b) 2>/dev/null & exec sleep 1000";

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    let rl = session!();
    let held = running(&rl, "bomb", &["--pids-limit", "20"], BOMB);
    let cgroup = cgroup(&rl, "bomb");
    eventually("the limit is met", || number(&read(&cgroup, "pids.events").replace("max ", "")) > 0.0);
    assert_eq!(read(&cgroup, "pids.max"), "20");
    for _ in 0..20 {
        assert!(number(&read(&cgroup, "pids.current")) <= 20.0);
    }
    let begun = Instant::now();
    ended(&rl, "bomb", held);
    eventually("all of it is dead", || !cgroup.exists());
    println!("--pids-limit 20: bomb removed in {:.1} s", begun.elapsed().as_secs_f64());
}

#[test]
fn every_other_limit_reaches_its_file() {
    let rl = session!();
    let show = |flags: &[&str], file: &str| rl.sh(flags, &format!("cat /sys/fs/cgroup/{file}")).ok().stdout().to_string();
    let flags =
        ["--memory-reservation", "32m", "-m", "64m", "--memory-swap", "-1", "-c", "512", "--cgroup-conf", "memory.high=60000000"];
    assert_eq!(show(&flags, "memory.low"), "33554432");
    assert_eq!(show(&flags, "memory.swap.max"), "max");
    assert_eq!(show(&flags, "cpu.weight"), "59");
    assert_eq!(show(&flags, "memory.high"), "59998208");
    assert_eq!(show(&["--cpu-quota", "20000", "--cpu-period", "50000"], "cpu.max"), "20000 50000");
    rl.sh(&["--cgroup-conf", "memory.nonsense=1"], "true").code(125).says("memory.nonsense");
    rl.sh(&["--cpuset-cpus", "0"], "true").code(125).says("the cpuset controller is not delegated").says("delegate.conf");
}

#[test]
fn statistics_are_the_cgroups() {
    let rl = session!();
    let script = "dd if=/dev/zero of=/dev/shm/file bs=1M count=40 2>/dev/null; echo ready; while :; do :; done";
    let held = running(&rl, "busy", &["-m", "128m", "--cpus", "0.4", "--network", "none"], script);
    let cgroup = cgroup(&rl, "busy");
    let shown = rl.cmd(["stats", "--no-stream", "--format", "json", "busy"]).ok().json();
    let inactive = |text: &str| number(text.lines().find_map(|l| l.strip_prefix("inactive_file ")).unwrap());
    let memory = number(&read(&cgroup, "memory.current")) - inactive(&read(&cgroup, "memory.stat"));
    let (used, limit) = shown["MemUsage"].as_str().unwrap().split_once(" / ").unwrap();
    let used = number(used.strip_suffix("MiB").expect("MiB")) * 1048576.0;
    println!("stats: {shown}; memory {memory} in the files");
    assert!((used / memory - 1.0).abs() < 0.05, "{used} and {memory}");
    assert_eq!(limit, "128MiB");
    let cpu = number(shown["CPUPerc"].as_str().unwrap().trim_end_matches('%'));
    assert!((36.0..=44.0).contains(&cpu), "{cpu}");
    assert_eq!(shown["PIDs"], "1");
    assert_eq!(shown["NetIO"], "0B / 0B");
    let table = rl.cmd(["stats", "--no-stream", "--no-trunc"]).ok();
    let lines: Vec<&str> = table.stdout().lines().collect();
    assert!(lines[0].starts_with("CONTAINER ID") && lines[0].contains("MEM USAGE / LIMIT"), "{table}");
    assert_eq!(lines[1].split(' ').next().unwrap().len(), 64, "{table}");
    ended(&rl, "busy", held);
}

#[test]
fn a_payload_that_outlives_its_init_is_killed_with_the_cgroup() {
    let rl = session!();
    // With the host's PID namespace nothing but the cgroup holds the tree together.
    let bind = format!("{}:/mine", rl.home().display());
    rl.sh(&["--pid", "host", "-v", &bind], "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/mine/pid").ok();
    let pid = fs::read_to_string(rl.home().join("pid")).unwrap();
    eventually("the stray is dead", || !PathBuf::from(format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn the_container_sees_its_own_cgroup_read_only() {
    let rl = session!();
    let script =
        "cat /proc/self/cgroup; echo max 2>/dev/null >/sys/fs/cgroup/memory.max || echo read-only; ls /sys/fs/cgroup/memory.max";
    assert_eq!(rl.sh(&["-m", "64m"], script).ok().stdout(), "0::/\nread-only\n/sys/fs/cgroup/memory.max");
    let host = rl.sh(&["-m", "64m", "--cgroupns", "host"], "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>&1 || true").ok();
    assert!(host.stdout().contains("/user.slice/") && host.stdout().contains("Read-only"), "{host}");
    // Even who may mount anew cannot raise the limit: the kernel keeps a namespace's root from what is inside (nsdelegate).
    let remount = "mount -t cgroup2 none /mnt && (echo max >/mnt/memory.max) 2>&1; cat /sys/fs/cgroup/memory.max";
    let privileged = rl.sh(&["-m", "64m", "--privileged"], remount).ok();
    assert!(privileged.stdout().ends_with("67108864"), "{privileged}");
}

/// `rl` as somebody who comes in by neither ssh nor a terminal: a command of the system's, as cron's are.
fn as_user(user: &str, rl: &Session, words: &[&str]) -> Command {
    let mut command = Command::new("sudo");
    command.args(["systemd-run", "--quiet", "--pipe", "--wait", "--collect", &format!("--uid={user}"), "-E", "HOME=/tmp"]);
    command.arg(binary()).arg("--root").arg(rl.path("store")).args(words);
    command
}

#[test]
fn it_works_without_a_login_and_without_an_environment() {
    let rl = session!();
    let show = ["run", "--rm", "--name", "cron", "--cgroupns", "host", "--pids-limit", "50"];
    let image = image("alpine");
    let show = [&show[..], &[&image, "cat", "/proc/self/cgroup"]].concat();
    // Linger without login, from a system service: no XDG_RUNTIME_DIR, nothing of the session's.
    let cron = run(as_user("rltest", &rl, &show)).ok();
    assert!(cron.stdout().contains("/user@1000.service/app.slice/rl-cron.scope/payload"), "{cron}");
    let mut bare = Command::new(binary());
    bare.env_clear().arg("--root").arg(rl.path("store")).args(&show);
    let bare = run(bare).ok();
    assert!(bare.stdout().contains("/user@1000.service/app.slice/rl-cron.scope/payload"), "{bare}");
    assert_eq!(bare.stderr(), "");
}

#[test]
fn a_silent_or_missing_systemd_socket_leaves_the_bus() {
    let rl = session!();
    let private = PathBuf::from("/run/user/1000/systemd/private");
    let away = private.with_extension("away");
    let show = || {
        let begun = Instant::now();
        let ran = rl.sh(&["--pids-limit", "50", "--cgroupns", "host"], "cat /proc/self/cgroup").ok();
        assert!(ran.stdout().contains("/app.slice/rl-"), "{ran}");
        begun.elapsed()
    };
    fs::rename(&private, &away).expect("rename");
    let missing = show();
    let silent = UnixListener::bind(&private).expect("bind");
    let waited = show();
    drop(silent);
    fs::rename(&away, &private).expect("rename");
    println!("bus: {:.1} s; after a silent socket: {:.1} s", missing.as_secs_f64(), waited.as_secs_f64());
    assert!(waited > Duration::from_secs(9), "it was asked first");
}

/// Another user's `rl`, with a store of its own in its home; removed with all its files at the end.
struct Other;

impl Other {
    fn rl(&self, words: &[&str]) -> Run {
        let mut command = Command::new("sudo");
        let unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=other", "-E", "HOME=/home/other"];
        command.args(unit).arg(binary()).args(words);
        run(command)
    }
}

fn sudo(script: &str) -> Run {
    let mut command = Command::new("sudo");
    command.args(["sh", "-ec", script]);
    run(command)
}

impl Drop for Other {
    fn drop(&mut self) {
        let all = "loginctl disable-linger other; systemctl stop user@1001.service user-runtime-dir@1001.service
            rm -rf /etc/systemd/system/user@.service.d /home/other/.local /dev/shm/rl-1001; systemctl daemon-reload";
        sudo(all).ok();
    }
}

#[test]
fn without_a_session_there_is_one_warning_and_limits_are_refused() {
    let _rl = session!();
    let other = Other;
    let image = image("alpine");
    let ran = other.rl(&["run", "--rm", &image, "echo", "here"]).ok();
    assert_eq!(ran.stdout(), "here");
    assert!(ran.stderr().starts_with("rl: running without a cgroup: ") && ran.stderr().contains("enable-linger"), "{ran}");
    assert_eq!(ran.stderr().lines().count(), 1, "{ran}");
    other.rl(&["run", "--rm", "-m", "64m", &image, "true"]).code(125).says("no memory controller").says("enable-linger");
    let info = other.rl(&["info"]).ok();
    assert!(info.stdout().contains("cgroups     none: "), "{info}");
    assert_eq!(
        other.rl(&["run", "--rm", "--cgroups", "disabled", &image, "true"]).ok().stderr(),
        "",
        "who wants none is not told"
    );
}

#[test]
fn a_controller_that_is_not_delegated_comes_with_the_printed_drop_in() {
    let _rl = session!();
    let other = Other;
    let image = image("alpine");
    sudo(
        "mkdir -p /etc/systemd/system/user@1001.service.d
        printf '[Service]\nDelegate=\nDelegate=memory pids\n' >/etc/systemd/system/user@1001.service.d/less.conf
        systemctl daemon-reload; loginctl enable-linger other; systemctl start user@1001.service",
    )
    .ok();
    let refused = other.rl(&["run", "--rm", "--cpus", "0.5", &image, "true"]).code(125);
    assert!(refused.stderr().contains("the cpu controller is not delegated to your session"), "{refused}");
    // As printed, up to the line for people.
    let cure = refused.stderr().split_once("try: ").expect("a cure").1;
    let cure: Vec<&str> = cure.lines().take_while(|line| !line.starts_with("then ")).collect();
    sudo("rm -r /etc/systemd/system/user@1001.service.d").ok();
    sudo(&cure.join("\n").replace("sudo ", "")).ok();
    sudo("systemctl restart user@1001.service").ok();
    assert_eq!(
        other.rl(&["run", "--rm", "--cpus", "0.5", &image, "cat", "/sys/fs/cgroup/cpu.max"]).ok().stdout(),
        "50000 100000"
    );
    assert_eq!(other.rl(&["run", "--rm", "--cpuset-cpus", "1", &image, "cat", "/sys/fs/cgroup/cpuset.cpus"]).ok().stdout(), "1");
    // What the drop-in gives too: writes are held to their rate. In a volume: a temporary container's own files are never synced.
    let script = "read s _ </proc/uptime; dd if=/dev/zero of=/data/file bs=64k count=96 conv=fsync 2>/dev/null; read t _ </proc/uptime; echo $s $t";
    let limit = ["run", "--rm", "--device-write-bps", "/dev/vda:1mb", "--blkio-weight", "500", "-v", "data:/data"];
    let ran = other.rl(&[&limit[..], &[&image, "sh", "-c", script]].concat()).ok();
    let (s, t) = ran.stdout().split_once(' ').expect("two numbers");
    let rate = 96.0 * 65536.0 / (number(t) - number(s)) / 1048576.0;
    println!("--device-write-bps 1mb: {rate:.2} MiB/s");
    assert!((0.8..=1.2).contains(&rate), "{rate}");
}

#[test]
fn a_delegated_directory_is_used_without_systemd() {
    let rl = session!();
    let scope = |words: &[&str]| {
        let mut command = Command::new("systemd-run");
        command.args(["--user", "--scope", "--quiet", "-p", "Delegate=yes"]).arg(binary());
        command.arg("--root").arg(rl.path("store")).args(words);
        run(command)
    };
    let image = image("alpine");
    let limited = ["run", "--rm", "--name", "own", "--cgroup-manager", "cgroupfs", "-m", "64m", "--cgroupns", "host", &image];
    let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/$(sed s/0:://  /proc/self/cgroup)/memory.max";
    let seen = scope(&[&limited[..], &["sh", "-c", script]].concat()).ok();
    assert!(seen.stdout().contains("/rl-own-") && seen.stdout().ends_with("/payload\n67108864"), "{seen}");
    assert_eq!(scope(&["run", "--rm", "--cgroup-manager", "cgroupfs", &image, "echo", "free"]).ok().stdout(), "free");
    // From a login session, where the cgroup is the system's.
    let refused = rl.sh(&["--cgroup-manager", "cgroupfs", "-m", "64m"], "true").code(125);
    assert!(refused.stderr().contains("memory") && refused.stderr().contains("Delegate=yes"), "{refused}");
}

/// A container on the network `net` that answers every connection to port 7 with its name, and is left to itself.
fn on_net(name: &str, flags: &[&str]) -> Vec<String> {
    let (image, script) = (image("alpine"), format!("nc -lk -p 7 -e echo {name}"));
    let words = [&["run", "-d", "--name", name, "--network", "net"], flags, &[&image, "sh", "-c", &script]].concat();
    words.into_iter().map(String::from).collect()
}

/// The cgroup that the hub of `net` is in.
fn hubs_cgroup() -> String {
    let hub = titled("rl[net]: hub");
    assert_eq!(hub.len(), 1, "{hub:?}");
    fs::read_to_string(format!("/proc/{}/cgroup", hub[0])).unwrap_or_default().trim().to_string()
}

#[test]
fn a_network_outlives_the_container_that_started_it_and_its_scope() {
    let rl = session!();
    rl.cmd(["network", "create", "net"]).ok();
    rl.cmd(on_net("first", &["-m", "64m"])).ok();
    rl.cmd(on_net("second", &[])).ok();
    eventually("the hub has a scope of its own", || hubs_cgroup().ends_with("/app.slice/rl-network-net.scope"));
    let status = systemctl(&["status", "--no-pager", "rl-network-net.scope"]).ok();
    assert!(status.stdout().contains("rl network net") && status.stdout().contains("rl[net]: hub"), "{status}");
    let ask = "until nc second 7; do sleep 0.1; done";
    assert_eq!(rl.cmd(["exec", "first", "sh", "-c", ask]).ok().stdout(), "second");
    let (hub, scope) = (titled("rl[net]: hub"), cgroup(&rl, "first"));
    // All of it: Monitor, connector, payload, whatever was started by them.
    fs::write(scope.parent().unwrap().join("cgroup.kill"), "1").unwrap();
    eventually("the first is dead", || rl.inspect("first")["State"]["Running"] == false);
    assert_eq!(titled("rl[net]: hub"), hub);
    assert_eq!(rl.sh(&["--network", "net"], ask).ok().stdout(), "second");
    rl.cmd(["start", "first"]).ok();
    assert_eq!(rl.cmd(["exec", "second", "sh", "-c", "until nc first 7; do sleep 0.1; done"]).ok().stdout(), "first");
    assert!(cgroup(&rl, "first").parent().unwrap().ends_with("rl-first.scope"), "its scope was gone");
    rl.cmd(["rm", "-f", "first"]).ok();
    assert_eq!(titled("rl[net]: hub"), hub);
    rl.cmd(["rm", "-f", "second"]).ok();
    eventually("the hub's scope is gone", || {
        !systemctl(&["list-units", "--all", "--no-legend", "rl-*.scope"]).ok().stdout().contains("rl-")
    });
    rl.cmd(["network", "rm", "net"]).ok();
}

#[test]
fn in_a_delegated_directory_a_network_lives_beside_the_containers() {
    let rl = session!();
    rl.cmd(["network", "create", "net"]).ok();
    for limits in [&[][..], &["-m", "64m"]] {
        let words = |name: &str| on_net(name, &[&["--cgroup-manager", "cgroupfs"], limits].concat());
        let quoted = |words: Vec<String>| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let rl_here = format!("'{}' --root '{}'", binary().display(), rl.store().display());
        let script = format!(
            "{rl_here} {} >/dev/null && {rl_here} {} >/dev/null && cat /proc/self/cgroup",
            quoted(words("first")),
            quoted(words("second"))
        );
        let mut command = Command::new("systemd-run");
        command.args(["--user", "--scope", "--quiet", "-p", "Delegate=yes", "sh", "-c", &script]);
        let callers = run(command).ok();
        assert_eq!(hubs_cgroup(), callers.stdout(), "{limits:?}");
        rl.cmd(["rm", "-f", "first"]).ok();
        assert_eq!(rl.sh(&["--network", "net"], "until nc second 7; do sleep 0.1; done").ok().stdout(), "second");
        rl.cmd(["rm", "-f", "second"]).ok();
        eventually("the hub is gone", || titled("rl[net]: hub").is_empty());
    }
    rl.cmd(["network", "rm", "net"]).ok();
}

#[test]
fn info_names_what_was_chosen() {
    let rl = session!();
    let info = rl.cmd(["info", "--json"]).ok().json();
    assert_eq!(info["cgroupManager"], "systemd");
    let controllers: Vec<&str> = info["cgroupControllers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(controllers.contains(&"memory") && controllers.contains(&"pids"), "{info:#}");
    let text = rl.cmd(["info"]).ok();
    assert!(text.stdout().contains("a scope of systemd's") && text.stdout().contains("not delegated: cpuset io"), "{text}");
}

#[test]
fn limits_change_while_it_runs_and_before_it_starts() {
    let rl = session!();
    let image = image("alpine");
    rl.cmd(["run", "-d", "--name", "live", &image, "sleep", "1000"]).ok();
    let cgroup = cgroup(&rl, "live");
    assert!(!cgroup.join("memory.max").exists(), "no controller without a limit");
    let limits = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "3000", "-c", "2048"];
    rl.cmd([&["update"][..], &limits, &["live"]].concat()).ok();
    let files = || ["memory.max", "cpu.max", "pids.max", "cpu.weight"].map(|file| read(&cgroup, file));
    assert_eq!(files(), ["67108864", "50000 100000", "3000", "174"]);
    assert_eq!(read(cgroup.parent().unwrap(), "pids.max"), "max", "the scope's default gives way");
    rl.cmd(["update", "--memory", "128m", "live"]).ok();
    assert_eq!(files(), ["134217728", "50000 100000", "3000", "174"]);
    rl.cmd(["update", "--cpuset-cpus", "0", "live"]).code(1).says("the cpuset controller is not delegated");
    rl.cmd(["exec", "live", "sh", "-c", "tail /dev/zero; test $? = 137"]).ok();
    rl.cmd(["stop", "-t", "0", "live"]).ok();
    rl.cmd(["update", "-m", "32m", "live"]).ok();
    rl.cmd(["start", "live"]).ok();
    assert_eq!(
        rl.cmd(["exec", "live", "cat", "/sys/fs/cgroup/memory.max", "/proc/self/cgroup"]).ok().stdout(),
        "33554432\n0::/exec-1"
    );
    rl.cmd(["rm", "-f", "live"]).ok();
}

#[test]
fn pause_freezes_and_what_is_executed_dies_with_its_cgroup() {
    let rl = session!();
    let image = image("alpine");
    rl.cmd(["run", "-d", "--name", "counter", &image, "sh", "-c", "while :; do :; done"]).ok();
    let cgroup = cgroup(&rl, "counter");
    let used = || read(&cgroup, "cpu.stat").lines().find_map(|l| l.strip_prefix("usage_usec ").map(number)).unwrap();
    rl.cmd(["pause", "counter"]).ok();
    let before = used();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(used(), before, "it does not run");
    assert_eq!(rl.inspect("counter")["State"]["Status"], "paused");
    rl.cmd(["exec", "counter", "true"]).code(1).says("is paused").says("rl unpause");
    rl.cmd(["pause", "counter"]).code(1).says("paused already");
    rl.cmd(["unpause", "counter"]).ok();
    eventually("it runs on", || used() > before);
    // What an exec leaves in the background lives on, as with Docker; its cgroup goes when it is empty.
    rl.cmd(["exec", "counter", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &"]).ok();
    rl.cmd(["exec", "counter", "true"]).ok();
    eventually("the second's cgroup is gone", || !cgroup.join("exec-2").exists());
    assert!(cgroup.join("exec-1").exists());
    rl.cmd(["pause", "counter"]).ok();
    rl.cmd(["rm", "-f", "counter"]).ok();
    eventually("all of it is dead", || !cgroup.exists());
}

#[test]
fn a_restart_counts_anew() {
    let rl = session!();
    let image = image("alpine");
    rl.cmd(["run", "-d", "--name", "again", "-m", "32m", "--restart", "on-failure:1", &image, "tail", "/dev/zero"]).ok();
    eventually("the last end", || rl.inspect("again")["State"]["Status"] == "exited");
    let state = rl.inspect("again")["State"].clone();
    assert_eq!((&state["OOMKilled"], &state["ExitCode"]), (&Value::Bool(true), &Value::from(137)), "{state:#}");
    rl.cmd(["rm", "again"]).ok();
}

#[test]
fn a_debian_boots_in_a_container_and_stops() {
    let rl = session!();
    require!(Feature::Image("systemd"));
    let begun = Instant::now();
    rl.cmd(["run", "-d", "--name", "debian", "--systemd=always", &image("systemd")]).ok();
    println!("systemd: unpacked and started in {:.1} s", begun.elapsed().as_secs_f64());
    let systemctl = |args: &[&str]| rl.cmd([&["exec", "debian", "systemctl"][..], args].concat());
    eventually("a bus", || {
        systemctl(&["is-system-running"]).stdout() != "offline" && !systemctl(&["is-system-running"]).stdout().is_empty()
    });
    let state = systemctl(&["is-system-running", "--wait"]);
    println!("systemd: {} after {:.1} s", state.stdout(), begun.elapsed().as_secs_f64());
    let failed = systemctl(&["--failed", "--no-legend", "--plain"]);
    assert!(["running", "degraded"].contains(&state.stdout()), "{state}{failed}");
    systemctl(&["is-active", "hello.service"]).ok();
    let inside = rl
        .cmd([
            "exec",
            "debian",
            "sh",
            "-c",
            "cat /proc/1/cgroup; findmnt -no FSTYPE /run /tmp; cat /proc/1/comm; echo $container",
        ])
        .ok();
    println!("systemd: {failed}{inside}");
    assert!(inside.stdout().starts_with("0::/init.scope\n"), "{inside}");
    let begun = Instant::now();
    rl.cmd(["stop", "-t", "60", "debian"]).ok();
    println!("systemd: stopped in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(55), "it was killed");
    let ended = rl.inspect("debian");
    assert_eq!(ended["State"]["ExitCode"], 0, "{ended:#}");
    rl.cmd(["rm", "debian"]).ok();
}

#[test]
fn a_frozen_container_is_not_checked_and_a_check_that_hangs_dies_with_its_cgroup() {
    let rl = session!();
    let check = "echo x >> /checks; test ! -e /hang || { setsid sleep 7777 & sleep 8888; }";
    let flags = ["--health-cmd", check, "--health-interval", "100ms", "--health-timeout", "2s", "--health-retries", "1"];
    let image = image("alpine");
    rl.cmd([&["run", "-d", "--name", "web"], &flags[..], &[&image, "sleep", "1000"]].concat()).ok();
    let health = || rl.inspect("web")["State"]["Health"].clone();
    eventually("it is healthy", || health()["Status"] == "healthy");
    rl.cmd(["pause", "web"]).ok();
    let before = health();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(health(), before);
    rl.cmd(["healthcheck", "run", "web"]).code(125).says("is paused");
    rl.cmd(["unpause", "web"]).ok();
    eventually("it is checked again", || health() != before);
    assert_eq!(health()["Status"], "healthy");
    rl.cmd(["exec", "web", "touch", "/hang"]).ok();
    eventually("it is unhealthy", || health()["Status"] == "unhealthy");
    rl.cmd(["exec", "web", "rm", "/hang"]).ok();
    eventually("it is healthy again", || health()["Status"] == "healthy");
    // Not the next check, whose script has the same words.
    let inside = rl.cmd(["exec", "web", "sh", "-c", "ps -o args | grep -c '^sleep [78]'"]);
    assert_eq!(inside.stdout(), "0");
    rl.cmd(["rm", "-f", "web"]).ok();
}
