//! `-t`: a terminal of the container's own, and the caller's as it was before.

mod support;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
};
use support::{Feature, Pty, Rl, eventually, image, in_shell, require, run, run_from, run_with_input};

fn it(rl: &Rl, flags: &[&str], command: &[&str]) -> Pty {
    Pty::spawn(&rl.alpine(&[&["-it"], flags].concat(), command))
}

/// The pid on the host of the payload of this store's one container.
fn payload(rl: &Rl) -> Pid {
    let mut pid = 0;
    eventually("a running container", || {
        let ids = rl.containers();
        pid = ids.first().map_or(0, |id| rl.inspect(id)["State"]["Pid"].as_i64().unwrap());
        pid > 0
    });
    Pid::from_raw(pid.try_into().unwrap())
}

#[test]
fn a_shell_prompts_answers_and_gives_its_exit_code() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh"]);
    let banner = pty.expect("/ # ");
    assert!(!banner.contains("job control"), "{banner}");
    pty.write("echo a''b $TERM; tty\n");
    let shown = pty.expect("/dev/pts/0\r\n");
    assert!(shown.contains("ab xterm\r\n"), "{shown:?}");
    pty.write("exit 7\n");
    assert_eq!(pty.finish().0, 7);
}

#[test]
fn the_terminal_has_the_callers_size_from_the_first_moment() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for _ in 0..20 {
        let (code, shown) = it(&rl, &[], &["stty", "size"]).finish();
        assert_eq!((code, shown.as_str()), (0, "24 80\r\n"));
    }
}

#[test]
fn a_new_size_reaches_the_payload_with_a_signal() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty =
        it(&rl, &[], &["sh", "-c", "trap 'echo size $(stty size)' WINCH; echo rea''dy; while :; do sleep 1000 & wait; done"]);
    pty.expect("ready");
    pty.resize(40, 100);
    pty.expect("size 40 100");
    pty.resize(10, 20);
    pty.expect("size 10 20");
}

#[test]
fn ctrl_c_interrupts_what_runs_in_the_foreground() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh"]);
    pty.expect("/ # ");
    // The shell edits its line in a mode of its own; what it prints comes after that.
    pty.write("echo st''art; cat\n");
    pty.expect("start\r\n");
    // Once by the terminal's echo, once by cat, which therefore runs.
    pty.write("here\n");
    pty.expect("here\r\nhere\r\n");
    pty.write("\x03");
    pty.expect("/ # ");
    pty.write("echo code $?\n");
    pty.expect("code 130\r\n");
    pty.write("exit 0\n");
    assert_eq!(pty.finish().0, 0);
}

#[test]
fn ctrl_c_ends_a_payload_that_is_not_a_shell() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &["--init"], &["sh", "-c", "echo rea''dy; exec sleep 1000"]);
    pty.expect("ready");
    pty.write("\x03");
    assert_eq!(pty.finish().0, 130);
}

#[test]
fn end_of_file_is_typed_too() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh"]);
    pty.expect("/ # ");
    pty.write("\x04");
    assert_eq!(pty.finish().0, 0);
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_as_before_afterwards() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh", "-c", "echo rea''dy; read x; exit 3"]);
    let before = pty.termios();
    pty.expect("ready");
    eventually("raw mode", || !pty.termios().local_flags.intersects(LocalFlags::ECHO | LocalFlags::ICANON));
    pty.write("\n");
    assert_eq!(pty.finish().0, 3);
    assert_eq!(pty.termios(), before);
}

#[test]
fn the_terminal_is_restored_after_kill_9_of_the_payload() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh", "-c", "echo rea''dy; exec sleep 1000"]);
    let before = pty.termios();
    pty.expect("ready");
    eventually("raw mode", || pty.termios() != before);
    kill(payload(&rl), Signal::SIGKILL).expect("kill");
    assert_eq!(pty.finish().0, 137);
    assert_eq!(pty.termios(), before);
}

