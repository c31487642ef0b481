//! `rl cp`: both ways, running or not, and never beyond the container (THREATS.md, "Engine").

mod support;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use support::{Feature, Rl, TarBuilder, image, require, run, run_with_input};

/// A container that has ended.
#[track_caller]
fn ended(rl: &Rl, name: &str, script: &str) {
    rl.cmd(["run", "--name", name, &image("alpine"), "sh", "-c", script]).ok();
}

/// One that runs until it is removed.
#[track_caller]
fn running(rl: &Rl, name: &str, flags: &[&str], script: &str) {
    let script = format!("{script}; exec sleep 1000");
    rl.cmd([&["run", "-d", "--name", name], flags, &[&image("alpine"), "sh", "-c", &script]].concat()).ok();
}

fn read(path: impl AsRef<std::path::Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[test]
fn where_it_goes_follows_dockers_rules() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(
        &rl,
        "a",
        "mkdir -p /data/sub; echo one >/data/one; echo two >/data/sub/two; ln -s one /data/link; chmod 640 /data/one",
    );
    let out = |from: &str, to: &str| rl.cmd(["cp", &format!("a:{from}"), rl.path(to).to_str().unwrap()]);
    out("/data/one", "file").ok();
    assert_eq!(read(rl.path("file")), "one\n");
    let meta = fs::metadata(rl.path("file")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (nix::unistd::getuid().as_raw(), 0o640));
    out("/data", "new").ok();
    assert_eq!((read(rl.path("new/one")), read(rl.path("new/sub/two"))), ("one\n".into(), "two\n".into()));
    assert_eq!(fs::read_link(rl.path("new/link")).unwrap().to_str(), Some("one"));
    fs::create_dir(rl.path("there")).unwrap();
    out("/data", "there").ok();
    assert_eq!(read(rl.path("there/data/one")), "one\n");
    out("data/.", "there").ok();
    assert_eq!(read(rl.path("there/one")), "one\n");
    out("/data/sub/two", "there").ok();
    assert_eq!(read(rl.path("there/two")), "two\n");
    out("/data/link", "asis").ok();
    assert!(fs::symlink_metadata(rl.path("asis")).unwrap().is_symlink());
    rl.cmd(["cp", "-L", "a:/data/link", rl.path("followed").to_str().unwrap()]).ok();
    assert_eq!(read(rl.path("followed")), "one\n");
    out("/data", "file").code(1).says("over the file");
    out("/data/one", "missing/").code(1).says("no such directory");
    out("/nothing", "x").code(1).says("no such file or directory");

    let host = rl.file("src/f", "from the host");
    let into = |from: &std::path::Path, to: &str| rl.cmd(["cp", from.to_str().unwrap(), &format!("a:{to}")]);
    into(&host, "/etc").ok();
    into(&host, "/etc/g").ok();
    into(&rl.path("src"), "/made").ok();
    into(&rl.path("src/."), "/data").ok();
    into(&host, "/data/link").ok();
    rl.cmd(["start", "a"]).ok();
    rl.cmd(["cp", "a:/", rl.path("all").to_str().unwrap()]);
    for (path, text) in
        [("/etc/f", "from the host"), ("/etc/g", "from the host"), ("/made/f", "from the host"), ("/data/f", "from the host")]
    {
        out(path, "back").ok();
        assert_eq!(read(rl.path("back")), text, "{path}");
    }
    rl.cmd(["cp", "a:/x", "b:/x"]).code(1).says("from one container to another");
    rl.cmd(["cp", "/x", "/y"]).code(1).says("neither");
    rl.cmd(["cp", "nobody:/x", "/y"]).code(1).says("no such container: nobody");
}

#[test]
fn a_running_container_is_copied_with_what_is_mounted_in_it() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    running(
        &rl,
        "a",
        &["-v", "vol:/vol", "--tmpfs", "/mem"],
        "echo volume >/vol/x; echo memory >/mem/y; chown 7:8 /vol/x; echo ready >/ready",
    );
    support::eventually("the container has written", || {
        rl.cmd(["cp", "a:/ready", rl.path("ready").to_str().unwrap()]).status.success()
    });
    for (path, text) in [("/vol/x", "volume\n"), ("/mem/y", "memory\n")] {
        rl.cmd(["cp", &format!("a:{path}"), rl.path("out").to_str().unwrap()]).ok();
        assert_eq!(read(rl.path("out")), text);
    }
    let tool = rl.file("tool", "#!/bin/sh\necho it runs\n");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    rl.cmd(["cp", tool.to_str().unwrap(), "a:/mem/tool"]).ok();
    let seen = rl.cmd(["exec", "a", "sh", "-c", "stat -c '%u:%g %a' /mem/tool; sh /mem/tool"]).ok();
    assert_eq!(seen.stdout(), "0:0 755\nit runs");
    // With -a the numbers are kept.
    let listed = run(support::in_shell("sh", "\"$@\" | tar -tv --numeric-owner", &rl.command(["cp", "a:/vol/x", "-"]))).ok();
    assert!(listed.stdout().contains("7/8"), "{listed}");
    rl.cmd(["rm", "-f", "a"]).ok();
}

