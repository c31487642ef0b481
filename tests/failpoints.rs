//! kill -9 of every process of `rl` at every milestone: the next command works, listings are right, nothing is left.

mod support;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Command,
};
use support::{Background, Feature, HostState, Rl, Run, eventually, image, in_shell, require, run};

/// The milestones that are in the source, so that a new one is tested without being named here.
fn milestones() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut dirs = vec![Path::new(&package).join("src")];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir).expect("the source").map(|e| e.unwrap().path()) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                for call in ["milestone(\"", "milestone: \""] {
                    let calls = text.split(call).skip(1);
                    names.extend(calls.map(|call| call[..call.find('"').unwrap()].to_string()));
                }
            }
        }
    }
    names
}

/// Milestones of these processes or commands: the first word of their names. Those of images are tests/images_failpoints.rs's.
fn milestones_of(firsts: &[&str]) -> Vec<String> {
    let names: Vec<_> = milestones().into_iter().filter(|name| firsts.contains(&name.split('-').next().unwrap())).collect();
    assert!(names.len() >= firsts.len(), "{names:?}");
    names
}

/// The processes on the way of `rl run`.
const RUN: &[&str] = &["client", "monitor", "init"];

fn dying_at(milestone: &str, mut command: Command) -> Command {
    command.env("RL_FAILPOINT", milestone);
    command
}

/// The binary can be made to die: else every test here would pass for nothing.
fn assert_failpoints(rl: &Rl) {
    let run = run(dying_at("client-recorded", rl.alpine(&[], &["true"])));
    assert_eq!(run.status.signal(), Some(9), "is this rl built with --features failpoints? {run}");
    rl.cmd(["ps", "-a"]).ok();
}

/// (id, status) of every record.
fn listed(rl: &Rl) -> Vec<(String, String)> {
    let shown = rl.cmd(["ps", "-a"]).ok();
    let row = |line: &str| {
        let columns: Vec<_> = line.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
        (columns[0].to_string(), columns[4].to_string())
    };
    shown.stdout().lines().skip(1).map(row).collect()
}

/// No record, no name, no directory of a container, and the host as it was; and a new container can run.
#[track_caller]
fn nothing_is_left(rl: &Rl, before: &HostState, what: &str) {
    assert_eq!(rl.sh(&[], "echo next").ok().stdout(), "next", "after {what}");
    // One whose Client died lives on until its payload ends.
    eventually(&format!("nothing is listed after {what}"), || listed(rl).is_empty());
    for dir in ["containers", "names", "volumes"] {
        let is_empty = || fs::read_dir(rl.store().join(dir)).into_iter().flatten().next().is_none();
        // A Monitor may still be deleting what it has already made invisible.
        eventually(&format!("nothing is left in {dir}/ after {what}"), is_empty);
    }
    before.is_back();
}

/// Removes every record that is still listed.
fn remove_all(rl: &Rl) {
    for (id, _) in listed(rl) {
        rl.cmd(["rm", "-f", "-v", &id]).ok();
    }
}

/// The payload's own code, 3, is told only where the payload has ended and nobody died before that was reported.
#[track_caller]
fn told_the_truth(milestone: &str, run: &Run) {
    match milestone.split_once('-').unwrap() {
        ("client", _) => assert_eq!(run.status.signal(), Some(9), "{milestone}: {run}"),
        (_, "reported") => assert_eq!(run.status.code(), Some(3), "{milestone}: {run}"),
        ("init", _) => assert!(matches!(run.status.code(), Some(125 | 137)), "{milestone}: {run}"),
        _ => assert_eq!(run.status.code(), Some(125), "{milestone}: {run}"),
    }
}

#[test]
fn a_run_that_dies_at_a_milestone_leaves_nothing() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    for milestone in milestones_of(RUN) {
        for flags in [&["--rm"][..], &["--rm", "--init"], &["--rm", "-v", "/data"], &["--rm", "-t"]] {
            let alpine = image("alpine");
            let args = [&["run", "--name", "x"], flags, &[alpine.as_str(), "sh", "-c", "exit 3"]].concat();
            let run = run(dying_at(&milestone, rl.command(args)));
            told_the_truth(&milestone, &run);
            nothing_is_left(&rl, &before, &format!("{milestone} with {flags:?}"));
        }
    }
}

