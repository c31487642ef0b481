//! Across logout and reboot, in the VM: the unit that starts containers again, and the warning of a session that does not linger.

mod support;
use std::{fs, path::PathBuf, process::Command};
use support::{Rl, eventually, image, run, session};

const OBEDIENT: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 1000 & wait; done";

fn units(rl: &Rl) -> PathBuf {
    rl.home().join(".config/systemd/user")
}

/// The units of this test's store, by file name.
fn written(rl: &Rl) -> Vec<String> {
    let entries = fs::read_dir(units(rl)).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn systemctl(args: &[&str]) {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(args);
    run(command).ok();
}

fn status(rl: &Rl) -> String {
    rl.inspect("web")["State"]["Status"].as_str().unwrap().to_string()
}

#[track_caller]
fn web(rl: &Rl, policy: &str) {
    rl.cmd(["run", "-d", "--name", "web", "--restart", policy, &image("alpine"), "sh", "-c", OBEDIENT]).ok();
    eventually("it is up", || rl.cmd(["logs", "web"]).ok().stdout().ends_with("up"));
}

#[test]
fn systemd_ends_a_container_in_its_own_time_and_starts_it_again() {
    let rl = session!();
    web(&rl, "unless-stopped");
    let unit = written(&rl).pop().expect("a unit");
    assert!(unit.starts_with("rl-restart-") && unit.ends_with(".service"), "{unit}");
    let link = units(&rl).join("default.target.wants").join(&unit);
    assert_eq!(fs::read_link(&link).unwrap(), units(&rl).join(&unit));
    // As at a logout.
    systemctl(&["stop", "rl-web.scope"]);
    eventually("it has ended", || status(&rl) == "exited");
    assert_eq!(rl.inspect("web")["State"]["ExitCode"], 3);
    // As at the next login: the test's home is not the manager's, so it is shown the unit.
    systemctl(&["link", "--runtime", units(&rl).join(&unit).to_str().unwrap()]);
    systemctl(&["start", &unit]);
    assert_eq!(status(&rl), "running");
    systemctl(&["stop", &unit]);
    assert_eq!(status(&rl), "running", "the unit's end is not the container's");
    systemctl(&["disable", "--runtime", &unit]);
    systemctl(&["daemon-reload"]);
    rl.cmd(["rm", "-f", "web"]).ok();
    assert_eq!(written(&rl), [] as [&str; 0]);
    assert!(link.symlink_metadata().is_err());
}

#[test]
fn the_unit_is_there_as_long_as_a_container_asks_for_it() {
    let rl = session!();
    web(&rl, "no");
    assert_eq!(written(&rl).len(), 0);
    rl.cmd(["update", "--restart", "always", "web"]).ok();
    assert_eq!(written(&rl).len(), 1);
    rl.cmd(["run", "-d", "--name", "other", "--restart", "unless-stopped", &image("alpine"), "sleep", "1000"]).ok();
    rl.cmd(["update", "--restart", "on-failure", "web"]).ok();
    assert_eq!(written(&rl).len(), 1);
    rl.cmd(["rm", "-f", "other"]).ok();
    assert_eq!(written(&rl).len(), 0);
    rl.cmd(["rm", "-f", "web"]).ok();
}

#[test]
fn who_does_not_linger_is_warned_once() {
    let rl = session!();
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().expect("a user");
    let runtime = format!("/run/user/{}", me.uid);
    let marker = format!("{runtime}/rl/logout-warned");
    let _ = fs::remove_file(&marker);
    let start = || rl.command(["run", "-d", &image("alpine"), "sleep", "1000"]);
    assert_eq!(run(start()).ok().stderr(), "");
    // For rl only: systemd would take the session down.
    let unlinger = "mount -t tmpfs none /var/lib/systemd/linger; exec setpriv --reuid $0 --regid $1 --init-groups -- env HOME=$2 XDG_RUNTIME_DIR=$3 ${@:4}";
    let elsewhere = || {
        let command = start();
        let (uid, gid) = (me.uid.to_string(), me.gid.to_string());
        let mut sudo = Command::new("sudo");
        sudo.args(["unshare", "--mount", "--propagation", "private", "bash", "-c", unlinger, &uid, &gid])
            .arg(rl.home())
            .arg(&runtime);
        sudo.arg(command.get_program()).args(command.get_args());
        run(sudo).ok().stderr().to_string()
    };
    let (warned, again) = (elsewhere(), elsewhere());
    fs::remove_file(&marker).expect("the marker");
    assert!(warned.contains("after your last logout") && warned.contains("try: loginctl enable-linger"), "{warned}");
    assert_eq!(again, "");
    rl.cmd(["rm".to_string(), "-f".into()].into_iter().chain(rl.containers())).ok();
}

#[test]
fn a_generated_unit_runs_a_container_as_a_service() {
    let rl = session!();
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait; done";
    rl.cmd(["create", "--name", "web", &image("alpine"), "sh", "-c", script]).ok();
    for flags in [&["--name"][..], &["--new"]] {
        let unit = rl.cmd([&["generate", "systemd"], flags, &["web"]].concat()).ok();
        let path = rl.file("container-web.service", unit.stdout());
        systemctl(&["link", "--runtime", path.to_str().unwrap()]);
        systemctl(&["start", "container-web.service"]);
        eventually("it runs", || status(&rl) == "running");
        systemctl(&["stop", "container-web.service"]);
        systemctl(&["disable", "--runtime", "container-web.service"]);
        systemctl(&["daemon-reload"]);
        if flags == ["--name"] {
            assert_eq!((status(&rl).as_str(), rl.inspect("web")["State"]["ExitCode"].as_i64()), ("exited", Some(0)));
        } else {
            assert_eq!(rl.containers(), [] as [&str; 0]);
        }
    }
}
