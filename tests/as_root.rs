//! Called by root, as in every CI container: the same path, and container root is never host root in silence.

mod support;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};
use support::{Feature, Rl, Run, image, in_shell, require, run, told_of_no_cgroup};

/// A store that ids other than root's can reach: the tests' directories are private.
fn open() -> Rl {
    let rl = Rl::new();
    fs::set_permissions(rl.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    rl
}

/// Runs it where /etc/subuid and /etc/subgid have this text.
#[track_caller]
fn with_ranges(rl: &Rl, ranges: &str, command: &Command) -> Run {
    let file = rl.file("ranges", ranges).display().to_string();
    let script = format!("mount --bind '{file}' /etc/subuid && mount --bind '{file}' /etc/subgid && exec \"$@\"");
    let inner = in_shell("sh", &script, command);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    unshare.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(unshare)
}

/// A user with no entry anywhere, who owns the test's directory.
const STRANGER: u32 = 54321;

fn as_stranger(rl: &Rl, command: &Command) -> Run {
    told_of_no_cgroup(STRANGER.into());
    as_user(rl, STRANGER, command)
}

fn as_user(rl: &Rl, uid: u32, command: &Command) -> Run {
    for dir in ["", "home", "tmp"] {
        chown(rl.path(dir), Some(uid), Some(uid)).unwrap();
    }
    let script = format!("exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all \"$@\"");
    run(in_shell("sh", &script, command))
}

/// The payload's uid as the host sees it.
#[track_caller]
fn uid_outside(rl: &Rl) -> u32 {
    let container = rl.start(["run", "--name", "seen", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    container.expect("ready");
    let status = fs::read_to_string(format!("/proc/{}/status", rl.inspect("seen")["State"]["Pid"])).expect("its status");
    rl.cmd(["rm", "-f", "seen"]).ok();
    container.finish().code(137);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("Uid");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_first_command_of_the_readme_works() {
    require!(Feature::Root(true));
    let rl = open();
    let run = rl.cmd(["run", "rootfs:/", "sh", "-c", "id && hostname"]).ok();
    let lines: Vec<_> = run.stdout().lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("uid=0(root) gid=0(root)") && lines[1].len() == 12, "{run}");
    assert_eq!(run.stderr(), "");
}

#[test]
fn the_first_command_works_in_the_default_store() {
    require!(Feature::Root(true));
    let rl = open();
    let mut command = Command::new(support::binary());
    command.args(["run", "--rm", "rootfs:/", "id", "-u"]).env_remove("RL_ROOT").env("HOME", rl.home());
    assert_eq!(run(command).ok().stdout(), "0");
}

#[test]
fn container_root_is_not_host_root() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    assert_ne!(uid_outside(&rl), 0);
    // Nor has it root's powers over root's files.
    let secret = rl.file("dir/secret", "secret");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let bind = format!("{}:/dir", rl.path("dir").display());
    for flags in [&["-v", &bind][..], &["-v", &bind, "--privileged"]] {
        assert_eq!(
            rl.sh(flags, "cat /dir/secret; touch /dir/new; chmod 644 /dir/secret; chown 0 /dir/secret").code(1).stdout(),
            ""
        );
    }
    assert_eq!(fs::read_dir(rl.path("dir")).unwrap().count(), 1);
    assert_eq!(fs::metadata(secret).unwrap().mode() & 0o7777, 0o600);
    let run = rl.cmd(["run", "--rm", "rootfs:/", "cat", "/etc/shadow"]).code(1);
    assert_eq!(run.stdout(), "");
}

#[test]
fn a_real_alpine_runs_with_all_its_users() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    let script = "id -u; cd /data; touch a; chown 1000:1000 a; stat -c %u:%g a; su nobody -s /bin/sh -c 'id -un'";
    let run = rl.sh(&["-v", "vol:/data"], script).ok();
    assert_eq!((run.stdout(), run.stderr()), ("0\n1000:1000\nnobody", ""));
    assert_eq!(
        rl.sh(&["-v", "vol:/data", "-u", "1000"], "stat -c %U:%u /data/a; id -u").ok().stdout().lines().last(),
        Some("1000")
    );
    assert!(rl.containers().is_empty());
}

/// What the caller gave is host root's; the container's ids are others.
#[test]
fn every_user_can_open_its_own_streams_by_name() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    for user in ["0", "1000"] {
        let run = rl.sh(&["-u", user], "echo out >/dev/stdout; echo err >/dev/stderr").ok();
        assert_eq!((run.stdout(), run.stderr()), ("out", "err"), "user {user}");
    }
}

