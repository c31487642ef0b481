//! What each flag of `rl run` does, as seen from inside the container.

mod support;
use serde_json::{Value, json};
use std::fs;
use support::{Feature, Rl, Run, eventually, image, in_shell, require, run};

/// Runs alpine with these flags: it must fail as Docker does, in one line that contains `words` (beside a remedy).
#[track_caller]
fn refused(rl: &Rl, flags: &[&str], words: &str) {
    let run = run(rl.alpine(flags, &["true"])).code(125).says(words);
    let remedy = |line: &str| line.is_empty() || line.starts_with("try: ") || line.contains("try '--help'");
    let lines: Vec<_> = run.stderr().lines().filter(|line| !remedy(line)).collect();
    assert!(lines.len() == 1 && (lines[0].starts_with("rl: ") || lines[0].starts_with("error: ")), "one clear line: {run}");
    assert_eq!(rl.containers(), [] as [&str; 0], "nothing half-made");
}

fn sorted_env(run: &Run) -> Vec<&str> {
    let mut lines: Vec<_> = run.stdout().lines().collect();
    lines.sort_unstable();
    lines
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[test]
fn env_sets_takes_over_and_empties_variables() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let flags =
        ["--hostname", "box", "-e", "A=1", "-e", "B=x=y z", "--env", "FROM_HERE", "-e", "EMPTY=", "-e", "ABSENT", "-e", "A=2"];
    let mut command = rl.alpine(&flags, &["env"]);
    command.env("FROM_HERE", "mine").env("NOT_ASKED_FOR", "secret");
    let run = run(command).ok();
    assert_eq!(sorted_env(&run), ["A=2", "B=x=y z", "EMPTY=", "FROM_HERE=mine", "HOME=/root", "HOSTNAME=box", PATH]);
}

#[test]
fn env_files_are_dockers_and_flags_win_over_them() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let first = rl.file("first", "# a comment\n\nA=file\nSPACED=two words \nQUOTED=\"kept\"\nFROM_HERE\n");
    let second = rl.file("second", "B=second\n");
    let flags =
        ["--hostname", "box", "--env-file", first.to_str().unwrap(), "--env-file", second.to_str().unwrap(), "-e", "A=flag"];
    let mut command = rl.alpine(&flags, &["env"]);
    command.env("FROM_HERE", "mine");
    let wanted =
        ["A=flag", "B=second", "FROM_HERE=mine", "HOME=/root", "HOSTNAME=box", PATH, "QUOTED=\"kept\"", "SPACED=two words "];
    assert_eq!(sorted_env(&run(command).ok()), wanted);
}

#[test]
fn workdir_is_made_if_missing_and_must_be_absolute() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run = rl.sh(&["-w", "/new/deep", "-u", "1000"], "pwd; stat -c '%a %u:%g' /new /new/deep").ok();
    assert_eq!(run.stdout(), "/new/deep\n755 0:0\n755 0:0");
    assert_eq!(rl.sh(&["--workdir", "/etc"], "pwd").ok().stdout(), "/etc");
    refused(&rl, &["-w", "here"], "absolute");
    refused(&rl, &["-w", "/etc/passwd"], "/etc/passwd");
}

#[test]
fn entrypoint_comes_before_the_command() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(run(rl.alpine(&["--entrypoint", "echo"], &["a", "b"])).ok().stdout(), "a b");
    assert_eq!(run(rl.alpine(&["--entrypoint", "/bin/pwd"], &[])).ok().stdout(), "/", "without the image's command");
    run(rl.alpine(&["--entrypoint", "/no/such"], &["a"])).code(127);
}

#[test]
fn the_host_name_is_the_short_id_or_what_was_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run =
        rl.sh(&["--hostname", "box.example"], "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c box.example /etc/hosts").ok();
    assert_eq!(run.stdout(), "box.example\nbox.example\nbox.example\n1");
    let own = rl.sh(&[], "hostname; cat /etc/hostname; echo $HOSTNAME").ok();
    let names: Vec<_> = own.stdout().lines().collect();
    assert!(names[0].len() == 12 && names[0].bytes().all(|b| b.is_ascii_hexdigit()), "{own}");
    assert!(names[1] == names[0] && names[2] == names[0], "{own}");
    refused(&rl, &["--hostname", "no good"], "no good");
}

