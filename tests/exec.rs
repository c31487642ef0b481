//! `rl exec`: other processes in a running container.

mod support;
use std::fs;
use support::{Feature, Rl, eventually, image, probe, require, run, while_swapping};

/// A container that does nothing, with these flags.
#[track_caller]
fn idle(rl: &Rl, flags: &[&str]) {
    let alpine = image("alpine");
    rl.cmd([&["run", "-d", "--name", "box"], flags, &[alpine.as_str(), "sleep", "1000"]].concat()).ok();
}

#[test]
fn the_exit_code_is_the_commands() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    rl.cmd(["exec", "box", "true"]).ok();
    rl.cmd(["exec", "box", "sh", "-c", "exit 42"]).code(42);
    rl.cmd(["exec", "box", "sh", "-c", "kill -9 $$"]).code(137);
    rl.cmd(["exec", "box", "nonesuch"]).code(127).says("executable file not found");
    rl.cmd(["exec", "box", "/etc/passwd"]).code(126).says("permission denied");
    rl.cmd(["exec", "nonesuch", "true"]).code(1).says("no such container");
    rl.cmd(["stop", "-t", "0", "box"]).ok();
    rl.cmd(["exec", "box", "true"]).code(1).says("is not running");
}

#[test]
fn streams_pass_through() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    let run = rl.cmd_with_input(["exec", "-i", "box", "sh", "-c", "cat; echo err >&2"], "in\n").ok();
    assert_eq!((run.stdout(), run.stderr()), ("in", "err"));
    // Without -i there is no input.
    assert_eq!(rl.cmd_with_input(["exec", "box", "cat"], "in\n").ok().stdout(), "");
}

#[test]
fn user_directory_and_environment_are_the_containers_unless_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &["-e", "A=1", "-w", "/srv/app", "-u", "nobody"]);
    assert_eq!(rl.cmd(["exec", "box", "sh", "-c", "echo $A; pwd; id -un; echo $HOME"]).ok().stdout(), "1\n/srv/app\nnobody\n/");
    let script = "echo $A $B; pwd; id -u; id -g; echo $HOME";
    let run = rl.cmd(["exec", "-e", "A=2", "-e", "B=3", "-w", "/tmp", "-u", "root", "box", "sh", "-c", script]).ok();
    assert_eq!(run.stdout(), "2 3\n/tmp\n0\n0\n/root");
    assert_eq!(
        rl.cmd(["exec", "-u", "5:7", "box", "id"]).ok().stdout().split(' ').take(2).collect::<Vec<_>>(),
        ["uid=5(sync)", "gid=7(lp)"]
    );
    rl.cmd(["exec", "-u", "nonesuch", "box", "true"]).says("nonesuch");
    rl.cmd(["exec", "-w", "/nonesuch", "box", "true"]).says("cannot use the working directory /nonesuch");
    let file = rl.file("env", "C=4\n");
    assert_eq!(rl.cmd(["exec", "--env-file", file.to_str().unwrap(), "box", "sh", "-c", "echo $C"]).ok().stdout(), "4");
}

#[test]
fn a_working_directory_cannot_be_a_leaked_descriptor() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    // CVE-2024-21626: every number that could be the host's.
    for fd in (3..64).chain([100, 255]) {
        let run = rl.cmd(["exec", "-w", &format!("/proc/self/fd/{fd}"), "box", "pwd"]);
        assert!(!run.status.success(), "{fd}: {run}");
    }
}

#[test]
fn what_is_executed_sees_what_the_payload_sees_and_may_no_more() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let bind = format!("{}:/probe:ro", probe().display());
    let flags = ["-v", bind.as_str(), "--cap-drop", "CHOWN", "--ulimit", "nofile=100:200"];
    for more in [&[][..], &["--init"], &["-u", "1000"]] {
        idle(&rl, &[&flags[..], more].concat());
        let inside = rl.cmd(["exec", "-e", "SECRET=1", "box", "/probe"]).ok().json();
        let alpine = image("alpine");
        let own = rl.cmd([&["run", "--rm"], &flags[..], more, &[alpine.as_str(), "/probe"]].concat()).ok().json();
        let numbers = |seen: &serde_json::Value| seen["fds"].as_object().map(|fds| fds.keys().cloned().collect::<Vec<_>>());
        assert_eq!(numbers(&inside), numbers(&own), "fds with {more:?}");
        for key in ["caps", "uid", "gid", "groups", "uid_map"] {
            assert_eq!(inside[key], own[key], "{key} with {more:?}");
        }
        let ns = "for kind in net mnt uts ipc user; do readlink /proc/self/ns/$kind; done";
        let of_payload = ns.replace("self", "1");
        if !more.contains(&"--init") && more.is_empty() {
            let both = rl.cmd(["exec", "box", "sh", "-c", &format!("{ns}; {of_payload}")]).ok();
            let lines: Vec<_> = both.stdout().lines().collect();
            assert_eq!(lines[..5], lines[5..], "{more:?}");
        }
        rl.cmd(["rm", "-f", "box"]).ok();
    }
}