#[test]
fn what_containers_own_in_the_store_is_never_roots() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    rl.sh(&["-v", "vol:/data"], "cp /bin/busybox /data/sh; chmod 4755 /data/sh").ok();
    let path = rl.cmd(["volume", "inspect", "vol"]).ok().json()[0]["Mountpoint"].as_str().unwrap().to_string();
    let meta = fs::metadata(Path::new(&path).join("sh")).unwrap();
    assert_ne!(meta.uid(), 0, "a set-user-id file of the host's root");
    // Nobody else on the host comes near it (CVE-2021-41091).
    as_nobody(&["test", "-e", &format!("{path}/sh")]).code(1);
}

fn as_nobody(command: &[&str]) -> Run {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).args(command);
    run(setpriv)
}

#[test]
fn roots_ids_come_from_its_range_or_else_from_far_above() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    for (ranges, wanted) in
        [("root:300000:65536\n", 300_000..300_001), ("0:400000:65536\n", 400_000..400_001), ("", 1_000_000..u32::MAX)]
    {
        let rl = open();
        let bind = format!("{}:/out", rl.path("out").display());
        fs::create_dir(rl.path("out")).unwrap();
        fs::set_permissions(rl.path("out"), PermissionsExt::from_mode(0o777)).unwrap();
        let run =
            with_ranges(&rl, ranges, &rl.alpine(&["-v", &bind], &["sh", "-c", "id -u; touch /out/file /tmp/x; chown 7 /tmp/x"]))
                .ok();
        assert_eq!((run.stdout(), run.stderr()), ("0", ""), "{ranges:?}");
        let uid = fs::metadata(rl.path("out/file")).unwrap().uid();
        assert!(wanted.contains(&uid), "{uid} with {ranges:?}");
    }
}

#[test]
fn root_that_can_map_no_other_id_is_told_so() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    for wrapper in
        ["exec unshare --user --map-root-user \"$@\"", "exec setpriv --bounding-set=-setuid,-setgid --inh-caps=-all \"$@\""]
    {
        let rl = open();
        let command = in_shell("sh", wrapper, &rl.alpine(&[], &["id", "-u"]));
        let run = with_ranges(&rl, "", &command).ok().says("container root is this root");
        assert_eq!(run.stdout(), "0", "{run}");
        one_warning_with_its_cure(&with_ranges(&rl, "", &command).ok());
    }
}

#[test]
fn a_user_without_a_range_has_one_id_and_is_told_the_cure() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    // Also of the first run, which unpacks what belongs to many.
    one_warning_with_its_cure(&as_stranger(&rl, &rl.alpine(&[], &["true"])).ok());
    let script = "echo $(id -u):$(id -g); touch /file && chown 1000 /file; echo $?; cat /proc/self/uid_map";
    let run = as_stranger(&rl, &rl.alpine(&[], &["sh", "-c", script])).ok().says("chown: /file: ");
    let lines: Vec<_> = run.stdout().lines().collect();
    assert_eq!(lines[..2], ["0:0", "1"], "{run}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>()[2], "1", "{run}");
    let run = as_stranger(&rl, &rl.alpine(&[], &["true"])).ok().says("\"54321\"").says("sudo usermod --add-subuids");
    one_warning_with_its_cure(&run);
}

#[track_caller]
fn one_warning_with_its_cure(run: &Run) {
    let lines: Vec<_> = run.stderr().lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("rl: ") && lines[0].contains("try: "), "not one warning line: {run}");
}

#[test]
fn a_user_without_a_range_can_do_all_that_one_id_can() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    let bind = format!("{}:/home/me", rl.home().display());
    as_stranger(&rl, &rl.alpine(&["-v", &bind, "-v", "vol:/data"], &["sh", "-c", "echo mine >/home/me/file; touch /data/x"]))
        .ok();
    assert_eq!(fs::metadata(rl.home().join("file")).unwrap().uid(), STRANGER);
    assert_eq!(as_stranger(&rl, &rl.command(["run", "--rm", "rootfs:/", "id", "-u"])).ok().stdout(), "0");
    let run = as_stranger(&rl, &rl.alpine(&["-u", "1000"], &["true"])).code(125);
    assert!(run.stderr().contains("1000"), "{run}");
    assert_eq!(as_stranger(&rl, &rl.command(["ps", "-a", "-q"])).ok().stdout(), "");
    assert_eq!(as_stranger(&rl, &rl.command(["volume", "ls", "-q"])).ok().stdout(), "vol");
}

