//! An image's configuration is honoured: what runs, as whom, where, and with what around it.

mod support;
use serde_json::{Value, json};
use std::fs;
use support::{Feature, Layout, Rl, Run, TarBuilder, image, images, probe, require};

/// An image on alpine with these files and this configuration.
fn on_alpine(rl: &Rl, layer: TarBuilder, config: Value) -> String {
    Layout::on(&images().join("alpine"), rl.path("image")).layer(&layer.finish()).config(config).write()
}

fn run_it(rl: &Rl, flags: &[&str], image: &str, command: &[&str]) -> Run {
    rl.cmd([&["run", "--rm"], flags, &[image], command].concat())
}

#[test]
fn entrypoint_and_cmd_are_what_runs() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let image = on_alpine(&rl, TarBuilder::new(), json!({"Entrypoint": ["echo", "entry"], "Cmd": ["cmd", "two"]}));
    assert_eq!(run_it(&rl, &[], &image, &[]).ok().stdout(), "entry cmd two");
    assert_eq!(run_it(&rl, &[], &image, &["given"]).ok().stdout(), "entry given");
    assert_eq!(run_it(&rl, &["--entrypoint", "printf"], &image, &["%s", "x"]).ok().stdout(), "x");
    assert_eq!(run_it(&rl, &["--entrypoint", ""], &image, &["pwd"]).ok().stdout(), "/");
    run_it(&rl, &["--entrypoint", ""], &image, &[]).code(125).says("no command");
}

#[test]
fn an_image_without_a_command_needs_one() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let image = on_alpine(&rl, TarBuilder::new(), json!({}));
    run_it(&rl, &[], &image, &[]).code(125).says("no command");
    assert_eq!(run_it(&rl, &[], &image, &["echo", "hi"]).ok().stdout(), "hi");
    let image =
        on_alpine(&rl, TarBuilder::new(), json!({"Entrypoint": null, "Cmd": null, "Env": null, "Labels": null, "Volumes": null}));
    assert_eq!(run_it(&rl, &[], &image, &["echo", "hi"]).ok().stdout(), "hi");
}

#[test]
fn the_environment_is_the_images_with_ours_below_and_flags_above() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let env = ["A=image", "B=image", "PATH=/opt:/bin:/usr/bin", "ODD=a=b c"];
    let image = on_alpine(&rl, TarBuilder::new(), json!({"Env": env, "Cmd": ["env"]}));
    let run = run_it(&rl, &["-e", "B=flag", "--hostname", "box"], &image, &[]).ok();
    let mut lines: Vec<_> = run.stdout().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=image", "B=flag", "HOME=/root", "HOSTNAME=box", "ODD=a=b c", "PATH=/opt:/bin:/usr/bin"]);
}

#[test]
fn an_image_without_a_path_gets_dockers() {
    require!(Feature::Probe);
    let rl = Rl::new();
    let layer = TarBuilder::new().file("probe", fs::read(probe()).unwrap()).finish();
    let image = Layout::new(rl.path("image")).layer(&layer).config(json!({"Entrypoint": ["/probe"]})).write();
    let seen = run_it(&rl, &["--hostname", "box"], &image, &["one"]).ok().json();
    assert_eq!(
        seen["env"],
        json!({"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME": "box", "HOME": "/"})
    );
    assert_eq!(seen["args"], json!(["/probe", "one"]));
    assert_eq!((&seen["pid"], &seen["ppid"]), (&json!(1), &json!(0)));
}

#[test]
fn the_working_directory_is_made() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let image = on_alpine(
        &rl,
        TarBuilder::new(),
        json!({"WorkingDir": "/srv/new/app", "User": "1000", "Cmd": ["sh", "-c", "pwd; stat -c %a:%u ."]}),
    );
    assert_eq!(run_it(&rl, &[], &image, &[]).ok().stdout(), "/srv/new/app\n755:0");
    assert_eq!(run_it(&rl, &["-w", "/tmp"], &image, &["pwd"]).ok().stdout(), "/tmp");
}