#[test]
fn a_run_that_dies_leaves_a_record_that_is_true_and_can_be_removed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    for milestone in milestones_of(RUN) {
        let args = ["run", "--name", "x", "-v", "/data", &image("alpine"), "sh", "-c", "exit 3"];
        let run = run(dying_at(&milestone, rl.command(args)));
        told_the_truth(&milestone, &run);
        // Whoever is left finishes its work; then the record says what is known, and nothing else.
        eventually("no container is running", || listed(&rl).iter().all(|(_, status)| !status.starts_with("Up")));
        let records = listed(&rl);
        assert!(records.len() <= 1, "{milestone}: {records:?}");
        for (id, status) in &records {
            let known = ["Created", "Lost", "Exited (3)", "Exited (137)", "Exited (125)"];
            assert!(known.iter().any(|k| status.starts_with(k)), "{milestone}: {status}; {run}");
            let state = rl.inspect(id)["State"].clone();
            assert_eq!(status.starts_with("Lost"), state["ExitCode"].is_null(), "{milestone}: {status}, {state}");
        }
        remove_all(&rl);
        nothing_is_left(&rl, &before, &milestone);
    }
}

#[test]
fn the_name_of_a_temporary_container_that_died_can_be_used_again() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    for milestone in milestones_of(RUN) {
        run(dying_at(&milestone, rl.command(["run", "--rm", "--name", "x", &image("alpine"), "sh", "-c", "exit 3"])));
        // At once, or when what outlived the Client has ended; and without any other command in between.
        eventually(&format!("the name is free after {milestone}"), || {
            rl.cmd(["run", "--rm", "--name", "x", &image("alpine"), "true"]).status.success()
        });
    }
}

#[test]
fn a_removal_that_dies_at_a_milestone_is_finished_by_the_next_command() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    for milestone in milestones_of(&["rm"]) {
        for running in [false, true] {
            let script = if running { "echo ready; exec sleep 1000" } else { "mkdir -p /d/e; chown 1000 /d/e; echo ready" };
            let mut container = Some(rl.start(["run", "--name", "x", "-v", "/data", &image("alpine"), "sh", "-c", script]));
            container.as_ref().unwrap().expect("ready");
            if !running {
                container.take().unwrap().finish().ok();
            }
            run(dying_at(&milestone, rl.command(["rm", "-f", "-v", "x"])));
            // Removed, or still there and removable.
            assert!(listed(&rl).len() <= 1, "{milestone}");
            rl.cmd(["rm", "-f", "-v", "x"]).ok();
            if let Some(container) = container {
                container.finish().code(137);
            }
            nothing_is_left(&rl, &before, &format!("{milestone}, running: {running}"));
        }
    }
}

/// A container that says `ready` and then waits for a line in the FIFO of its home, and ends with 9.
fn waiting(rl: &Rl, flags: &[&str]) -> (Background, PathBuf) {
    let fifo = rl.home().join("fifo");
    let _ = fs::remove_file(&fifo);
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::set_permissions(&fifo, PermissionsExt::from_mode(0o666)).unwrap();
    let bind = format!("{}:/home", rl.home().display());
    let script = "echo ready; read x </home/fifo; seq 1 100000; exit 9";
    let alpine = image("alpine");
    let container = rl.start([&["run", "--name", "x", "-v", &bind], flags, &[&alpine, "sh", "-c", script]].concat());
    container.expect("ready");
    (container, fifo)
}

fn payload(rl: &Rl) -> i32 {
    rl.inspect("x")["State"]["Pid"].as_i64().expect("a pid").try_into().unwrap()
}

fn monitor(rl: &Rl) -> i32 {
    let status = fs::read_to_string(format!("/proc/{}/status", payload(rl))).unwrap();
    status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill -9");
}

const WAYS: [&[&str]; 4] = [&[], &["-u", "1000"], &["-t"], &["--init"]];