#[test]
fn a_caller_without_a_cgroup_is_told_so_once() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    // Nobody else's: others of this user's tests would have heard it.
    const NEWCOMER: u32 = 54322;
    let rl = open();
    let told = |flags: &[&str]| {
        let run = as_user(&rl, NEWCOMER, &rl.alpine(flags, &["true"])).ok();
        run.stderr().lines().filter(|line| line.starts_with("rl: running without a cgroup: ") && line.contains("try: ")).count()
    };
    let _ = fs::remove_dir_all(format!("/dev/shm/rl-{NEWCOMER}"));
    if !as_user(&rl, NEWCOMER, &rl.command(["info"])).ok().stdout().contains("cgroups     none: ") {
        return println!("SKIP here every caller has a cgroup");
    }
    assert_eq!(told(&["--cgroups", "disabled"]), 0, "who wants none is not told");
    assert_eq!([told(&[]), told(&[])], [1, 0]);
    fs::remove_dir_all(format!("/dev/shm/rl-{NEWCOMER}")).unwrap();
}

#[test]
fn the_callers_supplementary_groups_do_not_enter() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let user = nix::unistd::User::from_name("rltest").unwrap().expect("the tests' user");
    let rl = open();
    give_to(&rl, &user);
    let secret = rl.file("secret", "secret");
    chown(&secret, Some(0), Some(44)).unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o640)).unwrap();
    let script = format!("exec setpriv --reuid {} --regid {} --groups 44,27 --inh-caps=-all \"$@\"", user.uid, user.gid);
    let bind = format!("{}:/secret", secret.display());
    for flags in [&["-v", &bind][..], &["-v", &bind, "-u", "1000"], &["-v", &bind, "--userns", "keep-id"]] {
        let inside = rl.alpine(flags, &["sh", "-c", "grep ^Groups: /proc/self/status; cat /secret"]);
        let run = run(in_shell("sh", &script, &inside)).code(1);
        let groups: Vec<_> = run.stdout().split_whitespace().skip(1).collect();
        assert!(!groups.contains(&"65534") && !groups.contains(&"44") && !run.stdout().contains("secret"), "{run}");
    }
}

fn give_to(rl: &Rl, user: &nix::unistd::User) {
    for dir in ["", "home", "tmp"] {
        chown(rl.path(dir), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// The caller's own directories of a group that has no number inside: nobody in there but the caller may pass.
#[test]
fn keep_id_reaches_what_only_the_caller_may() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let user = nix::unistd::User::from_name("rltest").unwrap().expect("the tests' user");
    let rl = open();
    give_to(&rl, &user);
    let file = rl.file("closed/in/file", "mine");
    for path in [rl.path("closed"), rl.path("closed/in"), file] {
        chown(&path, Some(user.uid.as_raw()), Some(54321)).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let script = format!("exec setpriv --reuid {} --regid {} --clear-groups --inh-caps=-all \"$@\"", user.uid, user.gid);
    let bind = format!("{}:/mnt", rl.path("closed/in").display());
    for flags in [&["-v", &bind, "--userns", "keep-id"][..], &["-v", &bind, "--userns", "keep-id", "--privileged"]] {
        let inside = rl.alpine(flags, &["cat", "/mnt/file"]);
        assert_eq!(run(in_shell("sh", &script, &inside)).ok().stdout(), "mine", "{flags:?}");
    }
}

#[test]
fn roots_kept_ids_leave_the_images_files_to_root() {
    require!(Feature::Root(true), Feature::Image("alpine"));
    let rl = open();
    for flags in [&["--userns", "keep-id:uid=1500,gid=1600"][..], &["--userns", "keep-id:uid=1500,gid=1600", "--privileged"]] {
        let run = rl.sh(flags, "echo $(id -u):$(id -g); stat -c %u:%g / /bin/busybox /etc/hosts | sort -u").ok();
        assert_eq!(run.stdout(), "1500:1600\n0:0", "{flags:?}");
    }
}
