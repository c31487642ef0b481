//! `rl` as an ordinary user meets it: a login session of a Debian with systemd and cgroup v2, in the VM (tests/vm/run).
//!
//! What else holds in any place is tested by the other files; `tests/vm/run` runs those too, when asked.

mod support;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::{getgid, getuid};
use serde_json::json;
use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};
use support::{Layout, Pty, Rl, TarBuilder, Tree, binary, image, images, in_shell, release_binary, run, session};

/// `START COUNT` of the caller's one range in /etc/subuid or /etc/subgid.
fn range(file: &str) -> (u32, u32) {
    let name = nix::unistd::User::from_uid(getuid()).unwrap().expect("a user").name;
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("a range");
    let (start, count) = line.split_once(':').unwrap();
    (start.parse().unwrap(), count.parse().unwrap())
}

fn runtime_dir() -> PathBuf {
    format!("/run/user/{}", getuid()).into()
}

#[test]
fn the_readmes_first_command_works_as_written() {
    let rl = session!();
    let typed = |args: &[&str]| {
        let mut command = Command::new(release_binary().unwrap());
        command.args(args).env("HOME", rl.home()).current_dir(rl.home());
        run(command).ok()
    };
    let first = typed(&["run", "rootfs:/", "sh", "-c", "id && hostname"]);
    let (id, hostname) = first.stdout().split_once('\n').expect("two lines");
    assert_eq!(id, "uid=0(root) gid=0(root) groups=0(root)");
    assert!(hostname.len() == 12 && hostname.chars().all(|c| c.is_ascii_hexdigit()), "{hostname}");
    assert_eq!(first.stderr(), "");

    assert!(rl.home().join(".local/share/rl/containers").is_dir(), "the store is below HOME");
    let listed = typed(&["ps", "-a"]);
    let line = listed.stdout().lines().nth(1).expect("the container");
    assert!(line.starts_with(hostname) && line.contains("rootfs:/") && line.contains("Exited (0)"), "{listed}");
    typed(&["rm", line.split_whitespace().last().unwrap()]);
    assert_eq!(typed(&["ps", "-a", "-q"]).stdout(), "");
}

