//! Who a container's processes are, inside and to the host: `-u`, USER, groups, `--userns`; and files of the image that lie about it.

mod support;
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use support::{Background, Feature, Layout, Rl, Run, TarBuilder, eventually, image, images, in_shell, probe, require, run};

fn me() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).expect("stat");
    (meta.uid(), meta.gid())
}

/// An image on alpine with this layer and this USER.
fn on_alpine(rl: &Rl, layer: TarBuilder, user: &str) -> String {
    let _ = fs::remove_dir_all(rl.path("image"));
    Layout::on(&images().join("alpine"), rl.path("image")).layer(&layer.finish()).config(json!({"User": user})).write()
}

/// A root directory with the guest as its only program.
fn root_with_probe(rl: &Rl) -> PathBuf {
    let dir = rl.path("root");
    fs::create_dir_all(dir.join("etc")).unwrap();
    fs::copy(probe(), dir.join("probe")).unwrap();
    dir
}

#[track_caller]
fn refused(run: Run, why: &str) {
    let run = run.code(125).says(why);
    let lines = run.stderr().lines().filter(|line| !line.starts_with("try: ")).count();
    assert!(run.stderr().starts_with("rl: ") && lines == 1, "not one line: {run}");
}

#[test]
fn root_inside_is_the_caller_outside() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let container = rl.start(["run", "--name", "a", &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    container.expect("ready");
    assert_eq!(owner(format!("/proc/{}/status", rl.inspect("a")["State"]["Pid"])), me());
    rl.cmd(["rm", "-f", "a"]).ok();
    container.finish().code(137);
}

fn monitor(rl: &Rl, container: &str) -> i32 {
    let status = fs::read_to_string(format!("/proc/{}/status", rl.inspect(container)["State"]["Pid"])).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn two_that_start_while_the_last_leaves_share_a_user_namespace() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::alone();
    let start = |name: &str, failpoint: &str| {
        let mut command = rl.command(["run", "-d", "--name", name, &image("alpine"), "sleep", "1000"]);
        command.env("RL_FAILPOINT", failpoint);
        Background::spawn(command)
    };
    start("first", "").finish().ok();
    let first = monitor(&rl, "first");
    // It has found what the first one keeps alive, and is no member yet.
    let second = start("second", "stop:client-cloned");
    let state = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    eventually("it stops", || state(second.pid()).contains(") T "));
    rl.cmd(["rm", "-f", "first"]).ok();
    eventually("the first is quite gone", || !Path::new(&format!("/proc/{first}")).exists());
    let third = start("third", "");
    eventually("it waits", || {
        let waits = format!("FLOCK  ADVISORY  WRITE {} ", third.pid());
        state(third.pid()).contains(") Z ")
            || fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains("->") && line.contains(&waits))
    });
    second.signal(Signal::SIGCONT);
    second.finish().ok();
    third.finish().ok();
    let namespace = |name| fs::read_link(format!("/proc/{}/ns/user", monitor(&rl, name))).unwrap();
    assert_eq!(namespace("second"), namespace("third"));
    rl.cmd(["rm", "-f", "second", "third"]).ok();
}

#[test]
fn keep_id_gives_the_callers_ids_inside_and_its_files_to_the_caller() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let (uid, gid) = me();
    let bind = format!("{}:/home/me", rl.home().display());
    let flags = ["--userns", "keep-id", "-v", &bind];
    let script = "echo $(id -u):$(id -g); echo kept >/home/me/file; stat -c %u:%g /home/me/file";
    assert_eq!(rl.sh(&flags, script).ok().stdout(), format!("{uid}:{gid}\n{uid}:{gid}"));
    assert_eq!(owner(rl.home().join("file")), (uid, gid));
}

#[test]
fn keep_id_leaves_the_images_files_to_root() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for flags in [&["--userns", "keep-id"][..], &["--userns", "keep-id", "--privileged"], &["--userns=keep-id:uid=7,gid=8"]] {
        let owners = "stat -c %u:%g / /bin/busybox /etc /etc/hosts /dev /dev/shm /dev/pts/ptmx /made/here | sort -u";
        assert_eq!(rl.sh(&[flags, &["-w", "/made/here"]].concat(), owners).ok().stdout(), "0:0", "{flags:?}");
        rl.sh(flags, "touch /bin/new").code(1);
        rl.sh(&[flags, &["-u", "0"]].concat(), "touch /bin/new && chown 33:44 /bin/new && [ $(stat -c %u:%g /bin/new) = 33:44 ]")
            .ok();
    }
    // The two kinds of containers share no layer.
    assert_eq!(rl.sh(&[], "stat -c %u:%g /bin/busybox").ok().stdout(), "0:0");
}