#[test]
fn a_container_lives_on_without_its_client_and_its_code_is_known() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    for flags in WAYS {
        let (client, fifo) = waiting(&rl, flags);
        kill_9(client.pid());
        assert!(listed(&rl)[0].1.starts_with("Up"), "with {flags:?}");
        fs::write(fifo, "go\n").unwrap();
        // What it prints now nobody reads; it must not hang or die of that.
        eventually("its end", || listed(&rl)[0].1.starts_with("Exited"));
        assert!(listed(&rl)[0].1.starts_with("Exited (9)"), "with {flags:?}: {:?}", listed(&rl));
        client.finish().killed_by(9);
        remove_all(&rl);
        nothing_is_left(&rl, &before, &format!("kill -9 of Client with {flags:?}"));
    }
}

#[test]
fn a_container_that_outlives_its_client_holds_nothing_of_the_callers() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    let canary = rl.file("canary", "");
    for flags in [&["-u", "1000"][..], &["-t"]] {
        let inside =
            rl.command([&["run", "--name", "x"], flags, &[&image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]].concat());
        let leak = format!("exec 10<{0} 251<{0}; exec \"$@\"", canary.display());
        let client = Background::spawn(in_shell("bash", &leak, &inside));
        client.expect("ready");
        kill_9(client.pid());
        // Neither its output, for whose end somebody may wait, nor what it had open by chance.
        client.finish().killed_by(9);
        let holders: Vec<_> =
            fs::read_dir("/proc").unwrap().flatten().filter(|process| holds(&process.path(), &canary)).collect();
        assert!(holders.is_empty(), "with {flags:?}: {holders:?}");
        assert!(listed(&rl)[0].1.starts_with("Up"), "with {flags:?}");
        remove_all(&rl);
    }
}

/// Whether this process has the file open.
fn holds(process: &Path, file: &Path) -> bool {
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == file))
}

#[test]
fn a_temporary_container_without_its_client_goes_when_it_ends() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    for flags in WAYS {
        let (client, fifo) = waiting(&rl, &[flags, &["--rm", "-v", "/data"]].concat());
        kill_9(client.pid());
        assert_eq!(listed(&rl).len(), 1, "with {flags:?}");
        fs::write(fifo, "go\n").unwrap();
        eventually("its end", || listed(&rl).is_empty());
        client.finish().killed_by(9);
        nothing_is_left(&rl, &before, &format!("kill -9 of Client with --rm {flags:?}"));
    }
}

#[test]
fn a_payload_dies_with_its_monitor_and_no_code_is_invented() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    for flags in WAYS {
        let (client, _) = waiting(&rl, flags);
        let pid = payload(&rl);
        kill_9(monitor(&rl));
        let run = client.finish().code(125).says("monitor");
        assert!(run.stderr().starts_with("rl: "), "{run}");
        eventually("the payload's end", || !Path::new(&format!("/proc/{pid}")).exists());
        assert_eq!(listed(&rl)[0].1, "Lost", "with {flags:?}");
        assert!(rl.inspect("x")["State"]["ExitCode"].is_null());
        remove_all(&rl);
        nothing_is_left(&rl, &before, &format!("kill -9 of Monitor with {flags:?}"));
    }
}

#[test]
fn a_temporary_container_is_swept_away_after_its_monitor_was_killed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    let (client, _) = waiting(&rl, &["--rm", "-v", "/data"]);
    kill_9(monitor(&rl));
    client.finish().code(125);
    nothing_is_left(&rl, &before, "kill -9 of Monitor with --rm");
}

#[test]
fn client_and_monitor_killed_together_leave_a_lost_container() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    let (client, _) = waiting(&rl, &[]);
    let monitor = monitor(&rl);
    kill_9(client.pid());
    kill_9(monitor);
    client.finish().killed_by(9);
    eventually("it is known to be lost", || listed(&rl)[0].1 == "Lost");
    remove_all(&rl);
    nothing_is_left(&rl, &before, "kill -9 of both");
}

