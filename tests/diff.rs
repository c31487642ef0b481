//! `rl diff` and `rl export`: what a container has changed in its files, and all of them.

mod support;
use std::fs;
use support::{Feature, Rl, image, require, run};

const CHANGES: &str = "echo x >/etc/new; echo more >>/etc/passwd; rm /etc/motd; rm -rf /var/cache; mkdir -p /srv/a/b; touch /srv/a/b/c; \
    rm -rf /opt /media; mkdir /media; touch /media/new; chmod 700 /home; touch /tmp/t && rm /tmp/t; ln -s x /link; mkfifo /pipe";

#[track_caller]
fn assert_changes(diff: &str) {
    let lines: Vec<&str> = diff.lines().collect();
    for wanted in [
        "C /etc",
        "A /etc/new",
        "C /etc/passwd",
        "D /etc/motd",
        "C /var",
        "D /var/cache",
        "C /srv",
        "A /srv/a",
        "A /srv/a/b",
        "A /srv/a/b/c",
        "D /opt",
        "C /media",
        "A /media/new",
        "C /home",
        "A /link",
        "A /pipe",
    ] {
        assert!(lines.contains(&wanted), "{wanted} is missing in:\n{diff}");
    }
    for other in ["/tmp", "/proc", "/dev", "/sys", "/etc/hosts", "/etc/resolv.conf", "/usr", "/bin", "C /"] {
        assert!(!lines.iter().any(|line| *line == other || line.get(2..) == Some(other)), "{other} in:\n{diff}");
    }
    assert!(diff.contains("D /media/cdrom"), "what an opaque directory hides is deleted:\n{diff}");
    let paths: Vec<&str> = lines.iter().map(|line| &line[2..]).collect();
    assert!(paths.is_sorted(), "{diff}");
}

#[test]
fn changes_are_told_of_a_container_that_runs_and_of_one_that_does_not() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let script = format!("{CHANGES}; touch /ready; exec sleep 1000");
    rl.cmd(["run", "-d", "--name", "a", "-v", "vol:/vol", &image("alpine"), "sh", "-c", &script]).ok();
    support::eventually("the container has written", || rl.cmd(["diff", "a"]).ok().stdout().contains("A /ready"));
    let running = rl.cmd(["diff", "a"]).ok().stdout().to_string();
    assert_changes(&running);
    rl.cmd(["kill", "a"]).ok();
    rl.cmd(["wait", "a"]).ok();
    assert_eq!(rl.cmd(["diff", "a"]).ok().stdout(), running);
    let json = rl.cmd(["diff", "--format", "json", "a"]).ok().json();
    assert!(json["added"].as_array().unwrap().contains(&"/etc/new".into()), "{json}");
    assert!(json["deleted"].as_array().unwrap().contains(&"/etc/motd".into()), "{json}");
    assert!(json["changed"].as_array().unwrap().contains(&"/etc/passwd".into()), "{json}");
    let mine = rl.cmd(["container", "diff", "--format", "{{.Path}}={{.Kind}}", "a"]).ok();
    assert!(mine.stdout().lines().any(|line| line == "/etc/new=A"), "{mine}");
    rl.cmd(["diff", "nobody"]).code(1).says("no such container: nobody");
}

#[test]
fn a_container_that_only_ran_has_changed_nothing() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "--name", "a", &image("alpine"), "sh", "-c", "cat /etc/passwd; ls -lR /etc >/dev/null"]).ok();
    assert_eq!(rl.cmd(["diff", "a"]).ok().stdout(), "");
    assert_eq!(rl.cmd(["diff", "--format", "json", "a"]).ok().stdout(), "{}");
    rl.cmd(["create", "--name", "b", &image("alpine")]).ok();
    assert_eq!(rl.cmd(["diff", "b"]).ok().stdout(), "");
}

#[test]
fn a_name_cannot_break_the_line() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "--name", "a", &image("alpine"), "sh", "-c", "cd /srv; touch \"$(printf 'x\\nD etc')\""]).ok();
    assert_eq!(rl.cmd(["diff", "a"]).ok().stdout(), "C /srv\nA /srv/x\\nD etc");
}