#[test]
fn the_user_is_the_images_with_its_groups_and_home() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1500:1501:App:/srv/app:/bin/sh\n";
    let group = "root:x:0:\napp:x:1501:\nextra:x:1600:app\nother:x:1700:root,app\n";
    let files = || {
        let files = TarBuilder::new().dir("etc");
        let files = files.entry(b'0', "etc/passwd", 0o644, (0, 0), "", passwd.as_bytes());
        files.entry(b'0', "etc/group", 0o644, (0, 0), "", group.as_bytes())
    };
    let ids = "id -u; id -g; for g in $(id -G); do echo $g; done | sort -n | tr '\\n' ' '; echo $HOME";
    for (user, wanted) in [
        ("app", "1500\n1501\n1501 1600 1700 /srv/app"),
        ("1500", "1500\n1501\n1501 1600 1700 /srv/app"),
        ("app:extra", "1500\n1600\n1600 /srv/app"),
        ("app:1700", "1500\n1700\n1700 /srv/app"),
        ("1234", "1234\n0\n0 /"),
        ("1234:app", "1234\n1501\n1501 /"),
        ("", "0\n0\n0 1700 /root"),
    ] {
        let image = on_alpine(&rl, files(), json!({"User": user, "Cmd": ["sh", "-c", ids]}));
        assert_eq!(run_it(&rl, &[], &image, &[]).ok().stdout(), wanted, "USER {user:?}");
    }
    let image = on_alpine(&rl, files(), json!({"User": "app"}));
    assert_eq!(run_it(&rl, &["-u", "0:0"], &image, &["id", "-u"]).ok().stdout(), "0", "the flag wins");
    run_it(&rl, &["-u", "nobody"], &image, &["true"]).code(125).says("nobody");
}

#[test]
fn volumes_are_anonymous_volumes_filled_from_the_image() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let layer = TarBuilder::new().entry(b'5', "data", 0o750, (7, 8), "", b"").file("data/seed", "seeded");
    let image = on_alpine(&rl, layer, json!({"Volumes": {"/data": {}, "/empty": {}}}));
    rl.cmd([
        "run",
        "--name",
        "a",
        &image,
        "sh",
        "-c",
        "stat -c %a:%u:%g /data; cat /data/seed; grep -c -E ' /(data|empty) ' /proc/mounts",
    ])
    .ok();
    assert_eq!(rl.inspect("a")["Mounts"].as_array().unwrap().len(), 2);
    assert_eq!(rl.cmd(["volume", "ls", "-q"]).ok().stdout().lines().count(), 2);
    rl.cmd(["rm", "-v", "a"]).ok();
    assert_eq!(rl.cmd(["volume", "ls", "-q"]).ok().stdout(), "");
    // A mount of the user's takes the place of the image's.
    let bind = format!("{}:/data", rl.home().display());
    run_it(&rl, &["-v", &bind], &image, &["touch", "/data/mine"]).ok();
    assert!(rl.home().join("mine").exists());
    assert_eq!(rl.cmd(["volume", "ls", "-q"]).ok().stdout(), "");
}

#[test]
fn stop_signal_labels_and_ports_are_in_inspect() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let config =
        json!({"StopSignal": "SIGQUIT", "Labels": {"a": "image", "b": "image"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}}});
    let image = on_alpine(&rl, TarBuilder::new(), config);
    rl.cmd(["run", "--name", "a", "--label", "b=flag", &image, "true"]).ok();
    let config = rl.inspect("a")["Config"].clone();
    assert_eq!(config["StopSignal"], "SIGQUIT");
    assert_eq!(config["Labels"], json!({"a": "image", "b": "flag"}));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
}

#[test]
fn a_real_application_image_runs_as_its_user() {
    require!(Feature::Image("python"), Feature::SubIds);
    let rl = Rl::new();
    let run = run_it(&rl, &[], &image("python"), &["sh", "-c", "id -u; id -G; pwd; echo $GREETING; ls static; ls"]).ok();
    let lines: Vec<_> = run.stdout().lines().collect();
    assert_eq!(lines[..5], ["1500", "1500 1600", "/srv/app", "hello", "new.css"], "{run}");
    // What a later layer has removed is gone.
    assert!(!lines[5..].contains(&"old.py") && !lines[5..].contains(&"cache"), "{run}");
}