#[test]
fn a_volume_that_is_filled_under_keep_id_has_the_images_owners() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let layer =
        TarBuilder::new().entry(b'5', "data", 0o750, (33, 44), "", b"").entry(b'0', "data/file", 0o640, (33, 0), "", b"x");
    let image = on_alpine(&rl, layer, "");
    for (flags, volume) in [(&["-u", "0"][..], "a:/data"), (&["-u", "33", "--privileged"], "b:/data")] {
        let run = [
            &["run", "--rm", "--userns", "keep-id", "-v", volume],
            flags,
            &[&image, "stat", "-c", "%u:%g", "/data", "/data/file"],
        ];
        assert_eq!(rl.cmd(run.concat()).ok().stdout(), "33:44\n33:0", "{flags:?}");
    }
    // A new one, where the image has nothing, is root's, as the directory that it covers would be.
    assert_eq!(rl.sh(&["--userns", "keep-id", "-v", "new:/new"], "stat -c %u:%g /new").ok().stdout(), "0:0");
}

#[test]
fn a_container_with_kept_ids_is_removed_whole() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    for flags in [&[][..], &["--privileged"]] {
        let script = "umask 077; mkdir -p /root/deep/er && echo x >/root/deep/er/file; chown -R 5:6 /root/deep; rm -r /etc/apk";
        rl.cmd(
            [&["run", "--name", "x", "--userns", "keep-id", "-u", "0"], flags, &[&image("alpine"), "sh", "-c", script]].concat(),
        )
        .ok();
        rl.cmd(["rm", "x"]).ok();
        assert_eq!(fs::read_dir(rl.store().join("containers")).unwrap().count(), 0);
    }
}

#[test]
fn an_unpack_for_kept_ids_that_was_interrupted_is_done_again() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let flags = ["--userns", "keep-id"];
    rl.sh(&flags, "true").ok();
    // What a killed unpack leaves: files of root's and of others', and no name yet.
    let layers = fs::read_dir(rl.store().join("layers")).unwrap().flat_map(|map| fs::read_dir(map.unwrap().path()).unwrap());
    let [layer] = layers.map(|layer| layer.unwrap().path()).collect::<Vec<_>>().try_into().expect("one layer of one map");
    assert_ne!(owner(layer.join("root")).0, me().0, "root of a keep-id container is another id than the caller");
    fs::rename(&layer, layer.with_extension("tmp")).unwrap();
    assert_eq!(rl.sh(&flags, "stat -c %u:%g /bin/busybox").ok().stdout(), "0:0");
    assert!(layer.exists() && !layer.with_extension("tmp").exists());
}

#[test]
fn keep_id_takes_the_ids_asked_for() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let bind = format!("{}:/home/me", rl.home().display());
    let script = "echo $(id -u):$(id -g); touch /home/me/file; stat -c %u:%g /home/me/file";
    let run = rl.sh(&["--userns", "keep-id:uid=1500,gid=1600", "-v", &bind], script).ok();
    assert_eq!(run.stdout(), "1500:1600\n1500:1600");
    assert_eq!(owner(rl.home().join("file")), me());
}

#[test]
fn root_beside_a_kept_id_is_somebody_else_to_the_host() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    fs::set_permissions(rl.home(), PermissionsExt::from_mode(0o777)).unwrap();
    let bind = format!("{}:/home/me", rl.home().display());
    let run = rl.sh(&["--userns", "keep-id", "-u", "0", "-v", &bind], "id -u; id -g; touch /home/me/roots").ok();
    assert_eq!(run.stdout(), "0\n0");
    assert_ne!(owner(rl.home().join("roots")).0, me().0);
    assert_eq!(rl.cmd(["unshare", "rm", &rl.home().join("roots").display().to_string()]).ok().stdout(), "");
}

