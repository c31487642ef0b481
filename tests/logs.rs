//! `rl logs`: what a detached container has printed, kept and followed.

mod support;
use support::{Feature, Rl, image, require};

#[track_caller]
fn detached(rl: &Rl, name: &str, flags: &[&str], script: &str) {
    rl.cmd([&["run", "-d", "--name", name], flags, &[&image("alpine"), "sh", "-c", script]].concat()).ok();
}

#[test]
fn every_line_is_kept_on_its_own_stream() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for driver in ["json-file", "local"] {
        detached(&rl, driver, &["--log-driver", driver], "echo one; echo two >&2; printf three");
        rl.cmd(["wait", driver]).ok();
        let logs = rl.cmd(["logs", driver]).ok();
        assert_eq!((logs.stdout(), logs.stderr()), ("one\nthree", "two"), "{driver}");
        let last = rl.cmd(["logs", "--tail", "1", driver]).ok();
        assert_eq!((last.stdout(), last.stderr()), ("three", ""), "{driver}");
        let timed = rl.cmd(["logs", "-t", "-n", "3", driver]).ok();
        let (time, text) = timed.stdout().lines().next().unwrap().split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == 30 && text == "one", "{timed}");
        assert_eq!(rl.cmd(["logs", "--since", "1h", driver]).ok().stdout(), "one\nthree");
        assert_eq!(rl.cmd(["logs", "--since", "2100-01-01", driver]).ok().stdout(), "");
        assert_eq!(rl.cmd(["logs", "--until", "1h", driver]).ok().stdout(), "");
    }
    let path = rl.cmd(["inspect", "json-file"]).ok().json()[0]["LogPath"].as_str().unwrap().to_string();
    let line: serde_json::Value = serde_json::from_str(std::fs::read_to_string(path).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&line["log"], &line["stream"]), (&"one\n".into(), &"stdout".into()));
}

#[test]
fn who_follows_sees_each_line_and_the_end() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    detached(&rl, "a", &["-i"], "echo first; read line; echo got $line; exit 3");
    let follower = rl.start(["logs", "-f", "a"]);
    follower.expect("first\n");
    let mut attached = rl.start(["attach", "a"]);
    attached.write("it\n");
    follower.expect("got it\n");
    follower.finish().ok();
    attached.finish().code(3);
    detached(&rl, "b", &[], "echo up; exec sleep 1000");
    let follower = rl.start(["logs", "-f", "b"]);
    follower.expect("up\n");
    rl.cmd(["rm", "-f", "b"]).ok();
    follower.finish().ok();
}

#[test]
fn a_full_file_makes_room_and_nothing_that_is_kept_is_lost() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    detached(&rl, "a", &["--log-opt", "max-size=20k", "--log-opt", "max-file=3"], script);
    detached(&rl, "all", &["--log-opt", "max-size=20k", "--log-opt", "max-file=100"], script);
    rl.cmd(["wait", "a", "all"]).ok();
    let kept = rl.cmd(["logs", "a"]).ok();
    let lines: Vec<&str> = kept.stdout().lines().collect();
    let first: usize = lines[0].strip_prefix("line ").unwrap().parse().unwrap();
    let wanted: Vec<String> = (first..2000).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, wanted);
    assert!(first > 1000, "{first}");
    let all: Vec<String> = (0..2000).map(|n| format!("line {n}")).collect();
    assert_eq!(rl.cmd(["logs", "all"]).ok().stdout().lines().collect::<Vec<_>>(), all);
}

#[test]
fn what_was_not_kept_is_said_to_be_so() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "--name", "front", &image("alpine"), "echo", "x"]).ok();
    rl.cmd(["logs", "front"]).code(1).says("\"front\" has no log").says("try: rl run -d");
    detached(&rl, "none", &["--log-driver", "none"], "echo x");
    rl.cmd(["logs", "none"]).code(1).says("--log-driver none");
    rl.cmd(["logs", "nobody"]).code(1).says("no such container: nobody");
    rl.cmd(["logs", "--tail", "x", "front"]).code(1).says("--tail");
    rl.cmd(["run", "--log-opt", "nope=1", &image("alpine"), "true"]).code(125).says("unknown log option \"nope\"");
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        rl.cmd(["run", "-d", "--log-driver", "journald", &image("alpine"), "true"]).code(125).says("no journal on this host");
    }
}