#[test]
fn privileged_gives_all_capabilities_of_the_user_namespace() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    let caps = |flags: &[&str]| {
        let args =
            [&["exec"], flags, &["box", "sh", "-c", "grep CapEff /proc/self/status; grep CapInh /proc/self/status"]].concat();
        rl.cmd(args).ok().stdout().to_string()
    };
    assert_ne!(caps(&[]), caps(&["--privileged"]));
    assert!(caps(&["--privileged"]).ends_with("0000000000000000"), "nothing is inheritable");
}

#[test]
fn a_terminal_has_the_callers_size_and_gives_the_exit_code() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    let mut pty = rl.pty(["exec", "-it", "box", "sh"]);
    pty.write("stty size; tty; echo o''k; exit 4\n");
    pty.expect("24 80");
    pty.expect("/dev/pts/");
    pty.expect("ok");
    assert_eq!(pty.finish().0, 4);
    rl.cmd(["exec", "-it", "box", "sh"]).code(1).says("not a terminal");
}

#[test]
fn a_detached_command_stays_when_its_client_goes() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    assert_eq!(rl.cmd(["exec", "-d", "box", "sh", "-c", "echo done >/done; exec sleep 777"]).ok().stdout(), "");
    eventually("it ran", || rl.cmd(["exec", "box", "cat", "/done"]).stdout() == "done");
    assert!(rl.cmd(["exec", "box", "ps"]).ok().stdout().contains("sleep 777"));
}

#[test]
fn what_is_executed_dies_with_its_client_with_all_that_it_has_started() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&[][..], &["--init"]] {
        idle(&rl, flags);
        let client = rl.start(["exec", "box", "sh", "-c", "sleep 778 & echo up; sleep 779"]);
        client.expect("up");
        client.signal(nix::sys::signal::Signal::SIGKILL);
        let _ = client.finish();
        eventually("both are gone", || {
            let shown = rl.cmd(["exec", "box", "ps"]).ok();
            !shown.stdout().contains("sleep 778") && !shown.stdout().contains("sleep 779")
        });
        rl.cmd(["rm", "-f", "box"]).ok();
    }
}

#[test]
fn signals_are_passed_on_to_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    let client = rl.start(["exec", "box", "sh", "-c", "trap 'exit 8' TERM; echo up; while :; do sleep 1 & wait; done"]);
    client.expect("up");
    client.signal(nix::sys::signal::Signal::SIGTERM);
    client.finish().code(8);
}

#[test]
fn the_containers_end_is_its_end() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    let client = rl.start(["exec", "box", "sh", "-c", "echo up; exec sleep 1000"]);
    client.expect("up");
    rl.cmd(["kill", "box"]).ok();
    client.finish().code(137);
}

#[test]
fn a_foreground_container_can_be_executed_in_and_stopped() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let front = rl.start([
        "run",
        "--name",
        "front",
        &image("alpine"),
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo up; while :; do sleep 1000 & wait; done",
    ]);
    front.expect("up");
    assert_eq!(rl.cmd(["exec", "front", "echo", "in"]).ok().stdout(), "in");
    rl.cmd(["stop", "front"]).ok();
    front.finish().code(5);
    rl.cmd(["logs", "front"]).code(1).says("went straight to");
}