#[test]
fn a_matrix_of_users_gives_exact_ids_and_groups() {
    require!(Feature::Image("alpine"), Feature::Probe, Feature::SubIds);
    let rl = Rl::new();
    let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/:/bin/sh\nbob:x:1:1::/:/bin/sh\n";
    let group = "root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:ann\nannex:x:30:anna,xann\n";
    let layer = TarBuilder::new().file("etc/passwd", passwd).file("etc/group", group).file("probe", fs::read(probe()).unwrap());
    let image = on_alpine(&rl, layer, "");
    for (flags, uid, gid, groups) in [
        (&[][..], 0, 0, &[10][..]),
        (&["-u", "ann"], 1000, 100, &[10, 29]),
        (&["-u", "1000"], 1000, 100, &[10, 29]),
        (&["-u", "ann:wheel"], 1000, 10, &[]),
        (&["-u", "ann:0"], 1000, 0, &[]),
        (&["-u", "bob"], 1, 1, &[]),
        (&["-u", "1"], 1, 1, &[]),
        (&["-u", "2"], 2, 0, &[]),
        (&["-u", "2:3"], 2, 3, &[]),
        (&["-u", ":29"], 0, 29, &[]),
        (&["-u", "2", "--group-add", "audio", "--group-add", "44"], 2, 0, &[29, 44]),
        (&["-u", "ann", "--init"], 1000, 100, &[10, 29]),
        (&["-u", "ann", "--privileged"], 1000, 100, &[10, 29]),
    ] {
        let seen = rl.cmd([&["run", "--rm"], flags, &[image.as_str(), "/probe"]].concat()).ok().json();
        // Docker and Podman may count the primary group among the supplementary ones: it gives nothing that is not had.
        let seen_groups: Vec<u64> = seen["groups"].as_array().unwrap().iter().filter_map(|g| g.as_u64()).collect();
        let extra: Vec<u64> = seen_groups.into_iter().filter(|g| *g != gid).collect();
        assert_eq!(seen["uid"], json!([uid, uid, uid]), "{flags:?}");
        assert_eq!(seen["gid"], json!([gid, gid, gid]), "{flags:?}");
        assert_eq!(extra, groups, "{flags:?}");
    }
}

/// Else a set-group-id program would rid its caller of a group to which files are closed (CVE-2022-2989, CVE-2022-36109).
#[test]
fn the_primary_group_is_among_the_supplementary_ones() {
    require!(Feature::Image("alpine"), Feature::Probe, Feature::SubIds);
    let rl = Rl::new();
    for (user, gid) in [("1234:5678", 5678), ("nobody", 65534), ("1234", 0)] {
        let groups = rl.look(&["-u", user])["groups"].clone();
        assert!(groups.as_array().unwrap().contains(&gid.into()), "{user}: {groups}");
    }
}

#[test]
fn what_is_given_to_other_users_stays_theirs_in_a_volume() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let script = "cd /data; for u in 1 1000 65534; do echo $u >$u; chown $u:$u $u; chmod 600 $u; done; chmod 4711 1";
    rl.sh(&["-v", "vol:/data"], script).ok();
    let path = rl.cmd(["volume", "inspect", "vol"]).ok().json()[0]["Mountpoint"].as_str().expect("a path").to_string();
    let list = format!("cd '{path}' && stat -c '%n %u:%g %a' 1 1000 65534 && cat 1000");
    assert_eq!(
        rl.cmd(["unshare", "sh", "-c", &list]).ok().stdout(),
        "1 1:1 4711\n1000 1000:1000 600\n65534 65534:65534 600\n1000"
    );
    let uids: Vec<u32> = ["1", "1000", "65534"].map(|name| owner(Path::new(&path).join(name)).0).into();
    let ours = |uid: &u32| support::missing(&Feature::SubIds).is_none() && *uid != me().0 && *uid > 65534;
    assert!(uids.iter().all(ours), "subordinate ids on the host: {uids:?}");
    // Only its owner and root may read it, in the next container too.
    assert_eq!(rl.sh(&["-v", "vol:/data", "-u", "1000"], "cat /data/1000").ok().stdout(), "1000");
    rl.sh(&["-v", "vol:/data", "-u", "1001"], "cat /data/1000").code(1);
}

#[test]
fn a_user_that_is_no_id_is_never_taken_for_a_name() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let numbers = ["4294967296", "4294967295", "2147483648", "18446744073709551616", "99999999999999999999999999"];
    let entry = |name: &&str| format!("{name}:x:0:0:root:/root:/bin/sh\n");
    let passwd = format!("root:x:0:0::/root:/bin/sh\n{}", numbers.iter().map(entry).collect::<String>());
    let group = format!("root:x:0:\n{}", numbers.iter().map(|n| format!("{n}:x:0:\n")).collect::<String>());
    let layer = || TarBuilder::new().file("etc/passwd", &passwd).file("etc/group", &group);
    for number in numbers {
        let image = on_alpine(&rl, layer(), number);
        refused(rl.cmd(["run", "--rm", &image, "id"]), number);
        for user in [number.to_string(), format!("{number}:0"), format!("0:{number}")] {
            refused(rl.cmd(["run", "--rm", "-u", &user, &image, "id"]), number);
        }
        refused(rl.cmd(["run", "--rm", "-u", "0", "--group-add", number, &image, "id"]), number);
    }
    assert!(rl.containers().is_empty());
}