#[test]
fn the_terminal_is_restored_after_kill_9_of_the_monitor() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh", "-c", "echo rea''dy; exec sleep 1000"]);
    let before = pty.termios();
    pty.expect("ready");
    eventually("raw mode", || pty.termios() != before);
    let status = fs::read_to_string(format!("/proc/{}/status", payload(&rl))).unwrap();
    let monitor = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(monitor), Signal::SIGKILL).expect("kill");
    let (code, shown) = pty.finish();
    assert_eq!(code, 125, "{shown}");
    assert!(shown.contains("rl: ") && shown.contains("monitor"), "{shown}");
    assert_eq!(pty.termios(), before);
}

#[test]
fn the_terminal_is_restored_when_the_command_cannot_be_run() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for (command, code) in [("nonesuch", 127), ("/etc", 126)] {
        let mut pty = it(&rl, &[], &[command]);
        let before = pty.termios();
        let (ended, shown) = pty.finish();
        assert_eq!(ended, code, "{shown}");
        assert!(shown.contains("rl: cannot start"), "{shown}");
        assert_eq!(pty.termios(), before);
    }
}

#[test]
fn a_client_that_is_killed_by_a_signal_it_passes_on_leaves_the_terminal_as_it_was() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut pty = it(&rl, &[], &["sh", "-c", "trap 'exit 9' TERM; echo rea''dy; while :; do sleep 1000 & wait; done"]);
    let before = pty.termios();
    pty.expect("ready");
    kill(Pid::from_raw(pty.pid()), Signal::SIGTERM).expect("kill");
    assert_eq!(pty.finish().0, 9);
    assert_eq!(pty.termios(), before);
}

#[test]
fn all_that_was_printed_before_the_end_is_shown() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (code, shown) = it(&rl, &[], &["sh", "-c", "seq 1 20000; exit 5"]).finish();
    assert_eq!(code, 5);
    assert!(shown.lines().eq((1..=20_000).map(|n| n.to_string())), "{} bytes", shown.len());
}

#[test]
fn a_terminal_without_i_shows_output_and_takes_no_input() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    // The output is a pipe: the container has a terminal all the same.
    let run = run(rl.alpine(&["-t"], &["sh", "-c", "tty; test -t 0 && echo terminal; exit 4"])).code(4);
    assert_eq!(run.bytes(), b"/dev/pts/0\r\nterminal\r\n");
    let run = run_with_input(rl.alpine(&["-t"], &["echo", "hello"]), "ignored".into()).ok();
    assert_eq!(run.bytes(), b"hello\r\n");
    let mut pty = Pty::spawn(&rl.alpine(&["-t"], &["stty", "size"]));
    let before = pty.termios();
    let (code, shown) = pty.finish();
    assert_eq!((code, shown.trim_end()), (0, "24 80"));
    assert_eq!(pty.termios(), before);
}

#[test]
fn a_terminal_with_i_needs_one() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run = run_with_input(rl.alpine(&["-it"], &["true"]), "".into()).code(125).says("not a terminal");
    assert_eq!(run.stderr().lines().count(), 2, "{run}");
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn the_console_is_the_containers_terminal_and_belongs_to_its_user() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for user in ["0", "1000"] {
        let script = "echo to the console >/dev/console; echo to the tty >/dev/tty; stat -Lc %u /dev/pts/0";
        let (code, shown) = it(&rl, &["-u", user], &["sh", "-c", script]).finish();
        assert_eq!((code, shown), (0, format!("to the console\r\nto the tty\r\n{user}\r\n")));
    }
}

#[test]
fn more_terminals_can_be_opened_inside() {
    require!(Feature::Image("python"));
    let rl = Rl::new();
    let script = "import os; m, s = os.openpty(); print(os.ttyname(s)); os.write(s, b'x'); print(os.read(m, 1))";
    let run = rl.cmd(["run", "--rm", &image("python"), "python3", "-c", script]).ok();
    assert_eq!(run.stdout(), "/dev/pts/0\nb'x'");
}

