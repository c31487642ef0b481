//! Binds, named and anonymous volumes, tmpfs: `-v`, `--mount`, `rl volume`.

mod support;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};
use support::{Feature, Layout, Rl, TarBuilder, Tree, image, images, require, run};

fn volumes(rl: &Rl) -> Vec<String> {
    rl.cmd(["volume", "ls", "-q"]).ok().stdout().lines().map(String::from).collect()
}

/// `SOURCE:TARGET`.
fn bind(source: impl AsRef<Path>, target: &str) -> String {
    format!("{}:{target}", source.as_ref().display())
}

/// An image on alpine with this layer.
fn on_alpine(rl: &Rl, layer: TarBuilder) -> String {
    Layout::on(&images().join("alpine"), rl.path("image")).layer(&layer.finish()).write()
}

#[test]
fn a_file_written_to_a_bind_mount_belongs_to_the_caller() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.sh(&["-v", &bind(rl.home(), "/home/me")], "echo hello >/home/me/file; mkdir /home/me/dir").ok();
    for name in ["file", "dir"] {
        let meta = fs::metadata(rl.home().join(name)).expect(name);
        assert_eq!((meta.uid(), meta.gid()), (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
    }
    assert_eq!(fs::read_to_string(rl.home().join("file")).unwrap(), "hello\n");
}

#[test]
fn a_read_only_bind_is_read_only_all_the_way_down() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    // /dev/shm is a mount of its own below /dev, and anybody may write there.
    let name = format!("rl-test-{}", std::process::id());
    for (option, code) in [("", 0), (":ro", 1)] {
        let run =
            rl.sh(&["-v", &format!("/dev:/host{option}")], &format!("touch /host/shm/{name} && rm /host/shm/{name}")).code(code);
        assert_eq!(run.stderr().contains("Read-only file system"), code == 1, "{run}");
    }
    let canary = rl.file("dir/canary", "as it was");
    let flags = ["-v", &bind(canary.parent().unwrap(), "/dir:ro")];
    rl.sh(&flags, "echo changed >/dir/canary || rm /dir/canary || chmod 777 /dir || mount -o remount,rw /dir").code(1);
    assert_eq!(fs::read_to_string(canary).unwrap(), "as it was");
}

#[test]
fn a_missing_source_is_one_clear_line_and_is_not_made() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let missing = rl.path("missing");
    for flag in [format!("-v={}", bind(&missing, "/x")), format!("--mount=type=bind,source={},target=/x", missing.display())] {
        let run = run(rl.alpine(&[&flag], &["true"])).code(125).says("missing");
        let lines: Vec<_> = run.stderr().lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("rl: ") && lines[1].starts_with("try: mkdir"), "{run}");
    }
    assert!(!missing.exists());
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn a_relative_source_is_relative_to_the_callers_directory() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.file("here/sub/file", "found");
    for source in ["./sub", "../here/sub"] {
        let mut command = rl.alpine(&["-v", &bind(source, "/x")], &["cat", "/x/file"]);
        command.current_dir(rl.path("here"));
        assert_eq!(run(command).ok().stdout(), "found");
    }
}

#[test]
fn a_file_is_mounted_over_a_file_or_a_new_name() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let file = rl.file("file", "mine\n");
    let flags = ["-v", &bind(&file, "/etc/motd"), "-v", &bind(&file, "/new/deep/name:ro")];
    rl.sh(&flags, "cat /etc/motd /new/deep/name; echo more >>/etc/motd; ! touch /new/deep/name").ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine\nmore\n");
    let run = rl.sh(&["-v", &bind(&file, "/etc")], "true").code(125);
    assert!(run.stderr().contains("/etc"), "{run}");
    // The places made for mounts were the container's own.
    assert_eq!(rl.sh(&[], "ls -d /new 2>/dev/null; true").ok().stdout(), "");
}

#[test]
fn a_source_that_is_a_symlink_is_the_callers_to_resolve() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.file("real/file", "found");
    symlink("real", rl.path("link")).unwrap();
    assert_eq!(run(rl.alpine(&["-v", &bind(rl.path("link"), "/x")], &["cat", "/x/file"])).ok().stdout(), "found");
}

#[test]
fn mounts_lie_above_each_other_in_whatever_order_they_are_named() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.file("outer/file", "outer");
    rl.file("inner/file", "inner");
    let (outer, inner) = (bind(rl.path("outer"), "/a"), bind(rl.path("inner"), "/a/b/c"));
    for flags in [["-v", &outer, "-v", &inner], ["-v", &inner, "-v", &outer]] {
        assert_eq!(rl.sh(&flags, "cat /a/file /a/b/c/file").ok().stdout(), "outerinner");
    }
    rl.sh(&["-v", &outer, "-v", &bind(rl.path("inner"), "/a/")], "true").code(125).says("/a");
}

