//! Resource limits where no cgroup can be had: nothing is ignored, and nothing else changes.

mod support;
use support::{Feature, Rl, image, require};

#[test]
fn a_limit_that_nobody_can_set_names_its_controller_and_a_cure() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let cases: [(&[&str], &str); 11] = [
        (&["-m", "64m"], "memory"),
        (&["--memory-reservation", "64m"], "memory"),
        (&["--cpus", "0.5"], "cpu"),
        (&["--cpu-shares", "512"], "cpu"),
        (&["--cpu-quota", "50000"], "cpu"),
        (&["--cpuset-cpus", "0"], "cpuset"),
        (&["--cpuset-mems", "0"], "cpuset"),
        (&["--pids-limit", "20"], "pids"),
        (&["--blkio-weight", "100"], "io"),
        (&["--cgroup-conf", "memory.high=100000000"], "memory"),
        (&["--cgroup-conf", "hugetlb.2MB.max=0"], "hugetlb"),
    ];
    for without in [["--cgroup-manager", "none"], ["--cgroups", "disabled"]] {
        for (flags, controller) in cases {
            let ran = rl.sh(&[flags, &without].concat(), "true").code(125);
            assert!(ran.stderr().contains(&format!("no {controller} controller")) && ran.stderr().contains("\ntry: "), "{ran}");
        }
    }
    assert_eq!(rl.containers(), [] as [&str; 0], "nothing was made");
}

#[test]
fn without_limits_it_runs_without_a_cgroup_and_says_nothing() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&["--cgroups", "disabled"][..], &["--cgroup-manager", "none"], &["--cgroupns", "host"]] {
        let ran = rl.sh(flags, "echo here").ok();
        assert_eq!((ran.stdout(), ran.stderr()), ("here", ""), "{flags:?}");
    }
}

#[test]
fn what_only_cgroup_v1_had_is_refused_by_name() {
    let rl = Rl::new();
    for flag in
        ["--kernel-memory=64m", "--memory-swappiness=10", "--oom-kill-disable", "--cpu-rt-runtime=1000", "--cpu-rt-period=1"]
    {
        rl.cmd(["run", flag, "oci:nowhere"]).code(125).says(flag.split('=').next().unwrap()).says("cgroup v1");
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused_before_anything_is_made() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let cases: [(&[&str], &str); 12] = [
        (&["-m", "1m"], "6m"),
        (&["-m", "lots"], "lots"),
        (&["-m", "64m", "--memory-swap", "32m"], "--memory-swap"),
        (&["--memory-swap", "32m"], "--memory"),
        (&["-m", "64m", "--memory-reservation", "65m"], "reservation"),
        (&["--cpus", "1", "--cpu-quota", "50000"], "--cpus"),
        (&["--cpus", "many"], "many"),
        (&["--cpu-period", "10"], "--cpu-period"),
        (&["--cpuset-cpus", "3-1"], "3-1"),
        (&["--blkio-weight", "5"], "10 to 1000"),
        (&["--device-write-bps", "/dev/null:1m"], "not a block device"),
        (&["--cgroup-conf", "cgroup.procs=1"], "cgroup.procs"),
    ];
    for (flags, why) in cases {
        rl.sh(flags, "true").code(125).says(why);
    }
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn the_oom_score_is_set_or_refused_with_the_reason() {
    require!(Feature::Image("alpine"), Feature::Root(false));
    let rl = Rl::new();
    assert_eq!(rl.sh(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj").ok().stdout(), "500");
    rl.sh(&["--oom-score-adj", "-1000"], "true").code(125).says("OOM score");
    rl.sh(&["--oom-score-adj", "2000"], "true").code(125).says("-1000 to 1000");
}

#[test]
fn a_container_without_a_cgroup_has_no_statistics_and_it_is_said() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let args =
        ["run", "--rm", "--name", "idle", "--cgroups", "disabled", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"];
    let held = rl.start(args);
    held.expect("ready");
    rl.cmd(["stats", "--no-stream", "idle"]).code(1).says("no cgroup").says("try: ");
    rl.cmd(["stats", "--no-stream", "nobody"]).code(1).says("no such container");
    let none = rl.cmd(["stats", "--no-stream"]).ok();
    let shown: Vec<&str> = none.stdout().lines().last().unwrap().split_whitespace().skip(1).take(3).collect();
    assert_eq!(shown, ["idle", "--", "--"], "{none}");
    rl.cmd(["rm", "-f", "idle"]).ok();
    held.finish().code(137);
}

#[test]
fn systemd_needs_a_cgroup_of_its_own() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.sh(&["--systemd=always", "--cgroup-manager", "none"], "true").code(125).says("cgroup").says("try: ");
    rl.sh(&["--systemd=always", "--init"], "true").code(125).says("--init");
    rl.sh(&["--systemd=always", "--cgroups", "disabled"], "true").code(125).says("--cgroups disabled");
}
