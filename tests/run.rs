//! `rl run`: a command in a new container, and its exit code.

mod support;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};
use support::{Feature, Rl, binary, eventually, image, images, in_shell, require, run};

#[test]
fn a_real_alpine_runs_with_us_as_its_root() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.sh(&[], "id -u; id -g").ok().stdout(), "0\n0");
    assert!(rl.sh(&[], "cat /etc/os-release").ok().stdout().contains("Alpine Linux"));
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn an_image_is_taken_from_a_layout_an_archive_and_dockers_archive() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let dir = images();
    for reference in
        ["oci:DIR/alpine", "oci:DIR/alpine:latest", "oci-archive:DIR/alpine.oci.tar", "docker-archive:DIR/alpine.docker.tar"]
    {
        let reference = reference.replace("DIR", &dir.to_string_lossy());
        assert_eq!(rl.cmd(["run", "--rm", &reference, "echo", "hello"]).ok().stdout(), "hello", "{reference}");
    }
}

#[test]
fn a_layouts_path_may_be_relative() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut command = rl.command(["run", "--rm", "oci:alpine", "echo", "hello"]);
    command.current_dir(images());
    assert_eq!(run(command).ok().stdout(), "hello");
}

#[test]
fn only_the_containers_own_processes_are_seen() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run = rl.sh(&[], "ps -o pid,args; true").ok();
    let lines: Vec<_> = run.stdout().lines().map(str::trim).collect();
    assert_eq!(lines[1..].len(), 2, "{run}");
    assert!(lines[1].starts_with("1 sh -c") && lines[2].ends_with("ps -o pid,args"), "{run}");
}

#[test]
fn the_exit_code_is_the_payloads_own() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for code in [0, 1, 3, 124, 125, 126, 127, 128, 137, 255] {
        rl.sh(&[], &format!("exit {code}")).code(code);
        rl.sh(&["--init"], &format!("exit {code}")).code(code);
    }
}

#[test]
fn killed_init_reports_128_plus_signal() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let payload = rl.start(["run", "--name", "victim", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    payload.expect("ready");
    let mut pid = 0;
    eventually("the record says it runs", || {
        pid = rl.inspect("victim")["State"]["Pid"].as_i64().expect("a pid");
        pid > 0
    });
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).expect("kill");
    payload.finish().code(137);
    assert_eq!(rl.inspect("victim")["State"]["ExitCode"], 137);
}

#[test]
fn a_payload_under_init_that_dies_by_a_signal_reports_128_plus_signal() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for (name, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("INT", 130)] {
        rl.sh(&["--init"], &format!("kill -{name} $$")).code(code);
    }
}

/// Prints `ready`, and at signal N `got N`; ends at TERM with 42.
const ANSWERS: &str = "for s in HUP INT USR1 USR2 WINCH CONT; do trap \"echo got $s\" $s; done
    trap 'echo got TERM; exit 42' TERM; echo ready; while :; do sleep 1000 & wait; done";

#[test]
fn signals_are_forwarded_and_the_code_is_what_the_payload_makes_of_them() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&[][..], &["--init"]] {
        let payload = support::Background::spawn(rl.alpine(flags, &["sh", "-c", ANSWERS]));
        payload.expect("ready");
        let signals = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];
        for signal in signals.into_iter().chain([Signal::SIGTERM]) {
            payload.signal(signal);
            payload.expect(&format!("got {}", &signal.as_str()[3..]));
        }
        payload.finish().code(42);
    }
}

#[test]
fn the_payload_starts_with_no_signal_ignored_or_blocked() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&[][..], &["--init"], &["-u", "1000"]] {
        let inside = rl.alpine(flags, &["grep", "^Sig", "/proc/self/status"]);
        let run = run(in_shell("sh", "trap '' HUP INT QUIT TERM PIPE CHLD USR1; exec \"$@\"", &inside)).ok();
        for set in ["SigBlk", "SigIgn", "SigCgt"] {
            assert!(run.stdout().contains(&format!("{set}:\t0000000000000000")), "{run}");
        }
    }
}

#[test]
fn what_cannot_be_run_gives_dockers_codes_and_says_why() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let script = rl.file("script", "#!/no/such/interpreter\n");
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let (script, plain) = (format!("{}:/script", script.display()), rl.file("plain", "text"));
    let plain = format!("{}:/plain", plain.display());
    for (command, code) in [
        ("no-such-command", 127),
        ("/no/such/command", 127),
        ("/etc/passwd/x", 127),
        ("/script", 127),
        ("/etc", 126),
        ("/etc/passwd", 126),
        ("/plain", 126),
    ] {
        let run = run(rl.alpine(&["-v", &script, "-v", &plain], &[command])).code(code).says(command);
        assert_eq!(run.stderr().lines().count(), 1, "{run}");
        assert!(run.stderr().starts_with("rl: cannot "), "{run}");
        assert_eq!(run.stdout(), "", "{run}");
    }
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn a_file_that_is_no_program_is_an_exec_format_error() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let file = rl.file("data", [0, 1, 2, 3]);
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    run(rl.alpine(&["-v", &format!("{}:/data", file.display())], &["/data"])).code(126).says("exec format error");
}

