//! `rl events`: what is told of containers and volumes, to whom, in which form.

mod support;
use support::{Feature, Rl, require, run};

#[test]
fn what_happens_is_told_to_who_listens() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let listener = rl.start(["events", "--format", "{{.Type}} {{.Action}} {{.Actor.ID}}"]);
    // It has begun when its watch stands: the first of these that it sees shows that.
    let mut n = 0;
    support::eventually("the listener listens", || {
        n += 1;
        rl.cmd(["volume", "create", &format!("probe{n}")]).ok();
        listener.stdout().contains("volume create probe")
    });
    rl.cmd(["volume", "create", "data"]).ok();
    rl.cmd(["volume", "rm", "data"]).ok();
    listener.expect("volume create data\nvolume destroy data\n");
    listener.signal(nix::sys::signal::Signal::SIGTERM);
    listener.finish().killed_by(15);
}

#[test]
fn what_happens_to_images_is_told() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::Tool("skopeo"));
    let rl = Rl::new();
    let registry = support::Registry::start(&rl);
    registry.push(&support::image("alpine"), "a/b:c");
    let name = format!("{}/a/b", registry.host());
    rl.cmd(["pull", &format!("{name}:c")]).ok();
    rl.cmd(["tag", &format!("{name}:c"), "mine"]).ok();
    let id = rl.cmd(["inspect", "--type", "image", "-f", "{{.Id}}", "mine"]).ok().stdout().to_string();
    rl.cmd(["rmi", "mine"]).ok();
    rl.cmd(["rmi", &format!("{name}:c")]).ok();
    let told = rl
        .cmd([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "type=image",
            "--format",
            "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}",
        ])
        .ok();
    let lines: Vec<&str> = told.stdout().lines().collect();
    let wanted = [
        format!("pull {name}:c {name}"),
        format!("tag {id} mine:latest"),
        format!("untag {id} mine:latest"),
        format!("untag {id} {name}:c"),
        format!("delete {id} {id}"),
    ];
    assert_eq!(lines.iter().filter(|line| !line.contains('@')).collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>(), "{told}");
    let removed = rl
        .cmd(["events", "--since", "1h", "--until", "0s", "--filter", &format!("image={name}:c"), "--filter", "event=untag"])
        .ok();
    assert!(removed.stdout().contains(" image untag "), "{removed}");
}

#[test]
fn the_past_is_told_and_filtered() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["volume", "create", "one"]).ok();
    rl.cmd(["volume", "create", "two"]).ok();
    rl.cmd(["volume", "rm", "one"]).ok();
    run(rl.alpine(&["--name", "web", "--label", "tier=db"], &["true"])).ok();
    let told = |filters: &[&str]| {
        let args = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}} {{.Actor.ID}}"];
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        rl.cmd(args.into_iter().chain(filters)).ok().stdout().to_string()
    };
    assert_eq!(told(&["type=volume"]), "create one\ncreate two\ndestroy one");
    assert_eq!(told(&["type=volume", "event=destroy"]), "destroy one");
    assert_eq!(told(&["volume=two"]), "create two");
    assert_eq!(told(&["container=nobody"]), "");
    let destroyed = told(&["event=destroy", "container=web", "label=tier=db"]);
    assert!(destroyed.starts_with("destroy ") && destroyed.lines().count() == 1, "{destroyed}");
    let json = rl
        .cmd([
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "container=web",
            "--filter",
            "event=destroy",
            "--format",
            "json",
        ])
        .ok()
        .json();
    assert_eq!((&json["Type"], &json["Actor"]["Attributes"]["name"]), (&"container".into(), &"web".into()));
    let plain = rl.cmd(["events", "--since", "1h", "--until", "0s", "--filter", "volume=two"]).ok();
    assert!(plain.stdout().ends_with(" volume create two (driver=local)"), "{plain}");
    rl.cmd(["events", "--filter", "nope=1"]).code(1).says("unknown filter");
    rl.cmd(["events", "--since", "yesterday"]).code(1).says("is no time");
}