#[test]
fn a_user_that_has_no_id_here_is_refused_with_the_cure() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for user in ["100000000", "0:100000000"] {
        let run = rl.cmd(["run", "--rm", "-u", user, &image("alpine"), "id"]).code(125);
        assert!(run.stderr().contains("100000000") && run.stderr().contains("\ntry: "), "{run}");
        assert_eq!(run.stderr().lines().count(), 2, "{run}");
    }
}

/// Names that only the host knows, through which a lookup would be seen.
const OUTSIDE: &str = "outsider:x:0:0:root:/root:/bin/sh\n";

#[test]
fn a_user_file_that_leads_out_is_not_followed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let out = rl.file("outside/passwd", OUTSIDE);
    fs::copy(&out, rl.path("outside/group")).unwrap();
    let dir = rl.path("outside").display().to_string();
    for prefix in [dir.clone(), format!("../../../../../../../..{dir}")] {
        let link = |name: &str| TarBuilder::new().symlink(&format!("etc/{name}"), &format!("{prefix}/{name}"));
        refused(rl.cmd(["run", "--rm", &on_alpine(&rl, link("passwd"), "outsider"), "id"]), "outsider");
        refused(rl.cmd(["run", "--rm", &on_alpine(&rl, link("group"), "0:outsider"), "id"]), "outsider");
    }
    let proc = TarBuilder::new().symlink("etc/passwd", &format!("/proc/self/root{dir}/passwd"));
    refused(rl.cmd(["run", "--rm", &on_alpine(&rl, proc, "outsider"), "id"]), "/etc/passwd");
    // Within the image a link is followed, as by any program there.
    let inside = TarBuilder::new().file("usr/lib/users", "kim:x:7:8::/:/bin/sh\n").symlink("etc/passwd", "/usr/lib/users");
    assert_eq!(rl.cmd(["run", "--rm", &on_alpine(&rl, inside, "kim"), "id", "-u"]).ok().stdout(), "7");
}

#[test]
fn a_user_file_that_is_no_file_does_not_hang() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let kinds = [("a FIFO", b'6'), ("a directory", b'5')];
    for (what, kind) in kinds {
        for name in ["etc/passwd", "etc/group"] {
            for user in ["somebody", "0:somebody"] {
                let image = on_alpine(&rl, TarBuilder::new().entry(kind, name, 0o755, (0, 0), "", b""), user);
                let run = rl.cmd(["run", "--rm", &image, "true"]).code(125);
                assert_eq!(run.stderr().lines().filter(|l| l.starts_with("rl: ")).count(), 1, "{what} {name}: {run}");
            }
        }
    }
}

#[test]
fn a_user_file_of_a_root_directory_is_no_way_out_either() {
    require!(Feature::Probe);
    let rl = Rl::new();
    let out = rl.file("outside/passwd", OUTSIDE);
    let dir = root_with_probe(&rl);
    let root = format!("rootfs:{}", dir.display());
    std::os::unix::fs::symlink(out, dir.join("etc/passwd")).unwrap();
    refused(rl.cmd(["run", "--rm", "-u", "outsider", &root, "/probe"]), "outsider");
    fs::remove_file(dir.join("etc/passwd")).unwrap();
    nix::unistd::mkfifo(&dir.join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = rl.cmd(["run", "--rm", "-u", "outsider", &root, "/probe"]).code(125);
    assert_eq!(run.stderr().lines().filter(|l| l.starts_with("rl: ")).count(), 1, "{run}");
    // Whoever needs no name is not kept waiting.
    rl.cmd(["run", "--rm", "-u", "0:0", &root, "/probe"]);
}

#[test]
fn a_huge_user_file_is_refused_in_little_memory() {
    require!(Feature::Probe, Feature::Tool("prlimit"));
    let rl = Rl::new();
    let dir = root_with_probe(&rl);
    for name in ["group", "passwd"] {
        let file = fs::File::create(dir.join("etc").join(name)).unwrap();
        file.set_len(1 << 30).unwrap();
        let command = rl.command(["run", "--rm", "-u", "kim", &format!("rootfs:{}", dir.display()), "/probe"]);
        refused(run(in_shell("sh", "exec prlimit --as=134217728 \"$@\"", &command)), &format!("/etc/{name}"));
        fs::remove_file(dir.join("etc").join(name)).unwrap();
        fs::write(dir.join("etc/passwd"), "kim:x:0:0::/:/bin/sh\n").unwrap();
    }
}
