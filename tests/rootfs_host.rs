//! `rootfs:/` and `rootfs:DIR`: a copy-on-write view of the host that nothing leads out of.

mod support;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
};
use support::{Feature, Rl, Run, Tree, binary, probe, require, run};

/// A directory that `rootfs:/` shows, wherever the tests' own may be: /tmp is not shown.
fn visible() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("rl-view-").tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

/// A tree with something of each kind that a container could change.
fn canary(dir: &Path) -> Tree {
    fs::create_dir_all(dir.join("sub/deep")).unwrap();
    for name in ["file", "sub/file", "sub/deep/file"] {
        fs::write(dir.join(name), "alive").unwrap();
    }
    std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
    Tree::of(dir)
}

/// Everything that can be done to it, and must succeed inside.
const RUIN: &str = "set -e; cd \"$1\"; echo dead >file; chmod 777 sub/file; rm -r sub/deep; mv link other; touch sub/new
    mkdir new; ln sub/file new/hard; chown 1:1 sub/new || true; cat file; ls";

const RUINED: &str = "dead\nfile\nnew\nother\nsub";

/// Connects to each path given; prints those that answered.
const CONNECT: &str = "import socket, sys
for path in sys.argv[1:]:
    try: socket.socket(socket.AF_UNIX).connect(path); print('connected', path)
    except OSError: pass";

fn here(rl: &Rl, flags: &[&str], command: &[&str]) -> Run {
    rl.cmd([&["run", "--rm"], flags, &["rootfs:/"], command].concat())
}

#[test]
fn the_first_command_of_the_readme_works() {
    let rl = Rl::new();
    let run = rl.cmd(["run", "rootfs:/", "sh", "-c", "id && hostname"]).ok();
    let lines: Vec<_> = run.stdout().lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("uid=0(root) gid=0(root)"), "{run}");
    assert!(lines[1].len() == 12 && lines[1].bytes().all(|b| b.is_ascii_hexdigit()), "{run}");
    assert_eq!(run.stderr(), "");
}

#[test]
fn nothing_on_the_host_changes() {
    let rl = Rl::new();
    let dir = visible();
    let tree = canary(dir.path());
    for flags in [&["--rm"][..], &[], &["--privileged", "--rm"]] {
        let path = dir.path().to_str().unwrap();
        let run = rl.cmd([&["run"], flags, &["rootfs:/", "sh", "-c", RUIN, "sh", path]].concat()).ok();
        assert_eq!(run.stdout(), RUINED, "{run}");
        tree.is_unchanged(dir.path());
    }
}

#[test]
fn new_files_stay_inside_wherever_they_are_made() {
    let rl = Rl::new();
    let name = format!("rl-new-{}", std::process::id());
    let script =
        format!("for d in / /etc /usr /usr/bin /var /var/tmp /tmp /run /opt /dev/shm $HOME; do touch $d/{name}; done; true");
    here(&rl, &[], &["sh", "-c", &script]).ok();
    let home = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().dir;
    for dir in ["/", "/etc", "/usr", "/usr/bin", "/var", "/var/tmp", "/tmp", "/run", "/opt", "/dev/shm", "/root"] {
        assert!(!Path::new(dir).join(&name).exists(), "{dir}");
    }
    assert!(!home.join(&name).exists() && !rl.home().join(&name).exists());
}

#[test]
fn two_views_do_not_see_each_others_changes() {
    let rl = Rl::new();
    let dir = visible();
    let file = dir.path().join("mark");
    let script = "[ ! -e $1 ] && touch $1 && ls $1";
    for _ in 0..2 {
        assert_eq!(here(&rl, &[], &["sh", "-c", script, "sh", file.to_str().unwrap()]).ok().stdout(), file.to_str().unwrap());
    }
}

#[test]
fn the_home_is_hidden_unless_asked_for() {
    let rl = Rl::new();
    let home = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().expect("an entry in passwd").dir;
    let home = home.to_str().unwrap();
    assert_eq!(
        here(&rl, &[], &["sh", "-c", "ls -A $1 2>/dev/null; ls -A /home /root 2>/dev/null | grep -v :", "sh", home])
            .stdout()
            .trim(),
        ""
    );
    // Where the caller says that its home is, and what it keeps there.
    let dir = visible();
    fs::write(dir.path().join("key"), "secret").unwrap();
    let with_home = |flags: &[&str]| {
        let mut command = rl.command([&["run", "--rm"], flags, &["rootfs:/", "ls", "-A", dir.path().to_str().unwrap()]].concat());
        command.env("HOME", dir.path());
        run(command)
    };
    assert!(!with_home(&[]).stdout().contains("key"));
    let path = dir.path().display();
    assert_eq!(with_home(&["-v", &format!("{path}:{path}")]).ok().stdout(), "key");
}

#[test]
fn a_home_given_by_v_can_be_worked_in() {
    let rl = Rl::new();
    let bind = format!("{}:/home/me", rl.home().display());
    here(&rl, &["-v", &bind, "-w", "/home/me"], &["sh", "-c", "echo mine >file"]).ok();
    assert_eq!(fs::read_to_string(rl.home().join("file")).unwrap(), "mine\n");
}

#[test]
fn run_and_tmp_are_fresh() {
    let rl = Rl::new();
    let hosts = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let run = here(&rl, &[], &["sh", "-c", "ls -A /run /tmp | grep -v :; stat -c %a /tmp /run; touch /tmp/x /run/x"]).ok();
    assert_eq!(run.stdout().trim(), "1777\n755", "{run}");
    assert!(hosts.path().exists());
}