#[test]
fn a_destination_that_leads_through_a_symlink_stays_inside() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let canary = rl.file("canary/file", "as it was").parent().unwrap().to_path_buf();
    let before = Tree::of(&canary);
    let up = format!("../../../../../../../..{}", canary.display());
    let layer = TarBuilder::new().symlink("abs", &canary.to_string_lossy()).symlink("up", &up);
    let image = on_alpine(&rl, layer);
    rl.file("source/file", "mounted");
    for target in ["/abs", "/abs/new", "/up", "/up/new", "/up/deep/er"] {
        let run = rl.cmd(["run", "--rm", "-v", &bind(rl.path("source"), target), &image, "cat", &format!("{target}/file")]);
        assert_eq!(run.ok().stdout(), "mounted", "{target}");
        before.is_unchanged(&canary);
    }
    // Nor does the caller's file take a mount through a dangling link.
    let file = bind(rl.path("source/file"), "/abs/made");
    rl.cmd(["run", "--rm", "-v", &file, &image, "cat", "/abs/made"]).ok();
    before.is_unchanged(&canary);
}

#[test]
fn nothing_is_mounted_over_the_kernels_file_systems_nor_over_the_root() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let layer = TarBuilder::new()
        .symlink("to-proc", "/proc")
        .symlink("to-sys", "proc/sys")
        .symlink("to-root", "/")
        .symlink("to-self", "/proc/self");
    let image = on_alpine(&rl, layer);
    let targets = [
        "/proc",
        "/proc/sys",
        "/proc/1/attr",
        "/x/../proc",
        "//proc//self",
        "/to-proc",
        "/to-proc/sys",
        "/to-sys",
        "/to-self/attr",
        "/",
        "/.",
        "/sys",
        "/dev",
    ];
    for target in targets {
        for flags in [["-v", &bind(rl.home(), target)], ["--tmpfs", target], ["-v", target]] {
            let run = rl.cmd([&["run", "--rm"][..], &flags, &[&image, "true"]].concat());
            assert_eq!(run.status.code(), Some(125), "{run}");
            assert!(run.stderr().starts_with("rl: ") && run.stderr().lines().count() == 1, "{run}");
        }
    }
    assert_eq!(rl.containers(), [] as [&str; 0]);
    assert_eq!(volumes(&rl), [] as [&str; 0], "no volume of a refused container is left");
}

#[test]
fn a_named_volume_is_filled_from_the_image_the_first_time_only() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let data = |text: &str| {
        let layer = TarBuilder::new().entry(b'5', "data", 0o2750, (33, 34), "", b"");
        let layer = layer
            .entry(b'0', "data/file", 0o640, (35, 36), "", text.as_bytes())
            .dir("data/dir")
            .symlink("data/link", "/etc/passwd");
        layer.entry(b'6', "data/fifo", 0o600, (0, 0), "", b"").hardlink("data/dir/again", "data/file").finish()
    };
    let build = |name: &str| Layout::on(&images().join("alpine"), rl.path(name)).layer(&data(name)).write();
    let (first, second) = (build("first"), build("second"));
    let look = "stat -c '%n %a %u:%g %F' /data /data/* /data/dir/*; readlink /data/link; cat /data/file /data/dir/again";
    let inside = |flags: &[&str], image: &str| {
        rl.cmd([&["run", "--rm"][..], flags, &[image, "sh", "-c", look]].concat()).ok().stdout().to_string()
    };

    let wanted = inside(&[], &first);
    assert!(wanted.starts_with("/data 2750 33:34 directory\n") && wanted.ends_with("firstfirst"), "{wanted}");
    assert_eq!(inside(&["-v", "vol:/data"], &first), wanted);
    // Used: what another image has there changes nothing, and what was deleted stays so.
    assert_eq!(inside(&["-v", "vol:/data"], &second), wanted);
    rl.cmd(["run", "--rm", "-v", "vol:/data", &first, "sh", "-c", "rm -r /data/dir; echo own >/data/file"]).ok();
    let run =
        rl.cmd(["run", "--rm", "-v", "vol:/data:ro", &second, "sh", "-c", "ls /data; cat /data/file; touch /data/x"]).code(1);
    assert_eq!(run.stdout(), "fifo\nfile\nlink\nown");
    assert_eq!(volumes(&rl), ["vol"]);
}