#[test]
fn labels_and_the_stop_signal_are_in_inspect() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    rl.cmd(["run", "--name", "a", "--label", "who=me", "-l", "bare", "--stop-signal", "QUIT", &alpine, "true"]).ok();
    rl.cmd(["run", "--name", "b", "--stop-signal", "9", &alpine, "true"]).ok();
    rl.cmd(["run", "--name", "c", &alpine, "true"]).ok();
    let config = rl.inspect("a")["Config"].clone();
    assert_eq!(config["Labels"], json!({"who": "me", "bare": ""}));
    assert_eq!(config["StopSignal"], "SIGQUIT");
    assert_eq!(rl.inspect("b")["Config"]["StopSignal"], "SIGKILL");
    assert_eq!(rl.inspect("c")["Config"]["StopSignal"], "SIGTERM");
    let bad = rl.cmd(["run", "--stop-signal", "NONESUCH", &alpine, "true"]).code(125);
    assert!(bad.stderr().contains("NONESUCH"), "{bad}");
}

#[test]
fn a_read_only_root_takes_no_file_but_its_mounts_do() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let script = "for d in / /etc /usr/bin /root; do touch $d/new 2>/dev/null && echo written to $d; done
        touch /scratch/new /dev/shm/new /dev/null && echo fine";
    assert_eq!(rl.sh(&["--read-only", "--tmpfs", "/scratch"], script).ok().stdout(), "fine");
    rl.sh(&["--read-only"], "touch /new").code(1).says("Read-only file system");
    // It is locked: nothing that the container may do makes it writable.
    rl.sh(&["--read-only"], "mount -o remount,rw /; touch /new").code(1);
}

#[test]
fn a_tmpfs_has_the_size_mode_and_attributes_asked_for() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    let flags = ["--tmpfs", "/plain", "--tmpfs", "/own:size=2m,mode=700"];
    assert_eq!(rl.sh(&flags, "stat -c %a /plain /own; df -k /own | awk 'END { print $2 }'").ok().stdout(), "1777\n700\n2048");
    let seen = rl.look(&flags);
    for target in ["/plain", "/own"] {
        let mount = mount_at(&seen, target);
        assert_eq!(mount["type"], "tmpfs");
        for word in ["nosuid", "nodev", "noexec"] {
            assert!(words(&mount["options"]).contains(&word), "{word} in {mount}");
        }
    }
    refused(&rl, &["--tmpfs", "/x:colour=red"], "colour");
    refused(&rl, &["--tmpfs", "relative"], "absolute");
}

fn mount_at<'a>(seen: &'a Value, target: &str) -> &'a Value {
    seen["mounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .rfind(|m| m["target"] == target)
        .unwrap_or_else(|| panic!("{target}: {seen}"))
}

fn words(options: &Value) -> Vec<&str> {
    options.as_str().expect("options").split(',').collect()
}

#[test]
fn hosts_and_name_servers_are_what_was_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let flags = ["--add-host", "db:10.0.0.5", "--add-host", "six:::1", "--dns", "192.0.2.1", "--dns", "2001:db8::1"];
    let run = rl.sh(&flags, "grep -E 'db|six' /etc/hosts; cat /etc/resolv.conf").ok();
    assert!(run.stdout().starts_with("10.0.0.5\tdb\n::1\tsix\n"), "{run}");
    assert!(run.stdout().ends_with("nameserver 192.0.2.1\nnameserver 2001:db8::1"), "{run}");
    let flags = ["--dns-search", "a.example", "--dns-search", "b.example", "--dns-option", "ndots:3", "--dns-opt", "rotate"];
    let run = rl.sh(&flags, "cat /etc/resolv.conf").ok();
    assert_eq!(run.stdout(), "search a.example b.example\noptions ndots:3 rotate\nnameserver 10.0.2.1");
    assert!(!rl.sh(&["--dns-search", "."], "cat /etc/resolv.conf").ok().stdout().contains("search"));
    refused(&rl, &["--dns-search", "a b"], "cannot stand in /etc/resolv.conf");
    assert!(rl.sh(&[], "cat /etc/hosts").ok().stdout().contains("127.0.0.1\tlocalhost"));
    refused(&rl, &["--add-host", "db:nowhere"], "nowhere");
    refused(&rl, &["--dns", "nowhere"], "nowhere");
}

