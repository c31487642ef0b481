//! `rl ps`: what it lists, by which filters, in which form.

mod support;
use std::time::Instant;
use support::{Background, Feature, Rl, image, require};

/// One that has ended with this code.
#[track_caller]
fn ended(rl: &Rl, name: &str, flags: &[&str], code: i32) {
    let script = format!("exit {code}");
    rl.cmd([&["run", "--network", "none", "--name", name], flags, &[&image("alpine"), "sh", "-c", &script]].concat()).code(code);
}

/// One that runs until it is killed.
#[track_caller]
fn running(rl: &Rl, name: &str, flags: &[&str]) -> Background {
    let container = rl.start(
        [&["run", "--network", "none", "--name", name], flags, &[&image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]]
            .concat(),
    );
    container.expect("ready");
    container
}

/// The names that these arguments list.
#[track_caller]
fn names(rl: &Rl, args: &[&str]) -> Vec<String> {
    let listed = rl.cmd([&["ps", "--format", "{{.Names}}"], args].concat()).ok();
    listed.stdout().lines().map(String::from).collect()
}

#[test]
fn filters_choose_what_is_listed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "one", &["--label", "tier=db", "--label", "x"], 0);
    ended(&rl, "two", &["-v", "data:/data", "--label", "tier=web"], 3);
    let up = running(&rl, "three", &["--init"]);
    let id = rl.inspect("one")["Id"].as_str().unwrap().to_string();
    let alpine = image("alpine");
    for (filters, wanted) in [
        (&["status=exited"][..], &["two", "one"][..]),
        (&["status=exited", "status=running"], &["three", "two", "one"]),
        (&["exited=3"], &["two"]),
        (&["name=t"], &["three", "two"]),
        (&["name=^two$"], &["two"]),
        (&["label=tier"], &["two", "one"]),
        (&["label=tier=db"], &["one"]),
        (&["label=tier", "label=x"], &["one"]),
        (&["label!=tier"], &["three"]),
        (&[&format!("id={}", &id[..8])], &["one"]),
        (&["volume=data"], &["two"]),
        (&["volume=/data"], &["two"]),
        (&["before=two"], &["one"]),
        (&["since=one"], &["three", "two"]),
        (&[&format!("ancestor={alpine}")], &["three", "two", "one"]),
        (&["ancestor=other"], &[]),
        (&["network=none", "status=exited"], &["two", "one"]),
        (&["health=none", "name=one"], &["one"]),
        (&["publish=80"], &[]),
    ] {
        let mut args = vec!["-a"];
        filters.iter().for_each(|filter| args.extend(["--filter", filter]));
        assert_eq!(names(&rl, &args), wanted, "{filters:?}");
    }
    assert_eq!(names(&rl, &[]), ["three"]);
    assert_eq!(names(&rl, &["--filter", "status=exited"]), ["two", "one"], "a state asked for is shown without -a");
    assert_eq!(names(&rl, &["-l"]), ["three"]);
    assert_eq!(names(&rl, &["-n", "2"]), ["three", "two"]);
    assert_eq!(names(&rl, &["--last", "9"]), ["three", "two", "one"]);
    for (filter, says) in
        [("nope=1", "unknown filter \"nope\""), ("status=odd", "status=odd"), ("name", "KEY=VALUE"), ("before=none", "none")]
    {
        rl.cmd(["ps", "--filter", filter]).code(1).says(says);
    }
    rl.cmd(["rm", "-f", "three"]).ok();
    up.finish().code(137);
}