#[test]
fn a_killed_init_is_an_exit_by_signal() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let before = HostState::now();
    for flags in [&[][..], &["-t"], &["--init"]] {
        let (client, _) = waiting(&rl, flags);
        kill_9(payload(&rl));
        client.finish().code(137);
        assert!(listed(&rl)[0].1.starts_with("Exited (137)"), "with {flags:?}");
        remove_all(&rl);
        nothing_is_left(&rl, &before, &format!("kill -9 of Init with {flags:?}"));
    }
}

#[test]
fn a_new_container_can_start_while_the_dead_are_not_yet_cleared_away() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    let before = HostState::now();
    for milestone in milestones_of(RUN) {
        run(dying_at(&milestone, rl.alpine(&["-v", "/data"], &["true"])));
    }
    nothing_is_left(&rl, &before, "one death at each milestone");
}

/// A container whose processes die at `milestone`, detached. Its start is not affected.
fn doomed(rl: &Rl, milestone: &str) {
    run(dying_at(milestone, rl.command(["run", "-d", "--name", "x", &image("alpine"), "sleep", "1000"]))).ok();
}

#[test]
fn an_exec_that_dies_at_a_milestone_leaves_a_container_that_is_true() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    for milestone in milestones_of(&["joiner", "exec"]) {
        doomed(&rl, &milestone);
        let failed = rl.cmd(["exec", "x", "sh", "-c", "exit 3"]);
        assert!(failed.status.code().is_some_and(|code| code != 0 && code != 3), "{milestone}: {failed}");
        // The Joiner's death is its own; the Monitor's ends the container.
        let wanted = if milestone.starts_with("joiner") { "Up" } else { "Lost" };
        eventually(&format!("{milestone}: {wanted}"), || listed(&rl).iter().all(|(_, status)| status.starts_with(wanted)));
        remove_all(&rl);
        nothing_is_left(&rl, &before, &milestone);
    }
}

#[test]
fn a_stop_that_dies_at_a_milestone_can_be_repeated() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    for milestone in milestones_of(&["stop"]).into_iter().chain(["monitor-reaped".into(), "monitor-ended".into()]) {
        doomed(&rl, &milestone);
        rl.cmd(["stop", "-t", "0", "x"]);
        rl.cmd(["stop", "-t", "0", "x"]).ok();
        let (_, status) = listed(&rl)[0].clone();
        assert!(status.starts_with("Lost") || status.starts_with("Exited (137)"), "{milestone}: {status}");
        remove_all(&rl);
        nothing_is_left(&rl, &before, &milestone);
    }
}

/// The processes on the way of a container onto a network and off it again.
const NETWORK: &[&str] = &["network", "connector", "hub"];

/// Two networks with one address each, which is soon missed.
fn narrow_networks(rl: &Rl) {
    for (name, subnet) in [("front", "10.77.0.0/30"), ("back", "10.77.1.0/30")] {
        rl.cmd(["network", "create", "--subnet", subnet, name]).ok();
    }
}

/// Nobody is on a network or has an address of one, a container can be, and the host is as it was.
#[track_caller]
fn no_address_is_taken(rl: &Rl, before: &HostState, what: &str) {
    eventually(&format!("nothing is listed after {what}"), || listed(rl).is_empty());
    for network in ["front", "back"] {
        let joined = rl.sh(&["--network", network], "ip -o -4 addr show dev eth0 | wc -l");
        assert_eq!((joined.status.code(), joined.stdout(), joined.stderr()), (Some(0), "1", ""), "{network} after {what}");
        assert_eq!(
            rl.cmd(["network", "inspect", "-f", "{{len .Containers}}", network]).ok().stdout(),
            "0",
            "{network} after {what}"
        );
    }
    let unused = rl.cmd(["network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}"]).ok();
    assert_eq!(unused.stdout(), "back\nfront", "after {what}");
    before.is_back();
}

#[test]
fn a_start_on_a_network_that_dies_leaves_no_address_taken() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    narrow_networks(&rl);
    let died = |milestone: &String| {
        let args = ["run", "--rm", "--network", "front", &image("alpine"), "sh", "-c", "exit 3"];
        let run = run(dying_at(milestone, rl.command(args)));
        no_address_is_taken(&rl, &before, milestone);
        // One that is not on this way changes nothing.
        run.status.code() != Some(3)
    };
    let deadly = milestones_of(&[RUN, NETWORK].concat()).into_iter().filter(died).count();
    assert!(deadly > 12, "{deadly}");
}