#[test]
fn resource_limits_are_set_or_refused() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let flags = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "stack=1048576"];
    assert_eq!(rl.sh(&flags, "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s").ok().stdout(), "100\n200\n0\n1024");
    let hard: u64 = rl.sh(&[], "ulimit -Hn").ok().stdout().parse().expect("a number");
    refused(&rl, &["--ulimit", &format!("nofile={}", hard + 1)], "RLIMIT_NOFILE");
    refused(&rl, &["--ulimit", "shoes=2"], "shoes");
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let size = "df -k /dev/shm | awk 'END { print $2 }'";
    assert_eq!(rl.sh(&[], size).ok().stdout(), "65536");
    assert_eq!(rl.sh(&["--shm-size", "1m"], size).ok().stdout(), "1024");
    rl.sh(&["--shm-size", "1m"], "dd if=/dev/zero of=/dev/shm/x bs=1k count=1025").code(1).says("No space left");
}

#[test]
fn the_umask_is_0022_or_what_was_asked_for_and_never_the_callers() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.sh(&[], "umask").ok().stdout(), "0022");
    assert_eq!(rl.sh(&["--umask", "027"], "umask; touch /x; stat -c %a /x").ok().stdout(), "0027\n640");
    let script = "umask; stat -c %a / /dev/null /dev/shm /dev/pts /etc/hosts /etc/resolv.conf /made /tmp; touch /etc/new";
    let wanted = rl.sh(&["-w", "/made"], script).ok();
    for mask in ["0", "077"] {
        let own = Rl::new();
        let inside = own.alpine(&["-w", "/made"], &["sh", "-c", script]);
        assert_eq!(
            run(in_shell("sh", &format!("umask {mask}; exec \"$@\""), &inside)).ok().stdout(),
            wanted.stdout(),
            "under umask {mask}"
        );
    }
}

#[test]
fn each_namespace_is_the_containers_own_unless_shared() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let hosts = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let inside = |flags: &[&str]| {
        let run = rl.sh(flags, "for n in user mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done").ok();
        run.stdout().lines().map(String::from).collect::<Vec<_>>()
    };
    let kinds = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    for (flag, shared) in [
        ("--init", ""),
        ("--pid=host", "pid"),
        ("--network=host", "net"),
        ("--ipc=host", "ipc"),
        ("--uts=host", "uts"),
        ("--cgroupns=host", "cgroup"),
    ] {
        for (kind, namespace) in kinds.iter().zip(inside(&[flag])) {
            assert_eq!(namespace == hosts(kind), *kind == shared, "{kind} with {flag}: {namespace}");
        }
    }
}

#[test]
fn what_a_payload_among_the_hosts_processes_has_started_ends_with_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let left = |script: &str| -> Vec<String> {
        rl.sh(&["--pid", "host"], script).code(3).stdout().split_whitespace().map(String::from).collect()
    };
    let pids = left("sleep 1000 >/dev/null 2>&1 & echo $!; (sleep 1000 >/dev/null 2>&1 & echo $!); exit 3");
    assert_eq!(pids.len(), 2);
    let lives = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("sleep"));
    eventually("they are gone", || !pids.iter().any(lives));
}

#[test]
fn the_hosts_processes_and_names_show_when_shared() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let me = std::process::id();
    assert_eq!(
        rl.sh(&["--pid", "host"], &format!("cat /proc/{me}/comm")).ok().stdout(),
        fs::read_to_string("/proc/self/comm").unwrap().trim()
    );
    rl.sh(&[], &format!("cat /proc/{me}/comm")).code(1);
    let host = nix::unistd::gethostname().unwrap().to_string_lossy().into_owned();
    assert_eq!(rl.sh(&["--uts", "host"], "hostname").ok().stdout(), host);
    // With all namespaces shared that can be.
    let all = ["--pid", "host", "--network", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host"];
    rl.sh(&all, "exit 9").code(9);
}

