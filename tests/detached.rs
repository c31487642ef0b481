//! Containers that live on without their Client: created, started, stopped, restarted, waited for, renamed, attached to.

mod support;
use std::fs;
use support::{Feature, Rl, Run, eventually, image, require, run};

/// `rl run -d FLAGS… alpine sh -c SCRIPT`; returns the id.
#[track_caller]
fn detached(rl: &Rl, flags: &[&str], script: &str) -> String {
    let alpine = image("alpine");
    let args = [&["run", "-d"], flags, &[alpine.as_str(), "sh", "-c", script]].concat();
    rl.cmd(args).ok().stdout().to_string()
}

fn status(rl: &Rl, container: &str) -> String {
    rl.inspect(container)["State"]["Status"].as_str().unwrap().to_string()
}

#[track_caller]
fn comes_to(rl: &Rl, container: &str, wanted: &str) {
    eventually(&format!("{container} is {wanted}"), || status(rl, container) == wanted);
}

fn logs(rl: &Rl, container: &str) -> String {
    rl.cmd(["logs", container]).ok().stdout().to_string()
}

/// Ends at once on SIGTERM, with this code.
const OBEDIENT: &str = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 1000 & wait; done";

#[test]
fn a_detached_container_prints_its_id_and_lives_on() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = detached(&rl, &["--name", "web"], "echo up; exec sleep 1000");
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(rl.inspect("web")["Id"], id.as_str());
    assert_eq!(status(&rl, "web"), "running");
    eventually("it is logged", || logs(&rl, "web") == "up");
    rl.cmd(["rm", "-f", "web"]).ok();
    assert!(rl.containers().is_empty());
}

#[test]
fn a_detached_command_that_cannot_start_says_so() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "-d", &image("alpine"), "nonesuch"]).code(127).says("executable file not found");
    rl.cmd(["run", "-d", "--rm", &image("alpine"), "/etc/passwd"]).code(126).says("permission denied");
}

#[test]
fn a_temporary_detached_container_removes_itself() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--rm", "--name", "brief"], "exit 0");
    eventually("it is gone", || rl.containers().is_empty());
    detached(&rl, &["--rm", "--name", "brief"], "exec sleep 1000");
    rl.cmd(["stop", "-t", "0", "brief"]).ok();
    detached(&rl, &["--rm", "--name", "brief"], "exit 0");
}

#[test]
fn stop_sends_the_stop_signal_and_the_exit_code_is_the_payloads() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "web"], OBEDIENT);
    eventually("it is up", || logs(&rl, "web") == "up");
    assert_eq!(rl.cmd(["stop", "web"]).ok().stdout(), "web");
    assert_eq!(rl.inspect("web")["State"]["ExitCode"], 3);
    assert_eq!(logs(&rl, "web"), "up\nasked");
    // What is stopped already is none the worse for it.
    rl.cmd(["stop", "web"]).ok();
    detached(
        &rl,
        &["--name", "usr", "--stop-signal", "USR1"],
        "trap 'exit 4' USR1; echo up; while :; do sleep 1000 & wait; done",
    );
    eventually("it is up", || logs(&rl, "usr") == "up");
    rl.cmd(["stop", "usr"]).ok();
    assert_eq!(rl.inspect("usr")["State"]["ExitCode"], 4);
}

#[test]
fn stop_kills_what_does_not_obey() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "deaf"], "trap '' TERM; while :; do sleep 1000; done");
    rl.cmd(["stop", "-t", "0", "deaf"]).ok();
    assert_eq!(rl.inspect("deaf")["State"]["ExitCode"], 137);
    detached(&rl, &["--name", "short", "--stop-timeout", "0"], "trap '' TERM; while :; do sleep 1000; done");
    rl.cmd(["stop", "short"]).ok();
    assert_eq!(rl.inspect("short")["State"]["ExitCode"], 137);
}

#[test]
fn a_stopped_container_starts_again_with_its_files() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = detached(
        &rl,
        &["--name", "web", "-v", "/data"],
        "echo x >>/count; echo y >>/data/count; cat /count /data/count; exec sleep 1000",
    );
    eventually("first", || logs(&rl, "web") == "x\ny");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    assert_eq!(rl.cmd(["start", "web"]).ok().stdout(), "web");
    eventually("second", || logs(&rl, "web") == "x\ny\nx\nx\ny\ny");
    assert_eq!(rl.inspect("web")["Id"], id.as_str());
    // One that runs is left alone.
    let pid = rl.inspect("web")["State"]["Pid"].clone();
    rl.cmd(["start", "web"]).ok();
    assert_eq!(rl.inspect("web")["State"]["Pid"], pid);
}

