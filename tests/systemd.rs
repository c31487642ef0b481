//! Containers and systemd: what a boot starts again, how Monitor takes systemd's SIGTERM, units, readiness.

mod support;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};
use support::{Background, Feature, Rl, binary, eventually, image, require, run};

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

/// A socket such as systemd gives a service.
fn notify_socket(rl: &Rl) -> (UnixDatagram, PathBuf) {
    let path = rl.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    socket.set_read_timeout(Some(support::hang() - Instant::now())).unwrap();
    (socket, path)
}

#[track_caller]
fn hears(socket: &UnixDatagram) -> String {
    let mut message = [0; 200];
    let length = socket.recv(&mut message).expect("a message");
    String::from_utf8_lossy(&message[..length]).into_owned()
}

/// `rl ARGS…` as systemd would start it.
fn as_service(rl: &Rl, socket: &Path, args: &[&str]) -> Command {
    let mut command = rl.command(args);
    command.env("NOTIFY_SOCKET", socket);
    command
}

#[test]
fn rl_tells_systemd_that_the_payload_runs() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (socket, path) = notify_socket(&rl);
    let alpine = image("alpine");
    let args =
        ["run", "-d", "--name", "web", "--sdnotify", "conmon", &alpine, "sh", "-c", "echo ${NOTIFY_SOCKET-none}; sleep 1000"];
    run(as_service(&rl, &path, &args)).ok();
    assert_eq!(hears(&socket), format!("MAINPID={}\nREADY=1", monitor(&rl, "web")));
    eventually("nothing is passed on", || rl.cmd(["logs", "web"]).ok().stdout() == "none");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    // One who stays is the main process already.
    let attached = Background::spawn(as_service(&rl, &path, &["start", "--attach", "web"]));
    assert_eq!(hears(&socket), "READY=1");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    attached.finish().code(137);
    // A command that cannot be executed was never ready.
    run(as_service(&rl, &path, &["run", "--rm", "--sdnotify", "conmon", &alpine, "nonesuch"])).code(127);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 10]).is_err());
}

#[test]
fn a_payload_that_tells_systemd_itself_has_its_socket() {
    require!(Feature::Image("python"), Feature::SubIds);
    let rl = Rl::new();
    let (socket, path) = notify_socket(&rl);
    let python = image("python");
    let script = "import os, socket, time\n\
        where = os.environ.get('NOTIFY_SOCKET')\n\
        print(where, flush=True)\n\
        where and socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', where)\n\
        time.sleep(1000)";
    run(as_service(&rl, &path, &["run", "-d", "--name", "web", &python, "python3", "-c", script])).ok();
    let mut told = [hears(&socket), hears(&socket)];
    told.sort();
    assert_eq!(told, [format!("MAINPID={}\n", monitor(&rl, "web")), "READY=1".into()]);
    // Started by somebody else it has none.
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    rl.cmd(["start", "web"]).ok();
    eventually("it says so", || rl.cmd(["logs", "web"]).ok().stdout() == "/run/notify/notify.sock\nNone");
    rl.cmd(["rm", "-f", "web"]).ok();
    run(as_service(&rl, &path, &["run", "-d", "--name", "web", "--sdnotify", "ignore", &python, "python3", "-c", script])).ok();
    eventually("it says so", || rl.cmd(["logs", "web"]).ok().stdout() == "None");
}

#[test]
fn a_unit_runs_the_container_there_is_or_makes_it_anew() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    let root = format!("{} --root {}", binary().canonicalize().unwrap().display(), rl.store().display());
    rl.cmd(["create", "-it", "--name", "web", "--stop-timeout", "7", "-e", "A=100%", &alpine, "sh", "-c", "echo $A -d; run"])
        .ok();
    let unit = |flags: &[&str]| rl.cmd([&["generate", "systemd"], flags, &["web"]].concat()).ok().stdout().to_string();
    let id = rl.inspect("web")["Id"].as_str().unwrap().to_string();
    assert!(unit(&[]).lines().any(|line| line == format!("ExecStart={root} start --attach {id}")), "{}", unit(&[]));
    let named = unit(&["--name", "--restart-policy", "always", "--time", "5"]);
    for line in [
        "Type=exec".to_string(),
        "Restart=always".into(),
        "TimeoutStopSec=65".into(),
        format!("ExecStart={root} start --attach web"),
        format!("ExecStop={root} stop -t 5 web"),
        format!("ExecStopPost={root} stop -t 5 web"),
        "WantedBy=default.target".into(),
    ] {
        assert!(named.lines().any(|found| found == line), "{line} in {named}");
    }
    let new = unit(&["--new"]);
    let start = format!(
        r#"ExecStart={root} run --sdnotify conmon --rm --name web -it --stop-timeout 7 -e "A=100%%" {alpine} sh -c "echo $$A -d; run""#
    );
    for line in [
        "Type=notify".to_string(),
        "Restart=on-failure".into(),
        "TimeoutStopSec=67".into(),
        format!("ExecStartPre={root} rm -f web"),
        start,
        format!("ExecStop={root} stop -t 7 web"),
        format!("ExecStopPost={root} rm -f web"),
    ] {
        assert!(new.lines().any(|found| found == line), "{line} in {new}");
    }
    rl.cmd(["generate", "systemd", "nobody"]).code(1).says("no such container");
    rl.cmd(["generate", "systemd", "--restart-policy", "sometimes", "web"]).code(125).says("sometimes");
}
