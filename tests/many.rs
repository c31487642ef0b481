//! Two hundred containers at once: all of them right, and nothing left of any.

mod support;
use std::{collections::BTreeSet, thread};
use support::{Feature, HostState, Rl, eventually, image, require};

const SHELLS: usize = 8;
const EACH: usize = 25;

/// Every shell does this, at the same time.
fn in_shells(act: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let shells: Vec<_> = (0..SHELLS)
            .map(|shell| {
                scope.spawn({
                    let act = &act;
                    move || act(shell)
                })
            })
            .collect();
        shells.into_iter().for_each(|shell| shell.join().expect("a shell"));
    });
}

#[test]
fn two_hundred_containers_start_stop_and_leave_nothing() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    let alpine = image("alpine");
    rl.cmd(["run", "--rm", &alpine, "true"]).ok();
    let before = HostState::now();
    let names = |shell: usize| (0..EACH).map(move |n| format!("c{shell}-{n}"));
    in_shells(|shell| {
        for name in names(shell) {
            let run = rl.cmd([
                "run",
                "-d",
                "--network",
                "none",
                "--name",
                &name,
                "-e",
                &format!("ME={name}"),
                &alpine,
                "sleep",
                "1000",
            ]);
            assert_eq!(run.ok().stdout().len(), 64);
        }
    });
    let listed = rl.cmd(["ps", "--format", "{{.Names}} {{.State}}"]).ok();
    let wanted: BTreeSet<String> = (0..SHELLS).flat_map(names).map(|name| format!("{name} running")).collect();
    assert_eq!(listed.stdout().lines().map(String::from).collect::<BTreeSet<_>>(), wanted);
    // Each is itself: its own environment, host name, processes.
    in_shells(|shell| {
        for name in names(shell).step_by(5) {
            let inside = rl.cmd(["exec", &name, "sh", "-c", "echo $ME $(hostname) $(ls -d /proc/[0-9]* | wc -l)"]).ok();
            let id = rl.inspect(&name)["Id"].as_str().unwrap()[..12].to_string();
            let words: Vec<&str> = inside.stdout().split_whitespace().collect();
            assert_eq!(words[..2], [name.as_str(), &id], "{inside}");
            assert!(words[2].parse::<u32>().unwrap() <= 5, "{inside}");
        }
    });
    in_shells(|shell| {
        let names: Vec<String> = names(shell).collect();
        let (stopped, killed) = names.split_at(EACH / 2);
        rl.cmd(["stop", "-t", "0"].into_iter().chain(stopped.iter().map(String::as_str))).ok();
        rl.cmd(["rm"].into_iter().chain(stopped.iter().map(String::as_str))).ok();
        rl.cmd(["rm", "-f"].into_iter().chain(killed.iter().map(String::as_str))).ok();
    });
    assert!(rl.containers().is_empty());
    for directory in ["containers", "names", "volumes"] {
        eventually(&format!("nothing is left in {directory}"), || {
            std::fs::read_dir(rl.store().join(directory)).unwrap().count() == 0
        });
    }
    before.is_back();
}