#[test]
fn a_volume_keeps_its_files_and_their_owners() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    rl.sh(&["-v", "vol:/data"], "echo kept >/data/file; chown 1000:2000 /data/file; chmod 600 /data/file").ok();
    assert_eq!(rl.sh(&["-v", "vol:/data"], "cat /data/file; stat -c '%a %u:%g' /data/file").ok().stdout(), "kept\n600 1000:2000");
    // On the host it belongs to a subordinate id, which `rl unshare` shows as the container does.
    let path = rl.inspect_volume("vol")["Mountpoint"].as_str().unwrap().to_string() + "/file";
    assert_ne!(fs::symlink_metadata(&path).unwrap().uid(), nix::unistd::getuid().as_raw());
    assert_eq!(rl.cmd(["unshare", "stat", "-c", "%u:%g", &path]).ok().stdout(), "1000:2000");
    rl.cmd(["unshare", "rm", &path]).ok();
    assert_eq!(rl.sh(&["-v", "vol:/data"], "ls /data").ok().stdout(), "");
}

trait InspectVolume {
    fn inspect_volume(&self, name: &str) -> serde_json::Value;
}

impl InspectVolume for Rl {
    fn inspect_volume(&self, name: &str) -> serde_json::Value {
        self.cmd(["volume", "inspect", name]).ok().json()[0].clone()
    }
}

#[test]
fn two_containers_share_a_volume() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    rl.cmd(["volume", "create", "pipe"]).ok();
    let reader = rl.start(["run", "--rm", "-v", "pipe:/p", &alpine, "sh", "-c", "mkfifo /p/fifo; echo ready; cat /p/fifo"]);
    reader.expect("ready");
    rl.cmd(["run", "--rm", "-v", "pipe:/p", &alpine, "sh", "-c", "echo across >/p/fifo"]).ok();
    assert_eq!(reader.finish().ok().stdout(), "ready\nacross");
}

#[test]
fn anonymous_volumes_go_with_their_container_where_that_was_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let alpine = image("alpine");
    rl.sh(&["-v", "/data", "--mount", "type=volume,target=/other"], "touch /data/x /other/x").ok();
    assert_eq!(volumes(&rl), [] as [&str; 0], "--rm takes them along");

    rl.cmd(["run", "--name", "a", "-v", "/data", "-v", "named:/named", &alpine, "touch", "/data/x", "/named/x"]).ok();
    assert_eq!(volumes(&rl).len(), 2);
    rl.cmd(["rm", "-v", "a"]).ok();
    assert_eq!(volumes(&rl), ["named"], "rm -v leaves named ones");

    rl.cmd(["run", "--name", "b", "-v", "/data", &alpine, "true"]).ok();
    rl.cmd(["rm", "b"]).ok();
    assert_eq!(volumes(&rl).len(), 2, "rm without -v leaves all");
    rl.cmd(["volume", "prune", "-f"]).ok();
    assert_eq!(volumes(&rl), ["named"], "prune takes the anonymous ones");
    rl.cmd(["volume", "prune", "-f", "-a"]).ok();
    assert_eq!(volumes(&rl), [] as [&str; 0]);
}

#[test]
fn volumes_are_made_listed_shown_and_removed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    assert_eq!(rl.cmd(["volume", "ls"]).ok().stdout(), "DRIVER    VOLUME NAME");
    assert_eq!(rl.cmd(["volume", "create", "--label", "who=me", "one"]).ok().stdout(), "one");
    assert_eq!(rl.cmd(["volume", "create", "one"]).ok().stdout(), "one", "again is no error");
    rl.cmd(["volume", "create", "two"]).ok();
    assert_eq!(rl.cmd(["volume", "ls"]).ok().stdout(), "DRIVER    VOLUME NAME\nlocal     one\nlocal     two");
    let shown = rl.inspect_volume("one");
    assert_eq!((&shown["Name"], &shown["Driver"], &shown["Labels"]), (&json!("one"), &json!("local"), &json!({"who": "me"})));
    assert!(Path::new(shown["Mountpoint"].as_str().unwrap()).is_dir());
    assert_eq!(rl.cmd(["volume", "rm", "one", "two"]).ok().stdout(), "one\ntwo");
    assert_eq!(volumes(&rl), [] as [&str; 0]);
    assert!(!Path::new(shown["Mountpoint"].as_str().unwrap()).exists());

    rl.cmd(["volume", "rm", "one"]).code(1).says("no such volume: one");
    rl.cmd(["volume", "rm", "-f", "one"]).ok();
    rl.cmd(["volume", "inspect", "one"]).code(1).says("no such volume: one");
    for bad in ["../x", "a/b", ".hidden", "", "-x"] {
        assert!(!rl.cmd(["volume", "create", "--", bad]).status.success(), "{bad:?}");
    }
}

