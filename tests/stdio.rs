//! The payload's streams where it has no terminal: what comes in, what goes out, and what is never handed on.

mod support;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Stdio,
};
use support::{Background, Feature, Rl, image, in_shell, require, run, run_as_is, run_from, run_with_input};

/// As container root, who owns the caller's pipes, and as another user, who gets pipes of its own.
const USERS: [&str; 2] = ["0", "1000"];

/// 10 MB without a pattern that a lost or doubled block could hide in.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..10 << 20).step_by(8).flat_map(|_| next()).collect()
}

#[test]
fn ten_megabytes_pass_through_intact() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let noise = noise();
    for user in USERS {
        let run = run_with_input(rl.alpine(&["-i", "-u", user], &["cat"]), noise.clone()).ok();
        assert!(run.bytes() == noise, "as {user}: {} of {} bytes", run.bytes().len(), noise.len());
    }
}

#[test]
fn ten_megabytes_pass_through_files_intact() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let noise = noise();
    let from = rl.file("from", &noise);
    for user in USERS {
        let to = rl.path(format!("to-{user}"));
        let mut command = rl.alpine(&["-i", "-u", user], &["cat"]);
        command.stdin(File::open(&from).unwrap()).stdout(File::create(&to).unwrap());
        assert!(run_as_is(command).success());
        assert!(fs::read(&to).unwrap() == noise, "as {user}");
    }
}

#[test]
fn everything_written_before_the_end_arrives_with_the_exit_code() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let run = rl.sh(&["-u", user], "seq 1 300000; seq 1 300000 >&2; exit 7").code(7);
        for text in [run.stdout(), run.stderr()] {
            assert!(text.lines().eq((1..=300_000).map(|n| n.to_string())), "as {user}: {} bytes", text.len());
        }
    }
}

#[test]
fn stdout_and_stderr_stay_apart() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let run = rl.sh(&["-u", user], "echo out; echo err >&2").ok();
        assert_eq!((run.stdout(), run.stderr()), ("out", "err"), "as {user}");
    }
}

#[test]
fn any_user_can_open_its_own_streams_by_name() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let script = "cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr; echo more >>/proc/self/fd/1";
        let run = run_with_input(rl.alpine(&["-i", "-u", user], &["sh", "-c", script]), "in\n".into()).ok();
        assert_eq!((run.stdout(), run.stderr()), ("in\nout\nmore", "err"), "as {user}");
    }
}

#[test]
fn the_end_of_the_input_reaches_the_payload() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let count = Background::spawn(rl.alpine(&["-i", "-u", user], &["sh", "-c", "echo ready; wc -c"]));
        count.expect("ready");
        let mut count = count;
        count.write("12345");
        count.close_stdin();
        assert_eq!(count.finish().ok().stdout(), "ready\n5", "as {user}");
    }
}

#[test]
fn input_comes_as_it_is_typed() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let mut cat = Background::spawn(rl.alpine(&["-i", "-u", user], &["cat"]));
        for line in ["one\n", "two\n"] {
            cat.write(line);
            cat.expect(line);
        }
        cat.finish().ok();
    }
}

#[test]
fn a_payload_that_does_not_read_ends_all_the_same() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        run_with_input(rl.alpine(&["-i", "-u", user], &["sh", "-c", "exit 4"]), noise()).code(4);
        // Nor does an input that never ends and never comes keep it.
        let (silent, _held) = nix::unistd::pipe().unwrap();
        run_from(rl.alpine(&["-i", "-u", user], &["sh", "-c", "exit 5"]), silent).code(5);
    }
}

#[test]
fn a_reader_that_leaves_ends_the_writer() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let inside = rl.alpine(&["-u", user], &["sh", "-c", "yes; echo ended >&2; exit 6"]);
        let run = run(in_shell("bash", "\"$@\" | head -n1; exit ${PIPESTATUS[0]}", &inside)).code(6).says("ended");
        assert_eq!(run.stdout(), "y", "as {user}");
    }
}

