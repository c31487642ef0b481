//! `rl container …`: the long forms, `exists` and `prune`.

mod support;
use support::{Feature, Rl, image, require};

#[track_caller]
fn ended(rl: &Rl, name: &str, flags: &[&str], script: &str) -> String {
    let alpine = image("alpine");
    rl.cmd([&["container", "run", "--name", name], flags, &[&alpine, "sh", "-c", script]].concat()).ok();
    rl.inspect(name)["Id"].as_str().unwrap().to_string()
}

#[test]
fn every_long_form_does_what_the_short_one_does() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "one", &["--label", "tier=db"], "echo hello");
    for ls in ["ls", "list", "ps"] {
        assert_eq!(rl.cmd(["container", ls, "-a", "--format", "{{.Names}}"]).ok().stdout(), "one");
    }
    assert_eq!(rl.cmd(["container", "inspect", "--format", "{{.Name}}", "one"]).ok().stdout(), "/one");
    rl.cmd(["container", "inspect", &image("alpine")]).code(1).says("no such container");
    rl.cmd(["container", "logs", "one"]).code(1).says("container \"one\" has no log");
    rl.cmd(["container", "rename", "one", "two"]).ok();
    rl.cmd(["container", "exists", "two"]).ok();
    rl.cmd(["container", "exists", "one"]).code(1);
    assert_eq!(rl.cmd(["container", "wait", "two"]).ok().stdout(), "0");
    assert_eq!(rl.cmd(["container", "rm", "two"]).ok().stdout(), "two");
    rl.cmd(["container", "run", "--rm", &image("alpine"), "sh", "-c", "exit 7"]).code(7);
    rl.cmd(["container", "run", "--nope"]).code(125).says("--nope");
    rl.cmd(["container", "nope"]).code(125).says("nope");
    assert!(rl.cmd(["container", "--help"]).ok().stdout().contains("prune"));
}

#[test]
fn prune_removes_what_does_not_run_and_tells_how_much_that_freed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.cmd(["container", "prune", "-f"]).ok().stdout(), "Total reclaimed space: 0B");
    let one = ended(&rl, "one", &["-v", "/anonymous"], "dd if=/dev/zero of=/f bs=1000 count=50 2>/dev/null");
    rl.cmd(["create", "--name", "made", &image("alpine")]).ok();
    let made = rl.inspect("made")["Id"].as_str().unwrap().to_string();
    rl.cmd(["run", "-d", "--name", "up", &image("alpine"), "sleep", "1000"]).ok();
    let pruned = rl.cmd(["container", "prune", "-f"]).ok();
    let lines: Vec<&str> = pruned.stdout().lines().collect();
    assert_eq!((lines[0], lines[3], lines[4]), ("Deleted Containers:", "", "Total reclaimed space: 50kB"), "{pruned}");
    assert!(lines[1..3].contains(&one.as_str()) && lines[1..3].contains(&made.as_str()), "{pruned}");
    assert_eq!(rl.cmd(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout(), "up");
    assert_eq!(rl.cmd(["volume", "ls", "-q"]).ok().stdout().lines().count(), 1, "its anonymous volume stays");
    rl.cmd(["rm", "-f", "up"]).ok();
}

#[test]
fn prune_asks_and_filters() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "db", &["--label", "tier=db"], "true");
    ended(&rl, "web", &["--label", "tier=web"], "true");
    let left = || rl.cmd(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout().to_string();
    let refused = rl.cmd_with_input(["container", "prune"], "n\n").code(1);
    assert!(refused.stdout().starts_with("WARNING! This will remove all stopped containers."), "{refused}");
    rl.cmd(["container", "prune", "-f", "--filter", "until=1h"]).ok();
    assert_eq!(left(), "web\ndb");
    rl.cmd(["container", "prune", "-f", "--filter", "label=tier=db"]).ok();
    assert_eq!(left(), "web");
    rl.cmd(["container", "prune", "-f", "--filter", "label!=tier=web"]).ok();
    assert_eq!(left(), "web");
    rl.cmd(["container", "prune", "-f", "--filter", "nope=1"]).code(1).says("there is no filter");
    rl.cmd_with_input(["container", "prune"], "y\n").ok();
    assert_eq!(left(), "");
}

#[test]
fn rm_takes_all_the_newest_or_what_a_filter_chooses() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for (name, label) in [("a", "x=1"), ("b", "x=2"), ("c", "x=2")] {
        rl.cmd(["create", "--name", name, "--label", label, &image("alpine")]).ok();
    }
    let left = || rl.cmd(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout().replace('\n', " ");
    rl.cmd(["rm"]).code(125).says("<CONTAINER>");
    rl.cmd(["rm", "-a", "a"]).code(125).says("cannot be used with");
    rl.cmd(["rm", "--latest"]).ok();
    assert_eq!(left(), "b a");
    rl.cmd(["rm", "--filter", "label=x=2"]).ok();
    assert_eq!(left(), "a");
    rl.cmd(["rm", "--filter", "nope=1"]).code(1).says("unknown filter");
    rl.cmd(["rm", "-f", "--all"]).ok();
    assert_eq!(left(), "");
    rl.cmd(["rm", "--all"]).ok();
}

#[test]
fn the_version_is_told_in_dockers_shape() {
    let rl = Rl::new();
    let version = rl.cmd(["version", "--format", "{{.Client.Version}}"]).ok().stdout().to_string();
    assert_eq!(rl.cmd(["--version"]).ok().stdout(), format!("rl {version}"));
    assert!(rl.cmd(["version"]).ok().stdout().contains(&format!("Version:   {version}")));
    assert_eq!(rl.cmd(["version", "-f", "json"]).ok().json()["Client"]["Os"], "linux");
    rl.cmd(["version", "--format", "{{.Server.Version}}"]).code(1);
}