#[test]
fn the_callers_terminal_is_never_handed_on() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for flags in [&[][..], &["-i"], &["-t"], &["-it"], &["-i", "-u", "1000"], &["-it", "-u", "1000"], &["-i", "--init"]] {
        let script = "stat -Lc =%d:%i= /proc/self/fd/[012]; echo rea''dy; exec sleep 1000";
        let mut pty = Pty::spawn(&rl.alpine(flags, &["sh", "-c", script]));
        // Device and inode of an open file are the same numbers on both sides.
        let inside = pty.expect("ready");
        for n in 0..3 {
            let own = fs::metadata(format!("/proc/{}/fd/{n}", pty.pid())).expect("a stream of the client's");
            assert!(!inside.contains(&format!("={}:{}=", own.dev(), own.ino())), "with {flags:?}: {inside}");
        }
        assert_eq!(inside.matches('=').count(), 6, "with {flags:?}: {inside}");
        for id in rl.containers() {
            rl.cmd(["rm", "-f", &id]).ok();
        }
    }
}

#[test]
fn a_payload_without_a_terminal_cannot_reach_the_callers_by_dev_tty() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&["-i"][..], &["-i", "--init"], &["-i", "--pid", "host"]] {
        let script = "(echo typed >/dev/tty) 2>&1; tty; awk '{ print \"tty\", $7 }' /proc/self/stat";
        let (_, shown) = Pty::spawn(&rl.alpine(flags, &["sh", "-c", script])).finish();
        assert!(
            shown.contains("can't create /dev/tty") && shown.contains("not a tty") && shown.contains("tty 0"),
            "{flags:?}: {shown}"
        );
    }
}

#[test]
fn nothing_typed_ahead_by_a_payload_reaches_the_callers_shell() {
    require!(Feature::Image("python"));
    let rl = Rl::new();
    // TIOCSTI into every descriptor it has, and into /dev/tty (CVE-2017-5226).
    let script = "import fcntl, os, termios
fds = [0, 1, 2]
try: fds.append(os.open('/dev/tty', os.O_RDWR))
except OSError: pass
for fd in fds:
    try: fcntl.ioctl(fd, termios.TIOCSTI, b'#')
    except OSError: pass
print('do' + 'ne')";
    for flags in [&["-i"][..], &["-it"]] {
        // After rl, on the same terminal: whatever was pushed into its input would be read here.
        let inside = rl.command([&["run", "--rm"], flags, &[&image("python"), "python3", "-c", script]].concat());
        let mut pty = Pty::spawn(&in_shell("sh", "\"$@\"; echo en''ded; read line; echo \"read=$line\"", &inside));
        pty.expect("done");
        pty.expect("ended");
        pty.write("mine\n");
        pty.expect("read=");
        let (_, rest) = pty.finish();
        assert!(rest.starts_with("mine"), "with {flags:?}: {rest:?}");
    }
}

#[test]
fn a_container_outlives_its_callers_terminal() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let fifo = rl.home().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bind = format!("{}:/home", rl.home().display());
    let script = "trap '' HUP; echo rea''dy; read x </home/fifo; echo more; exit 6";
    let mut pty = rl.pty(["run", "-it", "--name", "stays", "-v", &bind, &image("alpine"), "sh", "-c", script]);
    pty.expect("ready");
    drop(pty);
    assert_eq!(rl.inspect("stays")["State"]["Status"], "running");
    fs::write(&fifo, "go\n").unwrap();
    eventually("its end", || rl.inspect("stays")["State"]["Status"] == "exited");
    assert_eq!(rl.inspect("stays")["State"]["ExitCode"], 6);
}

#[test]
fn an_input_that_is_a_file_is_no_terminal_but_t_alone_works() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let file = rl.file("input", "text");
    let run = run_from(rl.alpine(&["-t"], &["echo", "fine"]), File::open(&file).unwrap()).ok();
    assert_eq!(run.bytes(), b"fine\r\n");
    run_from(rl.alpine(&["-it"], &["echo", "fine"]), File::open(&file).unwrap()).code(125);
}
