//! Containers and systemd: what a boot starts again, how Monitor takes systemd's SIGTERM, units, readiness.

mod support;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use support::{Feature, Rl, eventually, image, require};

/// Ends in its own time on SIGTERM, with this code.
const OBEDIENT: &str = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done";

/// `rl run -d --name NAME FLAGS… alpine sh -c OBEDIENT`, once it is up.
#[track_caller]
fn detached(rl: &Rl, name: &str, flags: &[&str]) {
    let alpine = image("alpine");
    rl.cmd([&["run", "-d", "--name", name], flags, &[alpine.as_str(), "sh", "-c", OBEDIENT]].concat()).ok();
    eventually("it is up", || rl.cmd(["logs", name]).ok().stdout() == "up");
}

fn status(rl: &Rl, container: &str) -> String {
    rl.inspect(container)["State"]["Status"].as_str().unwrap().to_string()
}

/// The Monitor of a running container.
fn monitor(rl: &Rl, container: &str) -> Pid {
    let payload = rl.inspect(container)["State"]["Pid"].as_i64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{payload}/stat")).unwrap();
    Pid::from_raw(stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap())
}

#[test]
fn a_boot_starts_what_its_policy_says() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for (name, policy) in [
        ("always", "always"),
        ("always-stopped", "always"),
        ("unless", "unless-stopped"),
        ("unless-stopped", "unless-stopped"),
        ("failing", "on-failure"),
        ("never", "no"),
    ] {
        detached(&rl, name, &["--restart", policy]);
    }
    rl.cmd(["create", "--name", "created", "--restart", "always", &image("alpine"), "true"]).ok();
    rl.cmd(["stop", "always-stopped", "unless-stopped"]).ok();
    // As a power cut.
    for name in ["always", "unless", "failing", "never"] {
        kill(monitor(&rl, name), Signal::SIGKILL).unwrap();
        eventually("it is lost", || status(&rl, name) == "lost");
    }
    let started = rl.cmd(["start", "--all", "--filter", "should-start-on-boot=true"]).ok();
    assert_eq!(started.stdout().lines().count(), 3, "{started}");
    for (name, wanted) in [
        ("always", "running"),
        ("always-stopped", "running"),
        ("unless", "running"),
        ("unless-stopped", "exited"),
        ("failing", "lost"),
        ("never", "lost"),
        ("created", "created"),
    ] {
        assert_eq!(status(&rl, name), wanted, "{name}");
    }
    // Again: what runs is left alone.
    assert_eq!(rl.cmd(["start", "--all", "--filter", "should-start-on-boot=true"]).ok().stdout(), "");
}

#[test]
fn start_takes_all_or_those_that_fit() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for (name, label) in [("a", "tier=db"), ("b", "tier=web")] {
        rl.cmd(["create", "--name", name, "--label", label, &image("alpine"), "sleep", "1000"]).ok();
    }
    assert_eq!(rl.cmd(["start", "--all", "--filter", "label=tier=db"]).ok().stdout().lines().count(), 1);
    assert_eq!((status(&rl, "a").as_str(), status(&rl, "b").as_str()), ("running", "created"));
    rl.cmd(["start", "--all"]).ok();
    assert_eq!(status(&rl, "b"), "running");
    rl.cmd(["start"]).code(125).says("required");
    rl.cmd(["start", "--all", "a"]).code(125).says("cannot be used with");
    rl.cmd(["start", "--all", "--filter", "should-start-on-boot=maybe"]).code(1).says("want one of true, false");
}

#[test]
fn a_monitor_that_is_asked_to_end_lets_the_payload_end_in_its_own_time() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, "web", &["--restart", "unless-stopped"]);
    kill(monitor(&rl, "web"), Signal::SIGTERM).unwrap();
    eventually("it has ended", || status(&rl, "web") == "exited");
    assert_eq!(rl.inspect("web")["State"]["ExitCode"], 3);
    assert_eq!(rl.cmd(["logs", "web"]).ok().stdout(), "up\nasked");
    // Nobody has stopped it: so it starts at the next boot.
    rl.cmd(["start", "--all", "--filter", "should-start-on-boot=true"]).ok();
    assert_eq!(status(&rl, "web"), "running");
}

#[test]
fn one_that_heeds_no_signal_is_killed_when_its_time_is_up() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    rl.cmd(["run", "-d", "--name", "deaf", "--stop-timeout", "1", &alpine, "sh", "-c", "trap '' TERM; echo up; sleep 1000"]).ok();
    eventually("it is up", || rl.cmd(["logs", "deaf"]).ok().stdout() == "up");
    kill(monitor(&rl, "deaf"), Signal::SIGTERM).unwrap();
    eventually("it has ended", || status(&rl, "deaf") == "exited");
    assert_eq!(rl.inspect("deaf")["State"]["ExitCode"], 137);
}

#[test]
fn without_systemd_no_unit_is_written() {
    require!(Feature::Image("alpine"));
    if fs::exists("/run/systemd/system").unwrap() {
        return;
    }
    let rl = Rl::new();
    detached(&rl, "web", &["--restart", "always"]);
    assert!(!rl.home().join(".config").exists());
}