#[test]
fn a_hostile_root_does_not_stand_in_for_the_kernels_files() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &[]);
    // A FIFO for a passwd hangs nobody, a file for /dev/null is not written.
    rl.cmd(["exec", "box", "sh", "-c", "mv /etc/passwd /etc/p; mkfifo /etc/passwd"]).ok();
    rl.cmd(["exec", "box", "true"]).says("not a regular file");
    rl.cmd(["stop", "-t", "0", "box"]).ok();
    assert!(fs::read_dir(rl.store()).is_ok());
}

#[test]
fn nothing_of_its_clients_environment_nor_of_another_commands_reaches_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    idle(&rl, &["-e", "OWN=1"]);
    rl.cmd(["exec", "-e", "OTHERS=1", "box", "true"]).ok();
    let mut command = rl.command(["exec", "-e", "GIVEN", "-e", "ABSENT", "box", "env"]);
    command.env("SECRET_CANARY", "secret").env("GIVEN", "yes");
    let seen = run(command).ok();
    let mut names: Vec<&str> = seen.stdout().lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["GIVEN", "HOME", "HOSTNAME", "OWN", "PATH"], "{seen}");
    rl.cmd(["rm", "-f", "box"]).ok();
}

#[test]
fn a_matrix_of_users_gives_exact_ids_and_groups() {
    require!(Feature::Image("alpine"), Feature::Probe, Feature::SubIds);
    let rl = Rl::new();
    let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/:/bin/sh\nbob:x:1:1::/:/bin/sh\n";
    let group = "root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:ann\nannex:x:30:anna,xann\n";
    let (passwd, group) = (rl.file("passwd", passwd), rl.file("group", group));
    let bind = |file: &std::path::Path, at: &str| format!("{}:{at}:ro", file.display());
    let binds = [bind(&probe(), "/probe"), bind(&passwd, "/etc/passwd"), bind(&group, "/etc/group")];
    idle(&rl, &["-u", "bob", "--group-add", "44", "-v", &binds[0], "-v", &binds[1], "-v", &binds[2]]);
    for (flags, uid, gid, groups) in [
        (&["-u", "ann"][..], 1000, 100, &[10, 29][..]),
        (&["-u", "1000"], 1000, 100, &[10, 29]),
        (&["-u", "ann:wheel"], 1000, 10, &[]),
        (&["-u", "bob"], 1, 1, &[]),
        (&["-u", "root"], 0, 0, &[10]),
        (&["-u", "2"], 2, 0, &[]),
        (&["-u", "2:3"], 2, 3, &[]),
    ] {
        let seen = rl.cmd([&["exec"], flags, &["box", "/probe"]].concat()).ok().json();
        let extra: Vec<u64> =
            seen["groups"].as_array().unwrap().iter().filter_map(|g| g.as_u64()).filter(|g| *g != gid && *g != 44).collect();
        assert_eq!(seen["uid"], serde_json::json!([uid, uid, uid]), "{flags:?}");
        assert_eq!(seen["gid"], serde_json::json!([gid, gid, gid]), "{flags:?}");
        assert_eq!(extra, groups, "{flags:?}");
    }
    for user in ["4294967296", "-1", "nonesuch", "4294967295"] {
        let refused = rl.cmd(["exec", &format!("--user={user}"), "box", "/probe"]);
        assert!(!refused.status.success(), "{refused}");
    }
    rl.cmd(["rm", "-f", "box"]).ok();
}

#[test]
fn user_files_that_change_meanwhile_hang_nobody_and_lead_nowhere() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let own = rl.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:7:7::/:/bin/sh\n");
    let dir = own.parent().unwrap();
    let canary = rl.file("canary", "ann:x:4242:4242::/:/bin/sh\n");
    std::os::unix::fs::symlink(&canary, dir.join("link")).unwrap();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    idle(&rl, &["-v", &format!("{}:/etc", dir.display())]);
    for other in ["link", "fifo"] {
        while_swapping(&own, &dir.join(other), || {
            for _ in 0..60 {
                let run = rl.cmd(["exec", "-u", "ann", "box", "id", "-u"]);
                assert!(!run.status.success() || matches!(run.stdout(), "7"), "{run}");
            }
        });
        // Whichever of the two names the file has now.
        if !std::fs::symlink_metadata(&own).unwrap().is_file() {
            std::fs::rename(&own, dir.join("aside")).unwrap();
            std::fs::rename(dir.join(other), &own).unwrap();
        }
    }
    rl.cmd(["rm", "-f", "box"]).ok();
}