#[test]
fn the_form_is_the_callers_choice() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "web", &["--label", "com.example.tier=db", "-v", "data:/data"], 3);
    let id = rl.inspect("web")["Id"].as_str().unwrap().to_string();
    let shown = |format: &str| rl.cmd(["ps", "-a", "--format", format]).ok().stdout().to_string();
    assert_eq!(
        shown("{{.ID}} {{.Names}} {{.State}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}}"),
        format!("{} web exited data 1 none", &id[..12])
    );
    assert_eq!(shown(r#"{{.Label "com.example.tier"}} {{.Labels}}"#), "db com.example.tier=db");
    assert_eq!(shown(r"table {{.Names}}\t{{.State}}"), "NAMES     STATE\nweb       exited");
    assert_eq!(shown("{{if eq .State \"exited\"}}{{.Names | upper}}{{end}}"), "WEB");
    let line: serde_json::Value = serde_json::from_str(&shown("json")).expect("one line of JSON");
    assert_eq!((&line["Names"], &line["State"], &line["Command"]), (&"web".into(), &"exited".into(), &"\"sh -c exit 3\"".into()));
    assert!(line["CreatedAt"].as_str().unwrap().ends_with("+0000 UTC"), "{line}");
    assert_eq!(rl.cmd(["ps", "-aq", "--no-trunc"]).ok().stdout(), id);
    rl.cmd(["ps", "-a", "--format", "{{.Nope}}"]).code(1).says("can't evaluate field Nope").says("try: one of .ID ");
    rl.cmd(["ps", "-a", "--format", "{{.ID"]).code(1).says("template parsing error: template: :1: unclosed action");
}

#[test]
fn a_terminal_of_80_columns_is_wide_enough() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "a_container_with_quite_a_name", &[], 0);
    let (code, screen) = rl.pty(["ps", "-a"]).finish();
    assert_eq!(code, 0);
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(lines[0].contains("CONTAINER ID") && lines[0].ends_with("NAMES"), "{screen}");
    let wide = rl.cmd(["ps", "-a"]).ok();
    assert!(wide.stdout().contains(&image("alpine")), "what is no terminal gets everything: {wide}");
}

#[test]
fn a_thousand_records_are_listed_at_once() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "one", &[], 0);
    let id = rl.inspect("one")["Id"].as_str().unwrap().to_string();
    let containers = rl.store().join("containers");
    for n in 0..1000 {
        let (new, name) = (format!("{n:064x}"), format!("c{n}"));
        std::fs::create_dir(containers.join(&new)).unwrap();
        for file in ["config.json", "state.json"] {
            let text = std::fs::read_to_string(containers.join(&id).join(file)).unwrap();
            std::fs::write(
                containers.join(&new).join(file),
                text.replace(&id, &new).replace("\"name\":\"one\"", &format!("\"name\":\"{name}\"")),
            )
            .unwrap();
        }
    }
    let begun = Instant::now();
    assert_eq!(rl.cmd(["ps", "-aq"]).ok().stdout().lines().count(), 1001);
    println!("ps -a of 1001: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(rl.cmd(["ps", "-q"]).ok().stdout(), "");
    println!("ps of 1001 stopped: {:?}", begun.elapsed());
    for n in 0..1000 {
        std::fs::remove_dir_all(containers.join(format!("{n:064x}"))).unwrap();
    }
}

#[test]
fn sizes_are_what_a_container_wrote_and_that_with_its_image() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let write = "dd if=/dev/zero of=/f bs=1000 count=123 2>/dev/null";
    rl.cmd(["run", "--name", "web", &image("alpine"), "sh", "-c", write]).ok();
    let size = rl.cmd(["ps", "-a", "--format", "{{.Size}}"]).ok();
    assert!(size.stdout().starts_with("123kB (virtual ") && size.stdout().ends_with("MB)"), "{size}");
    let table = rl.cmd(["ps", "-as"]).ok();
    assert!(
        table.stdout().lines().next().unwrap().ends_with("NAMES     SIZE") && table.stdout().contains("123kB (virtual"),
        "{table}"
    );
    assert!(!rl.cmd(["ps", "-a"]).ok().stdout().contains("SIZE"));
    let sizes = rl.cmd(["inspect", "--size", "web"]).ok().json()[0].clone();
    assert_eq!(sizes["SizeRw"], 123_000);
    assert!(sizes["SizeRootFs"].as_u64().unwrap() > 1_000_000, "{sizes}");
    assert!(rl.inspect("web").get("SizeRw").is_none());
}

#[test]
fn published_ports_are_shown_while_it_runs() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "-d", "--name", "web", "-p", "127.0.0.1::80", &image("alpine"), "sleep", "1000"]).ok();
    let port = rl.cmd(["port", "web", "80"]).ok().stdout().rsplit(':').next().unwrap().to_string();
    let shown = rl.cmd(["ps", "--format", "{{.Ports}}"]).ok();
    assert!(shown.stdout().starts_with(&format!("127.0.0.1:{port}->80/tcp")), "{shown}");
    for (filter, there) in
        [(format!("publish={port}"), 1), ("publish=80".into(), 0), ("expose=80/tcp".into(), 1), ("expose=70-79".into(), 0)]
    {
        let listed = rl.cmd(["ps", "-q", "--filter", &filter]).ok();
        assert_eq!(listed.stdout().lines().count(), there, "{filter}");
    }
    rl.cmd(["kill", "web"]).ok();
    rl.cmd(["wait", "web"]).ok();
    assert_eq!(rl.cmd(["ps", "-a", "--format", "{{.Ports}}"]).ok().stdout(), "");
}