#[test]
fn an_archive_goes_through_pipes_both_ways() {
    require!(Feature::Image("alpine"), Feature::Tool("tar"));
    let rl = Rl::new();
    ended(&rl, "a", "mkdir /data; echo one >/data/one; ln /data/one /data/same; mkfifo /data/pipe");
    let out = rl.cmd(["cp", "a:/data", "-"]).ok();
    rl.file("archive.tar", out.bytes());
    let mut list = std::process::Command::new("tar");
    list.arg("-tvf").arg(rl.path("archive.tar"));
    let listed = run(list).ok();
    assert!(listed.stdout().contains("data/same link to data/one") && listed.stdout().contains("prw"), "{listed}");
    run_with_input(rl.command(["cp", "-", "a:/srv"]), out.bytes().to_vec()).ok();
    rl.cmd(["cp", "a:/srv/data/same", rl.path("back").to_str().unwrap()]).ok();
    assert_eq!(read(rl.path("back")), "one\n");
    run_with_input(rl.command(["cp", "-", "a:/srv/data/one"]), out.bytes().to_vec()).code(1).says("not a directory");
    run_with_input(rl.command(["cp", "-", "a:/srv"]), b"this is no archive".repeat(100)).code(1).says("tar archive");
}

#[test]
fn a_symlink_of_the_container_leads_nowhere_on_the_host() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let canary = rl.file("canary/secret", "of the host");
    let dir = canary.parent().unwrap().to_str().unwrap().to_string();
    ended(
        &rl,
        "a",
        &format!(
            "ln -s {dir} /out; ln -s {dir}/secret /file; ln -s ../../../../../../../{dir} /up; ln -s /proc/1/root /magic; true"
        ),
    );
    let host = rl.file("mine", "mine");
    for to in ["/out/secret", "/out/", "/up/secret", "/file", "/magic/tmp"] {
        rl.cmd(["cp", host.to_str().unwrap(), &format!("a:{to}")]);
        assert_eq!(read(&canary), "of the host", "{to}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "{to}");
    }
    for from in ["/out/secret", "/file", "/up/secret"] {
        let _ = fs::remove_file(rl.path("got"));
        rl.cmd(["cp", "-L", &format!("a:{from}"), rl.path("got").to_str().unwrap()]);
        assert!(!fs::read_to_string(rl.path("got")).unwrap_or_default().contains("of the host"), "{from}");
    }
    // And the other way: what the container sends is not unpacked through a symlink of the host's tree.
    symlink(&dir, rl.path("trap")).unwrap();
    fs::create_dir(rl.path("dest")).unwrap();
    symlink(&dir, rl.path("dest/data")).unwrap();
    ended(&rl, "b", "mkdir /data; echo evil >/data/secret");
    rl.cmd(["cp", "b:/data", rl.path("dest").to_str().unwrap()]).code(1);
    assert_eq!(read(&canary), "of the host");
}

#[test]
fn a_directory_that_becomes_a_symlink_meanwhile_leads_nowhere_either() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let canary = rl.file("canary/secret", "of the host");
    let dir = canary.parent().unwrap().to_str().unwrap().to_string();
    let swap = format!(
        "mkdir /real; echo inside >/real/secret; ln -s {dir} /link; mv /real /at; while :; do mv /at /real; mv /link /at; mv /at /link; mv /real /at; done"
    );
    rl.cmd(["run", "-d", "--name", "a", &image("alpine"), "sh", "-c", &swap]).ok();
    let host = rl.file("mine", "mine");
    for _ in 0..40 {
        rl.cmd(["cp", host.to_str().unwrap(), "a:/at/secret"]);
        rl.cmd(["cp", host.to_str().unwrap(), "a:/at/new"]);
        assert_eq!(read(&canary), "of the host");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        let _ = fs::remove_file(rl.path("got"));
        rl.cmd(["cp", "a:/at/secret", rl.path("got").to_str().unwrap()]);
        assert!(!fs::read_to_string(rl.path("got")).unwrap_or_default().contains("of the host"));
    }
    rl.cmd(["rm", "-f", "a"]).ok();
}

#[test]
fn a_directory_that_is_swapped_for_a_symlink_all_the_time_leads_nowhere_either() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let canary = rl.file("canary/secret", "of the host");
    let dir = canary.parent().unwrap().to_path_buf();
    let before = support::Tree::of(&dir);
    rl.file("shared/real/secret", "inside");
    let (real, link) = (rl.path("shared/real"), rl.path("shared/link"));
    let host = rl.file("mine", "mine");
    let archive = TarBuilder::new().file("secret", "evil").symlink("up", "../../../../..").finish();
    running(&rl, "a", &["-v", &format!("{}:/v", rl.path("shared").display())], "true");
    for target in [dir.display().to_string(), format!("../../../../../../../..{}", dir.display()), "/proc/1/root".into()] {
        symlink(&target, &link).unwrap();
        support::while_swapping(&real, &link, || {
            for n in 0..18 {
                let got = rl.path("got");
                rl.cmd(["cp", host.to_str().unwrap(), "a:/v/real/secret"]);
                rl.cmd(["cp", host.to_str().unwrap(), &format!("a:/v/link/new{n}")]);
                run_with_input(rl.command(["cp", "-", "a:/v/real"]), archive.clone());
                rl.cmd(["cp", "-L", "a:/v/real/secret", got.to_str().unwrap()]);
                assert!(!fs::read_to_string(&got).unwrap_or_default().contains("of the host"), "{target}");
                let _ = fs::remove_file(&got);
            }
        });
        before.is_unchanged(&dir);
        // Whichever of the two names the link has now.
        if real.is_symlink() {
            fs::remove_file(&real).unwrap();
            fs::rename(&link, &real).unwrap();
        } else {
            fs::remove_file(&link).unwrap();
        }
    }
    rl.cmd(["rm", "-f", "a"]).ok();
}