#[test]
fn changes_of_a_view_of_the_host_are_told_too() {
    let rl = Rl::new();
    rl.file("tree/etc/kept", "1");
    rl.file("tree/etc/gone", "1");
    fs::create_dir_all(rl.path("tree/bin")).unwrap();
    let root = format!("rootfs:{}", rl.path("tree").display());
    let probe = "/bin/true";
    rl.cmd(["create", "--name", "a", &root, probe]).ok();
    assert_eq!(rl.cmd(["diff", "a"]).ok().stdout(), "");
    let new = rl.file("new", "from the host");
    rl.cmd(["cp", new.to_str().unwrap(), "a:/etc/new"]).ok();
    assert_eq!(rl.cmd(["diff", "a"]).ok().stdout(), "C /etc\nA /etc/new");
    // Of the host's own root every directory is an overlay of its own, and some are closed to us.
    rl.cmd(["run", "--name", "b", "rootfs:/", "true"]).ok();
    assert_eq!(rl.cmd(["diff", "b"]).ok().stdout(), "");
}

/// What tar lists of an archive: type and mode, owner, name.
fn listed(rl: &Rl, archive: &str) -> Vec<String> {
    let mut tar = std::process::Command::new("tar");
    tar.args(["-tv", "--numeric-owner", "-f"]).arg(rl.path(archive));
    let listed = run(tar).ok();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    listed.stdout().lines().map(line).collect()
}

#[test]
fn an_export_is_the_whole_root_without_its_volumes() {
    require!(Feature::Image("alpine"), Feature::Tool("tar"), Feature::SubIds);
    let rl = Rl::new();
    let script = "echo in >/vol/secret; echo mine >/srv/f; ln /srv/f /srv/same; ln -s f /srv/link; chown 7:8 /srv/f; rm /etc/motd; touch /ready; exec sleep 1000";
    rl.cmd(["run", "-d", "--name", "a", "-v", "vol:/vol", &image("alpine"), "sh", "-c", script]).ok();
    support::eventually("the container has written", || rl.cmd(["diff", "a"]).ok().stdout().contains("A /ready"));
    let check = |archive: &str| {
        let list = listed(&rl, archive);
        let has =
            |line: &str| assert!(list.iter().any(|found| found == line), "{line} is missing in {archive}:\n{}", list.join("\n"));
        for line in [
            "drwxr-xr-x 0/0 etc/",
            "-rw-r--r-- 7/8 srv/f",
            "lrwxrwxrwx 0/0 srv/link -> f",
            "hrw-r--r-- 7/8 srv/same link to srv/f",
            "drwxr-xr-x 0/0 vol/",
        ] {
            has(line);
        }
        let inside = |name: &str| {
            list.iter().any(|line| line.split(' ').nth(2).is_some_and(|found| found.starts_with(name) && found != name))
        };
        for mount in ["vol/", "proc/", "sys/"] {
            assert!(!inside(mount), "{mount} is not empty in {archive}");
        }
        assert!(inside("bin/") && !list.iter().any(|line| line.ends_with("etc/motd")), "{archive}");
    };
    rl.cmd(["export", "-o", rl.path("running.tar").to_str().unwrap(), "a"]).ok();
    check("running.tar");
    rl.cmd(["kill", "a"]).ok();
    rl.cmd(["wait", "a"]).ok();
    let stdout = rl.cmd(["export", "a"]).ok();
    rl.file("stopped.tar", stdout.bytes());
    check("stopped.tar");
    rl.cmd(["export", "-o", "/nowhere/x.tar", "a"]).code(1).says("cannot write /nowhere/x.tar");
    rl.cmd(["export", "-o", rl.path("x.tar").to_str().unwrap(), "nobody"]).code(1).says("no such container");
    assert!(!rl.path("x.tar").exists());
    rl.cmd(["export", "-o", "/dev/null", "a"]).ok();
    let (code, screen) = rl.pty(["export", "a"]).finish();
    assert!(code == 1 && screen.contains("does not go to a terminal"), "{screen}");
}

#[test]
fn a_hostile_container_exports_nothing_of_the_host() {
    require!(Feature::Image("alpine"), Feature::Tool("tar"));
    let rl = Rl::new();
    let canary = rl.file("canary/secret", "of the host");
    let dir = canary.parent().unwrap().to_str().unwrap().to_string();
    let swap = format!(
        "ln -s {dir} /link; mkdir /at; touch /at/mine; while :; do mv /at /real; mv /link /at; mv /at /link; mv /real /at; done"
    );
    rl.cmd(["run", "-d", "--name", "a", &image("alpine"), "sh", "-c", &swap]).ok();
    for _ in 0..20 {
        let out = rl.cmd(["export", "a"]);
        assert!(!out.bytes().windows(11).any(|bytes| bytes == b"of the host"), "the canary is in the archive");
        let diff = rl.cmd(["diff", "a"]);
        assert!(!diff.stdout().contains("secret"), "{diff}");
    }
    rl.cmd(["rm", "-f", "a"]).ok();
}