#[test]
fn the_store_is_out_of_sight() {
    let rl = Rl::new();
    let dir = visible();
    let store = dir.path().join("store");
    let rl_there = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("--root").arg(&store).args(args).env("HOME", rl.home());
        run(command)
    };
    // Contents of volumes would be there.
    let script = "ls -A $1 2>/dev/null | grep .";
    let seen = rl_there(&["run", "--rm", "rootfs:/", "sh", "-c", script, "sh", store.to_str().unwrap()]);
    rl_there(&["unshare", "rm", "-rf", store.to_str().unwrap()]).ok();
    assert_eq!((seen.stdout(), seen.stderr()), ("", ""), "{seen}");
    seen.code(1);
}

#[test]
fn no_socket_of_the_host_can_be_reached() {
    require!(Feature::Tool("python3"));
    let rl = Rl::new();
    let dir = visible();
    fs::create_dir_all(dir.path().join("sub")).unwrap();
    let hidden = tempfile::tempdir_in("/tmp").unwrap();
    let paths = [dir.path().join("a"), dir.path().join("sub/b"), hidden.path().join("c"), rl.home().join("d")];
    let sockets: Vec<UnixListener> = paths.iter().map(|path| UnixListener::bind(path).expect("bind")).collect();
    for (path, socket) in paths.iter().zip(&sockets) {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(socket.local_addr().is_ok());
    }
    let mut names: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    names.extend(["/run/systemd/private", "/run/dbus/system_bus_socket", "/run/docker.sock", "/dev/log"]);
    for flags in [&[][..], &["--privileged"], &["--network", "host"]] {
        assert_eq!(here(&rl, flags, &[&["python3", "-c", CONNECT], &names[..]].concat()).ok().stdout(), "", "{flags:?}");
    }
    let of_dir = format!("rootfs:{}", dir.path().display());
    fs::copy(probe(), dir.path().join("probe")).unwrap();
    assert!(rl.cmd(["run", "--rm", &of_dir, "/probe"]).ok().stdout().starts_with('{'));
    // The same program does reach one that was given.
    let bind = format!("{0}:{0}", dir.path().join("sub").display());
    let answer = here(&rl, &["-v", &bind], &["python3", "-c", CONNECT, names[1]]).ok();
    assert_eq!(answer.stdout(), format!("connected {}", names[1]));
}

#[test]
fn no_directory_of_the_host_is_bound() {
    require!(Feature::Tool("python3"));
    let rl = Rl::new();
    let script = "import os
for line in open('/proc/self/mountinfo'):
    before, after = line.split(' - ')
    target, kind = before.split()[4], after.split()[0]
    if os.path.isdir(target): print(kind, target)";
    for flags in [&[][..], &["--privileged"]] {
        let run = here(&rl, flags, &["python3", "-c", script]).ok();
        let known =
            ["overlay ", "tmpfs ", "proc /proc", "sysfs /sys", "devpts /dev/pts", "mqueue /dev/mqueue", "cgroup2 /sys/fs/cgroup"];
        for line in run.stdout().lines() {
            assert!(known.iter().any(|k| line.starts_with(k)), "{line}: {run}");
        }
    }
}

/// A small real root directory, from alpine; below `tmp`, where files of subordinate ids are removed, too.
fn small_root(rl: &Rl) -> PathBuf {
    let dir = rl.path("tmp/root");
    fs::create_dir_all(dir.join("canary")).unwrap();
    let bind = format!("{}:/out", dir.display());
    rl.sh(&["-v", &bind], "cp -a /bin /lib /etc /out").ok();
    dir
}

#[test]
fn a_directory_as_the_root_is_not_changed() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let dir = small_root(&rl);
    canary(&dir.join("canary"));
    let tree = Tree::of(&dir.join("canary"));
    let names = |dir: &Path| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, etc) = (names(&dir), names(&dir.join("etc")));
    let root = format!("rootfs:{}", dir.display());
    for flags in [&[][..], &["--privileged"], &["-v", "vol:/made/here"], &["-w", "/made/there"]] {
        let run = rl.cmd([&["run"], flags, &[&root, "sh", "-c", RUIN, "sh", "/canary"]].concat()).ok();
        assert_eq!(run.stdout(), RUINED, "{run}");
        rl.cmd([&["run", "--rm"], flags, &[&root, "sh", "-c", "touch /new /etc/new; rm -rf /bin /lib"]].concat()).ok();
        tree.is_unchanged(&dir.join("canary"));
        assert_eq!((names(&dir), names(&dir.join("etc"))), (before.clone(), etc.clone()), "{flags:?}");
    }
    rl.cmd(["run", "--rm", "--read-only", &root, "touch", "/new"]).code(1);
}

#[test]
fn a_directory_keeps_its_owners_and_other_users_can_live_there() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let root = format!("rootfs:{}", small_root(&rl).display());
    let script = "busybox id -un; stat -c %U:%G /etc/shadow; cat /etc/shadow 2>/dev/null || echo closed";
    let run = rl.cmd(["run", "--rm", "-u", "nobody", &root, "sh", "-c", script]).ok();
    assert_eq!(run.stdout(), "nobody\nroot:shadow\nclosed");
}