#[test]
fn a_command_is_searched_along_the_containers_path_as_the_containers_user() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let dir = rl.path("bin");
    for (name, mode) in [("closed/tool", 0o644), ("open/tool", 0o755)] {
        let file = rl.file(&format!("bin/{name}"), format!("#!/bin/sh\necho from {name}\n"));
        fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
    }
    let bind = format!("{}:/opt:ro", dir.display());
    let path = |path: &str, command: &str| run(rl.alpine(&["-v", &bind, "-e", &format!("PATH={path}")], &[command]));
    assert_eq!(path("/nowhere:/opt/closed:/opt/open", "tool").ok().stdout(), "from open/tool");
    path("/opt/closed", "tool").code(126).says("permission denied");
    path("/bin", "tool").code(127).says("not found in $PATH");
    // The host's PATH finds it; the container's does not.
    let mut outside = rl.alpine(&[], &["tool"]);
    outside.env("PATH", dir.join("open"));
    run(outside).code(127);
}

#[test]
fn what_follows_the_image_is_the_command() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run = run(rl.alpine(&[], &["echo", "--rm", "-it", "--name", "x", "--"])).ok();
    assert_eq!(run.stdout(), "--rm -it --name x --");
}

#[test]
fn an_unknown_flag_is_refused_and_nothing_is_made() {
    let rl = Rl::new();
    for flag in ["--gpus=all", "--memori=1g", "--privilegd", "-Z"] {
        let run = rl.cmd(["run", flag, "rootfs:/", "true"]).code(125);
        assert!(run.stderr().contains(&flag[..flag.find('=').unwrap_or(flag.len())]), "{run}");
        assert_eq!(run.stdout(), "");
    }
    assert!(!rl.store().join("containers").exists());
}

#[test]
fn the_container_id_goes_to_a_file_that_must_be_new() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let file = rl.path("cid");
    let flags = ["--cidfile", file.to_str().unwrap()];
    let hostname = rl.sh(&flags, "hostname").ok().stdout().to_string();
    let id = fs::read_to_string(&file).expect("the id file");
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(hostname, id[..12]);
    rl.sh(&flags, "true").code(125).says("cid");
    assert_eq!(fs::read_to_string(&file).unwrap(), id, "the old file is as it was");
    // What fails leaves no id behind.
    let other = rl.path("other");
    rl.cmd(["run", "--rm", "--cidfile", other.to_str().unwrap(), "-v", "/no/such:/x", &image("alpine"), "true"]).code(125);
    assert!(!other.exists());
}

#[test]
fn init_is_pid_1_and_reaps_orphans() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    // The inner shell ends at once, so its child becomes PID 1's; killed, it must leave /proc without anybody's help.
    let script = "cat /proc/1/comm; sh -c 'sleep 1000 & echo $! >/tmp/pid'; pid=$(cat /tmp/pid); kill $pid
        while [ -e /proc/$pid ]; do :; done; [ $$ != 1 ] && echo reaped";
    let run = rl.sh(&["--init"], script).ok();
    assert_eq!(run.stdout(), "rl:reaper\nreaped");
}

#[test]
fn what_a_payload_leaves_running_ends_with_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    // They hold the output, too: were one left, the harness would say so.
    rl.sh(&[], "sleep 1000 & exit 5").code(5);
    rl.sh(&["--init"], "sleep 1000 & setsid sleep 1000 & exit 5").code(5);
    rl.sh(&["-u", "1000"], "trap '' TERM HUP; sleep 1000 & exit 5").code(5);
}

#[test]
fn two_containers_from_one_image_do_not_see_each_others_changes() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.sh(&[], "echo changed >/etc/motd; rm /bin/ls; cat /etc/motd").ok().stdout(), "changed");
    assert_ne!(rl.sh(&[], "ls /bin/ls; cat /etc/motd").ok().stdout(), "/bin/ls\nchanged");
}

#[test]
fn version_and_help_are_no_failures() {
    let rl = Rl::new();
    assert!(rl.cmd(["--version"]).ok().stdout().starts_with("rl "));
    for verb in ["run", "ps", "rm", "inspect", "volume", "unshare", "info"] {
        assert!(rl.cmd([verb, "--help"]).ok().stdout().contains("Usage"), "{verb}");
    }
    rl.cmd([] as [&str; 0]).code(125);
    rl.cmd(["fly"]).code(125).says("fly");
}

#[test]
fn a_run_needs_no_home_and_no_environment() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let wanted = rl.alpine(&[], &["echo", "hello"]);
    let mut bare = Command::new(binary());
    bare.args(wanted.get_args()).env_clear().stdin(Stdio::null());
    assert_eq!(run(bare).ok().stdout(), "hello");
}