#[test]
fn a_created_container_waits_for_its_start() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = rl.cmd(["create", "--name", "later", "-i", &image("alpine"), "sh", "-c", "cat; exit 5"]).ok().stdout().to_string();
    assert_eq!((id.len(), status(&rl, "later").as_str()), (64, "created"));
    let attached = rl.cmd_with_input(["start", "-a", "-i", "later"], "hello\n").code(5);
    assert_eq!(attached.stdout(), "hello");
    assert_eq!(rl.cmd_with_input(["start", "-ai", "later"], "again\n").code(5).stdout(), "again");
    assert_eq!(logs(&rl, "later"), "hello\nagain");
    rl.cmd(["rm", "later"]).ok();
}

#[test]
fn kill_sends_any_signal_and_by_default_ends() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "web"], "trap 'echo got' USR1; echo up; while :; do sleep 1000 & wait; done");
    eventually("it is up", || logs(&rl, "web") == "up");
    assert_eq!(rl.cmd(["kill", "-s", "USR1", "web"]).ok().stdout(), "web");
    eventually("it got the signal", || logs(&rl, "web") == "up\ngot");
    rl.cmd(["kill", "web"]).ok();
    assert_eq!(rl.inspect("web")["State"]["ExitCode"], 137);
    rl.cmd(["kill", "web"]).code(1).says("is not running");
    rl.cmd(["kill", "-s", "NONSENSE", "web"]).code(125);
}

#[test]
fn restart_ends_and_starts_what_is_up_and_starts_what_is_down() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "web"], "echo up; exec sleep 1000");
    let pid = |rl: &Rl| rl.inspect("web")["State"]["Pid"].as_i64().unwrap();
    let first = pid(&rl);
    eventually("it is logged", || logs(&rl, "web") == "up");
    assert_eq!(rl.cmd(["restart", "-t", "0", "web"]).ok().stdout(), "web");
    assert!(status(&rl, "web") == "running" && pid(&rl) != first);
    eventually("both are logged", || logs(&rl, "web") == "up\nup");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    rl.cmd(["restart", "web"]).ok();
    assert_eq!(status(&rl, "web"), "running");
}

/// It is connected to a Monitor.
fn holds_a_socket(pid: i32) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.flat_map(|fd| fs::read_link(fd.path())).any(|to| to.to_string_lossy().starts_with("socket:"))
}

#[test]
fn wait_prints_exit_codes() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "a"], "exit 7");
    detached(&rl, &["--name", "b"], OBEDIENT);
    comes_to(&rl, "a", "exited");
    let waiting = rl.start(["wait", "a", "b"]);
    waiting.expect("7");
    rl.cmd(["stop", "-t", "0", "b"]).ok();
    assert!(waiting.finish().ok().stdout().starts_with("7\n"));
    detached(&rl, &["--rm", "--name", "gone"], "exec sleep 1000");
    let waiting = rl.start(["wait", "--condition", "removed", "gone"]);
    eventually("it waits", || holds_a_socket(waiting.pid()));
    rl.cmd(["kill", "gone"]).ok();
    assert_eq!(waiting.finish().ok().stdout(), "137");
    rl.cmd(["wait", "nonesuch"]).code(1).says("no such container");
}

#[test]
fn a_renamed_container_answers_to_its_new_name_only() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "old"], "exec sleep 1000");
    rl.cmd(["rename", "old", "new"]).ok();
    assert_eq!(status(&rl, "new"), "running");
    rl.cmd(["inspect", "old"]).code(1);
    // The old name is free, the new one is not.
    let id = detached(&rl, &["--name", "old"], "exit 0");
    rl.cmd(["rename", "old", "new"]).code(1).says("in use");
    comes_to(&rl, "old", "exited");
    rl.cmd(["rename", &id, "third"]).ok();
    assert_eq!(rl.inspect("third")["Id"], id.as_str());
    rl.cmd(["stop", "-t", "0", "new"]).ok();
    assert_eq!(status(&rl, "new"), "exited");
    let random = detached(&rl, &[], "exit 0");
    let name = rl.inspect(&random)["Name"].as_str().unwrap().trim_start_matches('/').to_string();
    rl.cmd(["rename", &name, "chosen"]).ok();
    rl.cmd(["inspect", &name]).code(1);
    rl.cmd(["rm", "chosen"]).ok();
}

#[test]
fn attach_shows_what_comes_from_now_on_and_ends_with_the_payload() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["-i", "--name", "echo"], "while read line; do echo \"got $line\"; echo err >&2; done; exit 6");
    let mut attached = rl.start(["attach", "echo"]);
    attached.write("one\n");
    attached.expect("got one");
    let mut other = rl.start(["attach", "--no-stdin", "echo"]);
    other.close_stdin();
    // It is attached once it sees something.
    eventually("the other one is attached", || {
        attached.write("again\n");
        other.stdout().contains("got again")
    });
    rl.cmd(["kill", "echo"]).ok();
    attached.finish().code(137);
    other.finish().code(137);
    rl.cmd(["attach", "echo"]).code(1).says("is not running");
}