#[test]
fn alpine_runs_from_its_layout_and_sees_only_itself() {
    let rl = session!();
    let release = fs::read_to_string("/etc/os-release").unwrap();
    assert!(!release.contains("Alpine"));
    let inside = rl.sh(&[], "id -u; cat /etc/alpine-release; hostname; ps -o pid,args; true").ok();
    let lines: Vec<_> = inside.stdout().lines().map(str::trim).collect();
    assert!(lines[0] == "0" && lines[1].starts_with("3.") && lines[2].len() == 12, "{inside}");
    assert_eq!(lines[3..].len(), 3, "the header, sh and ps: {inside}");
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn info_tells_what_this_machine_has() {
    let rl = session!();
    let info = rl.cmd(["info", "--json"]).ok().json();
    let kernel = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    assert!(kernel.starts_with(&format!("{}.", info["kernel"].as_str().unwrap())), "{kernel}: {info:#}");
    assert_eq!(info["cgroupV2"], true);
    assert_eq!(info["runtime"], json!(runtime_dir().join("rl")));
    let (start, count) = range("/etc/subuid");
    assert_eq!(
        info["uidMappings"][0]["hostID"].as_u64().or(info["uidMappings"][0]["host_id"].as_u64()),
        Some(getuid().as_raw().into())
    );
    let text = rl.cmd(["info"]).ok();
    assert!(text.stdout().contains(&format!("1-{count} are {start}-{}", start + count - 1)), "{text}");
    assert!(!text.stdout().contains("try:"), "nothing is lacking here: {text}");
}

#[test]
fn ids_come_through_newuidmap_the_caller_first_and_then_its_range() {
    let rl = session!();
    let held = rl.start(["run", "--rm", "--name", "held", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    held.expect("ready");
    let pid = rl.payload("held");
    for (kind, own, file) in [("uid", getuid().as_raw(), "/etc/subuid"), ("gid", getgid().as_raw(), "/etc/subgid")] {
        let map = fs::read_to_string(format!("/proc/{pid}/{kind}_map")).expect("the map");
        let map: Vec<Vec<u32>> = map.lines().map(|line| line.split_whitespace().map(|n| n.parse().unwrap()).collect()).collect();
        let (start, count) = range(file);
        assert_eq!(map, [vec![0, own, 1], vec![1, start, count]], "{kind}");
    }
    rl.cmd(["rm", "-f", "held"]).ok();
    held.finish().code(137);
}

#[test]
fn a_bind_mounted_file_belongs_to_the_caller_or_to_its_range() {
    let rl = session!();
    let bind = format!("{}:/mine", rl.home().display());
    rl.sh(&["-v", &bind], "echo hello >/mine/file; cp /mine/file /mine/other; chown 70:71 /mine/other").ok();
    let owner = |name: &str| {
        let meta = fs::metadata(rl.home().join(name)).expect(name);
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner("file"), (getuid().as_raw(), getgid().as_raw()));
    assert_eq!(owner("other"), (range("/etc/subuid").0 + 69, range("/etc/subgid").0 + 70));
    // Only in the user namespace may the caller touch what its range owns.
    assert!(fs::set_permissions(rl.home().join("other"), PermissionsExt::from_mode(0o600)).is_err());
    rl.cmd(["unshare", "chmod", "600", rl.home().join("other").to_str().unwrap()]).ok();
}

/// An image like a database's: its entrypoint starts as root, owns its volume over to a user, and goes on as that user.
fn database(rl: &Rl) -> String {
    const ENTRYPOINT: &str = "#!/bin/sh -e
        if [ \"$(id -u)\" = 0 ]; then
            mkdir -p /data/db; chown -R guest:users /data/db; chmod 700 /data/db
            exec su -s /bin/sh guest -c \"/entrypoint $*\"
        fi
        [ -e /data/db/VERSION ] || { echo first; echo 17 >/data/db/VERSION; }
        cat /data/db/VERSION; id -un; echo \"$*\" >>/data/db/log; cat /data/db/log";
    let layer = TarBuilder::new().dir("data").file("data/shipped", "from the image").file("entrypoint", ENTRYPOINT);
    Layout::on(&images().join("alpine"), rl.path("image"))
        .layer(&layer.finish())
        .config(json!({"Entrypoint": ["/entrypoint"], "Volumes": {"/data": {}}, "Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]}))
        .write()
}

#[test]
fn a_database_keeps_what_it_chowned_in_a_named_volume() {
    let rl = session!();
    let image = database(&rl);
    let once = |word: &str| rl.cmd(["run", "--rm", "-v", "pg:/data", &image, word]).ok();
    assert_eq!(once("one").stdout(), "first\n17\nguest\none");
    assert_eq!(once("two").stdout(), "17\nguest\none\ntwo");
    let inside = rl.sh(&["-v", "pg:/data:ro"], "stat -c %U:%G:%a /data/db; cat /data/shipped; touch /data/new 2>&1 || true").ok();
    let lines: Vec<_> = inside.stdout().lines().collect();
    assert_eq!(lines[0], "guest:users:700");
    assert!(lines[1].starts_with("from the image") && lines[1].contains("Read-only"), "{inside}");

    let place = rl.cmd(["volume", "inspect", "pg"]).ok().json()[0]["Mountpoint"].as_str().map(PathBuf::from).expect("a place");
    assert_eq!(fs::metadata(place.join("db")).unwrap().uid(), range("/etc/subuid").0 + 404, "guest is 405");
    assert!(fs::read_dir(place.join("db")).is_err(), "not the caller's");
    rl.cmd(["volume", "rm", "pg"]).ok();
    assert!(!place.exists());
}

#[test]
fn a_terminal_prompts_resizes_interrupts_and_ends() {
    let rl = session!();
    let mut pty = Pty::spawn(&rl.alpine(&["-it"], &["sh"]));
    let before = pty.termios();
    pty.expect("/ # ");
    assert!(!pty.termios().local_flags.contains(LocalFlags::ECHO), "the caller's terminal is raw");
    pty.resize(40, 100);
    pty.write("stty size; tty\n");
    pty.expect("40 100\r\n/dev/pts/0\r\n");
    pty.write("echo st''art; cat\n");
    pty.expect("start\r\n");
    pty.write("here\n");
    pty.expect("here\r\nhere\r\n");
    pty.write("\x03");
    pty.expect("/ # ");
    pty.write("exit 7\n");
    assert_eq!(pty.finish().0, 7);
    assert_eq!(pty.termios(), before);
}

#[test]
fn a_terminal_is_restored_after_kill_9_of_the_payload() {
    let rl = session!();
    let mut pty = Pty::spawn(&rl.alpine(&["-it", "--name", "victim"], &["sh", "-c", "echo rea''dy; exec sleep 1000"]));
    let before = pty.termios();
    pty.expect("ready");
    kill(rl.payload("victim"), Signal::SIGKILL).expect("kill");
    assert_eq!(pty.finish().0, 137);
    assert_eq!(pty.termios(), before);
}

/// Prints those of the sockets named on its command line that take a connection; `@` begins an abstract one.
const REACH: &str = "
import socket, sys
for name in sys.argv[1:]:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET:
        try:
            socket.socket(socket.AF_UNIX, kind).connect('\\0' + name[1:] if name[0] == '@' else name)
            print(name)
        except OSError:
            pass";

#[test]
fn no_socket_of_the_host_is_reached_from_inside() {
    let rl = session!();
    let name = format!("rl-test-{}", std::process::id());
    // One in each kind of place beside those of the system, /run/user/UID/bus among them.
    let own = [
        rl.home().join("socket"),
        Path::new("/var/tmp").join(&name),
        Path::new("/dev/shm").join(&name),
        runtime_dir().join(&name),
    ];
    let listeners: Vec<_> = own.iter().map(|path| UnixListener::bind(path).expect("bind")).collect();
    let abstract_one = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).expect("bind");
    let bus = runtime_dir().join("bus");
    let system = [&bus, Path::new("/run/dbus/system_bus_socket")];
    let paths = own.iter().map(PathBuf::as_path).chain(system).map(|path| path.display().to_string());
    let served: Vec<String> = paths.chain([format!("@{name}")]).collect();
    let reach = |names: &[String]| [&["python3", "-c", REACH].map(String::from), names].concat();
    let outside = run(in_shell("sh", "exec \"$@\"", Command::new("env").args(reach(&served)).env("PATH", "/usr/bin:/bin")));
    assert_eq!(outside.ok().stdout(), served.join("\n"), "all are reached from outside");

    let all = fs::read_to_string("/proc/net/unix").unwrap();
    let names: Vec<String> = all.lines().skip(1).filter_map(|line| line.split_whitespace().nth(7).map(String::from)).collect();
    assert!(names.len() > served.len() && served.iter().all(|name| names.contains(name)), "{names:?}");
    let inside = |flags: &[&str], names| {
        let words = ["run", "--rm"].iter().chain(flags).chain(&["rootfs:/"]).map(|word| word.to_string());
        rl.cmd(words.chain(reach(names))).ok()
    };
    assert_eq!(inside(&[], &names).stdout(), "");
    // Abstract names are the network namespace's; paths stay out of reach.
    assert_eq!(inside(&["--network", "host"], &served).stdout(), format!("@{name}"));
    rl.cmd(["run", "--rm", "rootfs:/", "sh", "-c", &format!("! test -e {}", bus.display())]).ok();
    drop((listeners, abstract_one));
    own.iter().for_each(|path| fs::remove_file(path).expect("remove"));
}

#[test]
fn the_hosts_own_system_can_be_spoilt_inside_and_is_unchanged() {
    let rl = session!();
    let mine = tempfile::tempdir_in("/var/tmp").expect("a directory");
    fs::create_dir(mine.path().join("dir")).unwrap();
    fs::write(mine.path().join("dir/file"), "as it was").unwrap();
    let before = Tree::of(mine.path());
    // What belongs to the host's root is nobody's here; what is the caller's is container root's.
    let script = format!(
        "cd {} && rm -r dir && mkdir dir && ls -A dir && echo new >dir/new && cat dir/new
        ! rm -rf /usr/bin 2>/dev/null && ls /usr/bin/env",
        mine.path().display()
    );
    assert_eq!(rl.cmd(["run", "--rm", "rootfs:/", "sh", "-c", &script]).ok().stdout(), "new\n/usr/bin/env");
    before.is_unchanged(mine.path());
}

#[test]
fn a_container_sees_its_own_cgroup_as_the_root_and_cannot_change_it() {
    let rl = session!();
    let seen = rl.look(&[]);
    assert_eq!(seen["cgroup"], json!(["0::/"]));
    let script =
        "grep ' /sys/fs/cgroup ' /proc/self/mounts; mkdir /sys/fs/cgroup/x 2>&1; ls -d /sys/fs/cgroup/*.slice 2>/dev/null";
    let mounts = rl.sh(&[], &format!("{script}; true")).ok();
    let lines: Vec<_> = mounts.stdout().lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("cgroup2 ") && lines[1].contains("Read-only"), "{mounts}");
}

#[test]
fn a_users_containers_are_the_same_whichever_way_the_user_came_in() {
    let rl = session!();
    let held = rl.start(["run", "--rm", "--name", "held", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    held.expect("ready");
    // As after `su` or from cron: no session, no environment.
    let bare = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("--root").arg(rl.store()).args(args).env_clear();
        run(command).ok()
    };
    assert!(bare(&["ps"]).stdout().contains("held"));
    assert_eq!(bare(&["run", "--rm", &image("alpine"), "id", "-u"]).stdout(), "0");
    bare(&["rm", "-f", "held"]);
    held.finish().code(137);
}

#[test]
fn it_runs_as_a_service_and_in_a_scope_of_the_users_manager() {
    let rl = session!();
    let script = "id -u; cat; exit 3";
    for unit in ["--wait --pipe --collect", "--scope"] {
        let systemd = format!("echo input | systemd-run --user --quiet {unit} \"$@\"");
        let wrapped = in_shell("sh", &systemd, &rl.alpine(&["-i"], &["sh", "-c", script]));
        assert_eq!(run(wrapped).code(3).stdout(), "0\ninput", "{unit}");
        assert_eq!(rl.containers(), [] as [&str; 0], "{unit}");
    }
}

/// Where tmpfs has no user xattrs (before Linux 6.6) overlayfs cannot mark a directory as opaque there.
#[test]
fn a_store_on_tmpfs_gives_the_same_file_system_or_says_why_not() {
    let rl = session!();
    let layer =
        TarBuilder::new().dir("etc/apk").file("etc/apk/.wh..wh..opq", "").file("etc/apk/new", "x").file("etc/.wh.motd", "");
    let image = Layout::on(&images().join("alpine"), rl.path("image")).layer(&layer.finish()).write();
    let store = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let on_tmpfs = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("--root").arg(store.path()).args(args);
        run(command)
    };
    let script = "ls -A /etc/apk; ls /etc/motd 2>/dev/null; cd /usr; rm -r share; mkdir share && ls -A share; echo end";
    let seen = on_tmpfs(&["run", "--rm", &image, "sh", "-c", script]);
    if seen.status.success() {
        assert_eq!(seen.stdout(), "new\nend");
    } else {
        assert!(seen.stderr().contains("try: "), "{seen}");
    }
    on_tmpfs(&["unshare", "sh", "-c", &format!("rm -rf {}/*", store.path().display())]).ok();
}