#[test]
fn without_a_network_there_is_a_loopback_and_nothing_else() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let look = "ls /sys/class/net; ip -4 -o addr show dev lo | awk '{ print $4 }'; ip link show lo | grep -o LOOPBACK,UP";
    assert_eq!(rl.sh(&["--network", "none"], look).ok().stdout(), "lo\n127.0.0.1/8\nLOOPBACK,UP");
    refused(&rl, &["--network", "moon"], "moon");
}

#[test]
fn a_device_of_the_host_is_given_and_nothing_else_is_a_device() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run =
        rl.sh(&["--device", "/dev/zero:/dev/nothing"], "head -c3 /dev/nothing | od -An -tx1; stat -c %t:%T /dev/nothing").ok();
    assert_eq!(run.stdout(), " 00 00 00\n1:5");
    let listed = rl.sh(&[], "ls /dev").ok();
    let names: Vec<_> = listed.stdout().lines().collect();
    let wanted =
        ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
    assert_eq!(names, wanted);
    let file = rl.file("file", "");
    refused(&rl, &["--device", file.to_str().unwrap()], "must lie in /dev");
    refused(&rl, &["--device", &format!("{}:/dev/x", file.display())], "not a device");
    refused(&rl, &["--device", "/dev/nonesuch"], "/dev/nonesuch");
}

#[test]
fn capabilities_are_added_and_dropped() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    let effective = |flags: &[&str]| {
        let seen = rl.look(flags);
        assert_eq!(seen["capabilities"]["CapEff"], seen["capabilities"]["CapBnd"], "{flags:?}");
        seen["capabilities"]["CapEff"].as_str().unwrap().trim_start_matches('0').to_string()
    };
    assert_eq!(effective(&[]), "800405fb");
    assert_eq!(effective(&["--cap-drop", "ALL"]), "");
    assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "net_raw"]), "2000");
    assert_eq!(effective(&["--cap-drop", "CHOWN", "--cap-add", "CAP_SYS_PTRACE"]), "800c05fa");
    assert_eq!(effective(&["--privileged"]), "1ffffffffff");
    refused(&rl, &["--cap-add", "NET_ROW"], "NET_ROW");
}

#[test]
fn privileged_is_root_of_its_own_user_namespace_only() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.sh(&["--privileged"], "mount -t tmpfs none /mnt && hostname new && hostname").ok().stdout(), "new");
    // What belongs to the host's root is out of reach.
    let host = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    rl.sh(&["--privileged"], "echo '|/x' >/proc/sys/kernel/core_pattern").code(1);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), host);
}

#[test]
fn groups_are_added_by_name_and_number() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let groups = rl.sh(&["-u", "1000:1000", "--group-add", "audio", "--group-add", "4242"], "id -G").ok();
    let mut groups: Vec<u32> = groups.stdout().split(' ').map(|g| g.parse().unwrap()).collect();
    groups.sort_unstable();
    assert_eq!(groups, [18, 1000, 4242]);
    refused(&rl, &["--group-add", "nonesuch"], "nonesuch");
}

#[test]
fn a_value_that_cannot_be_is_refused_with_the_flag_and_the_value() {
    let rl = Rl::new();
    for (flag, value) in [
        ("--shm-size", "much"),
        ("--umask", "9"),
        ("--ulimit", "nofile=2:1"),
        ("--userns", "mine"),
        ("--pid", "container:x"),
        ("--mount", "type=nfs,dst=/x"),
        ("-v", "/a:relative"),
        ("--name", "../x"),
        ("--hostname", "-x-"),
        ("--device", "relative"),
    ] {
        let run = rl.cmd(["run", &format!("{flag}={value}"), "rootfs:/", "true"]).code(125);
        assert!(run.stderr().contains(flag) && run.stderr().contains(value), "{run}");
    }
}