#[test]
fn the_keys_leave_a_terminal_and_attach_comes_back_to_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = rl.pty(["run", "-it", "--name", "sh", &image("alpine"), "sh"]);
    pty.write("echo one''two\n");
    pty.expect("onetwo");
    pty.write("\x10\x11");
    assert_eq!(pty.finish().0, 0);
    assert_eq!(status(&rl, "sh"), "running");
    let mut pty = rl.pty(["attach", "sh"]);
    pty.write("echo three''four; stty size\n");
    pty.expect("threefour");
    pty.expect("24 80");
    pty.write("exit 9\n");
    assert_eq!(pty.finish().0, 9);
    // What was shown after the first Client had left is kept.
    assert!(logs(&rl, "sh").contains("threefour"));
}

#[test]
fn a_detached_terminal_is_attached_to_with_other_keys() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["-it", "--name", "sh"], "exec sh");
    let mut pty = rl.pty(["attach", "--detach-keys", "ctrl-a,d", "sh"]);
    pty.write("echo o''k\n");
    pty.expect("ok");
    pty.write("\x01d");
    assert_eq!(pty.finish().0, 0);
    assert_eq!(status(&rl, "sh"), "running");
    rl.cmd(["attach", "--detach-keys", "ctrl-", "sh"]).code(125);
}

#[test]
fn on_failure_restarts_so_often_and_no_more() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "fails", "--restart", "on-failure:2"], "echo try; exit 3");
    comes_to(&rl, "fails", "exited");
    assert_eq!(logs(&rl, "fails"), "try\ntry\ntry");
    let state = rl.inspect("fails")["State"].clone();
    assert_eq!(state["ExitCode"], 3);
    detached(&rl, &["--name", "succeeds", "--restart", "on-failure"], "echo once");
    comes_to(&rl, "succeeds", "exited");
    assert_eq!(logs(&rl, "succeeds"), "once");
    rl.cmd(["run", "--rm", "--restart", "always", &image("alpine"), "true"]).code(125).says("exclude each other");
}

#[test]
fn always_restarts_until_a_person_stops_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "web", "--restart", "always"], "echo up; read x </never || exec sleep 1000");
    let pid = |rl: &Rl| rl.inspect("web")["State"]["Pid"].as_i64().filter(|&pid| pid > 0);
    let first = pid(&rl).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it runs again", || pid(&rl).is_some_and(|pid| pid != first));
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    assert_eq!(status(&rl, "web"), "exited");
    // Stopped between two attempts, too.
    detached(&rl, &["--name", "broken", "--restart", "always"], "exit 1");
    comes_to(&rl, "broken", "restarting");
    rl.cmd(["stop", "broken"]).ok();
    assert_eq!(status(&rl, "broken"), "exited");
    rl.cmd(["rm", "broken"]).ok();
}

#[test]
fn a_foreground_container_with_a_policy_shows_every_attempt() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let args = ["run", "--restart", "on-failure:1", &image("alpine"), "sh", "-c", "echo try; exit 3"];
    assert_eq!(rl.cmd(args).code(3).stdout(), "try\ntry");
}

#[test]
fn all_containers_are_removed_by_their_ids() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for name in ["a", "b", "c"] {
        detached(&rl, &["--name", name, "--restart", "always"], "exec sleep 1000");
    }
    rl.cmd(["create", &image("alpine"), "true"]).ok();
    let ids = rl.containers();
    assert_eq!(ids.len(), 4);
    rl.cmd(["rm", "-f"].into_iter().map(String::from).chain(ids)).ok();
    assert!(rl.containers().is_empty());
}

fn monitor_of(pid: i64) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_killed_monitor_leaves_a_lost_container_that_can_be_started_again() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "web"], "echo up; exec sleep 1000");
    let pid = rl.inspect("web")["State"]["Pid"].as_i64().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor_of(pid)), nix::sys::signal::Signal::SIGKILL).unwrap();
    comes_to(&rl, "web", "lost");
    eventually("its payload is gone", || !fs::exists(format!("/proc/{pid}/status")).unwrap());
    rl.cmd(["exec", "web", "true"]).code(1).says("is not running");
    rl.cmd(["stop", "web"]).ok();
    rl.cmd(["start", "web"]).ok();
    assert_eq!(status(&rl, "web"), "running");
}

#[test]
fn eight_starts_at_once_make_one_payload() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["create", "--name", "web", &image("alpine"), "sh", "-c", "echo up; exec sleep 1000"]).ok();
    let starts: Vec<_> = (0..8).map(|_| rl.start(["start", "web"])).collect();
    for start in starts {
        let run: Run = start.finish();
        run.ok();
    }
    assert_eq!(status(&rl, "web"), "running");
    eventually("it started once", || logs(&rl, "web") == "up");
}

#[test]
fn output_is_whole_in_the_log_and_split_nowhere() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, &["--name", "much"], "seq 1 20000");
    comes_to(&rl, "much", "exited");
    let wanted: Vec<String> = (1..=20000).map(|n| n.to_string()).collect();
    assert!(logs(&rl, "much").lines().eq(wanted.iter().map(String::as_str)));
    run(rl.command(["logs", "nonesuch"])).code(1);
}