#[test]
fn a_network_whose_first_container_never_joined_is_free_for_another_user_namespace() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    rl.cmd(["network", "create", "front"]).ok();
    let start = |name: &str, milestones: &str| {
        let mut command = rl.command(["run", "--rm", "--name", name, "--network", "front", &image("alpine"), "true"]);
        command.env("RL_FAILPOINT", milestones);
        Background::spawn(command)
    };
    let first = start("first", "stop:connector-began-hub,stop:hub-forked");
    let beginner = Stopped::found("rl[first]: connector");
    let hub = Stopped::found("rl[front]: hub");
    drop(beginner);
    first.finish().code(125);
    // Nobody is left in that user namespace but the hub, which finds this one waiting and the other gone.
    let second = start("second", "stop:connector-asked");
    let newcomer = Stopped::found("rl[second]: connector");
    hub.go_on();
    newcomer.go_on();
    // It asks the hub that it starts itself.
    Stopped::found("rl[second]: connector").go_on();
    second.finish().ok();
}

/// A process that has stopped; it dies with this, or goes on.
struct Stopped(Pid);

impl Stopped {
    /// The one with this title; waits until it has.
    #[track_caller]
    fn found(title: &str) -> Stopped {
        let read = |pid: i32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let is_meant = |pid: &i32| read(*pid, "cmdline").starts_with(title) && read(*pid, "stat").contains(") T ");
        let mut found = None;
        eventually(&format!("{title} stops"), || {
            let processes = fs::read_dir("/proc").unwrap().map(Result::unwrap);
            found = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_meant);
            found.is_some()
        });
        Stopped(Pid::from_raw(found.unwrap()))
    }

    fn go_on(self) {
        kill(self.0, Signal::SIGCONT).unwrap();
        std::mem::forget(self);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn what_joins_or_leaves_a_network_and_dies_leaves_no_address_taken() {
    require!(Feature::SubIds, Feature::Image("alpine"));
    let rl = Rl::alone();
    assert_failpoints(&rl);
    let before = HostState::now();
    narrow_networks(&rl);
    for milestone in milestones_of(NETWORK) {
        // Who asks dies, or who is asked: Monitor, connector or hub, which have what the start had.
        for (start, change) in [(false, true), (true, false)] {
            let command = |dies: bool, args: &[&str]| match dies {
                true => run(dying_at(&milestone, rl.command(args))),
                false => rl.cmd(args),
            };
            command(start, &["run", "-d", "--name", "x", "--network", "front", &image("alpine"), "sleep", "1000"]);
            let what = format!("{milestone} of {}", if start { "a container" } else { "a command" });
            command(change, &["network", "connect", "back", "x"]);
            command(change, &["network", "disconnect", "front", "x"]);
            // Whatever became of it, it is as its record says.
            if listed(&rl).iter().any(|(_, status)| status.starts_with("Up")) {
                let networks = rl.inspect("x")["NetworkSettings"]["Networks"].as_object().unwrap().clone();
                let addresses: BTreeSet<&str> = networks
                    .values()
                    .filter_map(|place| place["IPAddress"].as_str())
                    .filter(|address| !address.is_empty())
                    .collect();
                eventually(&format!("{addresses:?} after {what}"), || {
                    let seen = rl.cmd([
                        "exec",
                        "x",
                        "sh",
                        "-c",
                        "ip -o -4 addr | sed -n 's,.* eth.* inet \\(.*\\)/.*,\\1,p' | cut -d/ -f1",
                    ]);
                    seen.stdout().lines().collect::<BTreeSet<_>>() == addresses
                });
            }
            remove_all(&rl);
            no_address_is_taken(&rl, &before, &what);
        }
    }
    rl.cmd(["network", "prune", "-f"]).ok();
    assert_eq!(rl.cmd(["network", "ls", "-q"]).ok().stdout(), "");
}