#[test]
fn without_i_stdin_is_the_null_device() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let command = rl.alpine(&["-u", user], &["sh", "-c", "stat -Lc %t:%T /proc/self/fd/0; cat"]);
        assert_eq!(run_with_input(command, "not for you".into()).ok().stdout(), "1:3", "as {user}");
    }
}

#[test]
fn a_directory_is_not_handed_on() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    rl.file("dir/secret", "host's");
    let script = "for n in 0 1 2; do [ -d /proc/self/fd/$n ] && touch /proc/self/fd/$n/escaped; done; cat /proc/self/fd/*/secret; ls -l /proc/self/fd";
    for user in USERS {
        let run = run_from(rl.alpine(&["-i", "-u", user], &["sh", "-c", script]), File::open(rl.path("dir")).unwrap());
        assert!(!run.stdout().contains("host's") && !run.stdout().contains("/dir"), "as {user}: {run}");
        assert!(!rl.path("dir/escaped").exists());
    }
}

#[test]
fn a_socket_is_relayed_and_not_handed_on() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let end = || Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
        let script = "readlink /proc/self/fd/0; readlink /proc/self/fd/1; cat; exit 8";
        let mut command = rl.alpine(&["-i", "-u", user], &["sh", "-c", script]);
        command.stdin(end()).stdout(end());
        drop(theirs);
        ours.write_all(b"across\n").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(run_as_is(command).code(), Some(8));
        let mut shown = String::new();
        ours.read_to_string(&mut shown).unwrap();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].starts_with("pipe:") && lines[1].starts_with("pipe:") && lines[2] == "across", "as {user}: {shown}");
    }
}

#[test]
fn a_device_of_the_host_is_relayed_and_not_handed_on() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let command = rl.alpine(&["-i", "-u", user], &["sh", "-c", "readlink /proc/self/fd/0; head -c 4 | wc -c"]);
        let run = run_from(command, File::open("/dev/urandom").unwrap()).ok();
        assert!(run.stdout().starts_with("pipe:") && run.stdout().ends_with("\n4"), "as {user}: {run}");
    }
}

#[test]
fn closed_streams_are_no_trouble() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let file = rl.path("result");
    let bind = format!("{}:/home", rl.home().display());
    for (user, closing) in [("0", "<&- >&- 2>&-"), ("1000", "<&- >&- 2>&-"), ("0", "<&-"), ("0", ">&-")] {
        let inside =
            rl.alpine(&["-i", "-u", user, "-v", &bind], &["sh", "-c", "echo fine; echo $(ls /proc/self/fd) >&2; exit 9"]);
        run(in_shell("sh", &format!("\"$@\" {closing}; echo $? >{}", file.display()), &inside)).ok();
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), "9", "as {user}, {closing}");
    }
}

#[test]
fn the_callers_descriptors_keep_their_flags() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let (read, write) = nix::unistd::pipe().unwrap();
    let flags = |fd: &OwnedFd| OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
    let before = (flags(&read), flags(&write));
    let own = |fd: &OwnedFd| fd.as_fd().try_clone_to_owned().unwrap();
    for user in USERS {
        let mut command = rl.alpine(&["-i", "-u", user], &["sh", "-c", "echo out; exit 0"]);
        command.stdin(own(&read)).stdout(own(&write));
        assert!(run_as_is(command).success());
        assert_eq!((flags(&read), flags(&write)), before, "as {user}");
    }
}

#[test]
fn a_slow_reader_loses_nothing() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in USERS {
        let inside = rl.alpine(&["-u", user], &["seq", "1", "100000"]);
        let run = run(in_shell("bash", "\"$@\" | dd bs=97 status=none; exit ${PIPESTATUS[0]}", &inside)).ok();
        assert!(run.stdout().lines().eq((1..=100_000).map(|n| n.to_string())), "as {user}");
    }
}

#[test]
fn rl_prints_nothing_of_its_own() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let first = rl.cmd(["run", "--rm", &image("alpine"), "true"]).ok();
    let again = rl.cmd(["run", "--rm", &image("alpine"), "true"]).ok();
    for run in [first, again] {
        assert_eq!((run.stdout(), run.stderr()), ("", ""));
    }
}