#[test]
fn a_volume_in_use_is_not_removed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "--name", "user", "-v", "vol:/data", &image("alpine"), "true"]).ok();
    rl.cmd(["volume", "rm", "vol"]).code(1).says("in use");
    rl.cmd(["volume", "prune", "-a", "-f"]).ok();
    assert_eq!(volumes(&rl), ["vol"]);
    rl.cmd(["rm", "user"]).ok();
    rl.cmd(["volume", "rm", "vol"]).ok();
}

#[test]
fn the_long_form_says_the_same() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.file("dir/file", "bound");
    let source = rl.path("dir").display().to_string();
    for form in [
        "type=bind,source=DIR,target=/x,readonly",
        "type=bind,src=DIR,dst=/x,ro",
        "type=bind,src=DIR,destination=/x,readonly=true",
    ] {
        let run = rl.sh(&["--mount", &form.replace("DIR", &source)], "cat /x/file; touch /x/new").code(1);
        assert_eq!(run.stdout(), "bound", "{form}");
    }
    rl.sh(&["--mount", "type=volume,source=vol,target=/x"], "echo kept >/x/file").ok();
    assert_eq!(rl.sh(&["--mount", "source=vol,target=/x"], "cat /x/file").ok().stdout(), "kept");
    let tmpfs = "type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=0711";
    assert_eq!(rl.sh(&["--mount", tmpfs], "stat -c %a /x; df -k /x | awk 'END { print $2 }'").ok().stdout(), "711\n1024");
    for bad in ["type=bind,target=/x", "type=bind,source=DIR", "type=tmpfs,source=a,target=/x", "type=nfs,target=/x", "nonsense"]
    {
        rl.cmd(["run", "--mount", bad, "rootfs:/", "true"]).code(125).says(bad);
    }
}

#[test]
fn a_bind_over_an_unreadable_or_special_file_keeps_what_it_is() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let closed = rl.file("closed", "secret");
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o400)).unwrap();
    assert_eq!(
        run(rl.alpine(&["-v", &bind(&closed, "/x")], &["cat", "/x"])).ok().stdout(),
        "secret",
        "root inside is the caller"
    );
    run(rl.alpine(&["-v", &bind(&closed, "/x"), "-u", "1000"], &["cat", "/x"])).code(1).says("Permission denied");
    assert_eq!(fs::metadata(&closed).unwrap().mode() & 0o7777, 0o400);
}

#[test]
fn volumes_are_looked_at_and_pruned_as_dockers() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let random = rl.cmd(["volume", "create", "--label", "tier=db"]).ok().stdout().to_string();
    assert_eq!(random.len(), 64);
    rl.cmd(["volume", "create", "named"]).ok();
    rl.cmd(["volume", "exists", "named"]).ok();
    rl.cmd(["volume", "exists", "nobody"]).code(1);
    assert_eq!(rl.cmd(["volume", "inspect", "--format", "{{.Name}} {{.Driver}}", "named"]).ok().stdout(), "named local");
    assert_eq!(rl.cmd(["volume", "inspect", "named"]).ok().json()[0]["Name"], "named");
    rl.cmd(["volume", "inspect", "nobody"]).code(1).says("no such volume: nobody");
    rl.cmd(["run", "-v", "named:/data", &image("alpine"), "sh", "-c", "echo 12345 >/data/f"]).ok();
    rl.cmd(["container", "prune", "-f"]).ok();
    let asked = rl.cmd_with_input(["volume", "prune", "-a"], "n\n").code(1);
    assert!(asked.stdout().starts_with("WARNING! This will remove all local volumes not used"), "{asked}");
    assert_eq!(rl.cmd(["volume", "prune", "-f", "-a", "--filter", "label=nope"]).ok().stdout(), "Total reclaimed space: 0B");
    let pruned = rl.cmd(["volume", "prune", "-f", "--filter", "all=1", "--filter", "label!=tier"]).ok();
    assert_eq!(pruned.stdout(), "Deleted Volumes:\nnamed\n\nTotal reclaimed space: 6B");
    assert_eq!(rl.cmd(["volume", "remove", &random]).ok().stdout(), random);
}
