//! Images in the store by Docker's verbs: listed, named, removed, looked at, pruned; and read by other tools.

mod support;
use serde_json::{Value, json};
use std::{fs, process::Command};
use support::{Feature, Layout, Registry, Rl, Run, TarBuilder, image, require, run};

/// A registry with the real Alpine under several names.
fn registry(rl: &Rl, names: &[&str]) -> Registry {
    let registry = Registry::start(rl);
    names.iter().for_each(|name| drop(registry.push(&image("alpine"), name)));
    registry
}

/// Columns of a listing without its head.
fn rows(listing: &Run) -> Vec<Vec<String>> {
    let columns = |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect();
    listing.stdout().lines().skip(1).map(columns).collect()
}

fn id(rl: &Rl, name: &str) -> String {
    rl.cmd(["inspect", "--type", "image", "-f", "{{.Id}}", name]).ok().stdout().to_string()
}

/// `blobs/` and `layers/` have nothing any more.
fn nothing_is_stored(rl: &Rl) -> bool {
    let files =
        |dir: &str| fs::read_dir(rl.store().join(dir)).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let maps = files("layers");
    files("blobs/sha256").is_empty() && maps.iter().all(|map| fs::read_dir(map).unwrap().next().is_none())
}

/// A small image with a label; `seed` makes its layer and its configuration its own.
fn tiny(rl: &Rl, seed: &str) -> String {
    let layer = TarBuilder::new().file("seed", seed).finish();
    let shared = TarBuilder::new().file("shared", "the same in all of them").finish();
    let layout = Layout::new(rl.path(format!("tiny-{seed}"))).layer(&shared).layer(&layer);
    layout.config(json!({"Cmd": ["/seed"], "Labels": {"seed": seed}})).write()
}

#[test]
fn an_image_is_listed_under_each_of_its_names() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let registry = registry(&rl, &["a/b:c"]);
    let name = format!("{}/a/b", registry.host());
    assert_eq!(rl.cmd(["images"]).ok().stdout(), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE");
    rl.cmd(["pull", &format!("{name}:c")]).ok();
    rl.cmd(["tag", &format!("{name}:c"), "other"]).ok();
    let id = id(&rl, "other");
    let short = &id["sha256:".len()..][..12];
    let listed = rows(&rl.cmd(["images"]).ok());
    let names: Vec<&[String]> = listed.iter().map(|row| &row[..3]).collect();
    assert_eq!(names, [[name.as_str(), "c", short], ["other", "latest", short]]);
    assert_eq!(rl.cmd(["image", "ls", "-q", "--no-trunc"]).ok().stdout(), format!("{id}\n{id}"));
    assert_eq!(rl.cmd(["images", "-q", "oth*"]).ok().stdout(), short);
    assert_eq!(rl.cmd(["images", "-q", "nothing"]).ok().stdout(), "");
    assert_eq!(rl.cmd(["images", "--filter", "reference=*/a/b:*", "--format", "{{.Tag}}"]).ok().stdout(), "c");
    assert!(rl.cmd(["images", "--digests"]).ok().stdout().contains("sha256:"));
    let line: Value = rl.cmd(["images", "--format", "json", "other"]).ok().json();
    assert_eq!((&line["Repository"], &line["ID"], &line["Digest"]), (&json!("other"), &json!(short), &json!("<none>")));
    rl.cmd(["images", "--filter", "colour=red"]).code(1).says("no filter").says("try: ");
}

#[test]
fn names_that_could_be_mistaken_for_each_other_are_not() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    let names = ["a/b:c", "a/b/c:latest", "a:b", "a/b/c:d"];
    for (number, name) in names.iter().enumerate() {
        registry.push(&tiny(&rl, &number.to_string()), name);
        rl.cmd(["pull", "-q", &format!("{}/{name}", registry.host())]).ok();
    }
    for (number, name) in names.iter().enumerate() {
        let name = format!("{}/{name}", registry.host());
        let label = rl.cmd(["inspect", "-f", "{{.Config.Labels.seed}}", &name]).ok();
        assert_eq!(label.stdout(), number.to_string());
    }
    rl.cmd(["rmi", &format!("{}/a/b:c", registry.host())]).ok();
    assert_eq!(rows(&rl.cmd(["images"]).ok()).len(), 3);
    assert_eq!(rl.cmd(["images", "-q", "--filter", "label=seed=1"]).ok().stdout().lines().count(), 1);
    rl.cmd(["system", "check"]).ok();
}

#[test]
fn an_image_runs_by_its_id_and_by_its_beginning() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    rl.cmd(["pull", &format!("{}/x:1", registry.host())]).ok();
    drop(registry);
    let id = id(&rl, rl.cmd(["images", "-q"]).ok().stdout());
    for name in [&id[..], &id["sha256:".len()..], &id["sha256:".len()..][..6]] {
        assert_eq!(rl.cmd(["run", "--rm", name, "echo", "here"]).ok().stdout(), "here", "{name}");
    }
}

#[test]
fn rmi_takes_names_away_and_the_image_with_the_last() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    rl.cmd(["pull", &name]).ok();
    let id = id(&rl, &name);
    rl.cmd(["tag", &id, "second:2"]).ok();
    rl.cmd(["rmi", &id]).code(1).says("several names").says("try: ");
    assert_eq!(rl.cmd(["rmi", "second:2"]).ok().stdout(), "Untagged: second:2");
    let removed = rl.cmd(["image", "rm", &name]).ok();
    let lines: Vec<&str> = removed.stdout().lines().collect();
    assert_eq!(lines[0], format!("Untagged: {name}"));
    assert!(lines[1].starts_with(&format!("Untagged: {}/x@sha256:", registry.host())), "{removed}");
    assert_eq!(lines[2], format!("Deleted: {id}"));
    assert!(lines.len() == 4 && lines[3].starts_with("Deleted: sha256:"), "{removed}");
    assert!(nothing_is_stored(&rl));
    assert_eq!(rl.cmd(["rmi", &name]).code(1).says("no such image").stdout(), "");
    rl.cmd(["rmi", "-f", &name]).ok().says("no such image");
    rl.cmd(["system", "check"]).ok();
}

#[test]
fn what_a_container_uses_is_not_removed_under_it() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::SubIds);
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    rl.cmd(["run", "--name", "stopped", &name, "true"]).ok();
    rl.cmd(["rmi", &name]).code(1).says("uses it").says("try: rl rm ");
    let removed = rl.cmd(["rmi", "-f", &name]).ok();
    assert!(removed.stdout().contains("Deleted: sha256:"), "{removed}");
    assert_eq!(rows(&rl.cmd(["images"]).ok()).len(), 0);
    // Its layer stays: prune knows of it too.
    rl.cmd(["image", "prune", "-a", "-f"]).ok();
    assert_eq!(rl.cmd(["start", "-a", "stopped"]).ok().stdout(), "");
    rl.cmd(["system", "check"]).ok();
    rl.cmd(["rm", "stopped"]).ok();
    rl.cmd(["image", "prune", "-f"]).ok();
    assert!(nothing_is_stored(&rl));

    let running = rl.start(["run", "--rm", &name, "sh", "-c", "echo ready; exec sleep 1000"]);
    running.expect("ready");
    let id = id(&rl, &name);
    rl.cmd(["rmi", "-f", &id]).code(1).says("running container");
    // By its name and by force it loses that, and goes on.
    assert!(!rl.cmd(["rmi", "-f", &name]).ok().stdout().contains("Deleted"));
    let listed = rows(&rl.cmd(["images", "--filter", "dangling=true"]).ok());
    assert_eq!(listed[0][..2], ["<none>", "<none>"]);
    assert!(rl.cmd(["image", "prune", "-f"]).ok().stdout().ends_with("Total reclaimed space: 0B"));
    rl.containers().iter().for_each(|id| drop(rl.cmd(["rm", "-f", id]).ok()));
    running.finish().code(137);
    let pruned = rl.cmd(["image", "prune", "-f"]).ok();
    assert!(pruned.stdout().contains(&format!("deleted: {id}")), "{pruned}");
    assert!(nothing_is_stored(&rl));
}

#[test]
fn a_layer_that_another_image_has_stays() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    for seed in ["one", "two"] {
        registry.push(&tiny(&rl, seed), &format!("{seed}:1"));
        rl.cmd(["pull", "-q", &format!("{}/{seed}:1", registry.host())]).ok();
    }
    let (one, two) = (format!("{}/one:1", registry.host()), format!("{}/two:1", registry.host()));
    let removed = rl.cmd(["rmi", &one]).ok();
    assert_eq!(removed.stdout().matches("Deleted: ").count(), 2, "the image and its own layer: {removed}");
    rl.cmd(["system", "check"]).ok();
    // Found and not executable: it is noise.
    rl.cmd(["run", "--rm", "--pull=never", &two]).code(126);
    rl.cmd(["rmi", &two]).ok();
    assert!(nothing_is_stored(&rl));
}

#[test]
fn an_image_whose_tag_moved_on_dangles_until_it_is_pruned() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    let name = format!("{}/app", registry.host());
    for seed in ["old", "new"] {
        registry.push(&tiny(&rl, seed), "app:latest");
        rl.cmd(["pull", "-q", &name]).ok();
    }
    let dangling = rl.cmd(["images", "-q", "--no-trunc", "--filter", "dangling=true"]).ok().stdout().to_string();
    assert_eq!(dangling.lines().count(), 1);
    assert_ne!(dangling, id(&rl, &name));
    assert_eq!(rl.cmd(["image", "prune", "-f", "--filter", "label=seed=new"]).ok().stdout(), "Total reclaimed space: 0B");
    assert!(rl.cmd_with_input(["image", "prune"], "n\n").code(1).stdout().contains("WARNING!"));
    let pruned = rl.cmd(["image", "prune", "-f", "--filter", "label=seed=old"]).ok();
    assert!(pruned.stdout().contains(&format!("deleted: {dangling}")), "{pruned}");
    assert_eq!(rows(&rl.cmd(["images"]).ok()).len(), 1);
    rl.cmd(["image", "prune", "-a", "-f"]).ok();
    assert!(nothing_is_stored(&rl));
}

#[test]
fn inspect_has_docker_s_shape() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"));
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    rl.cmd(["pull", "-q", &name]).ok();
    let shown = rl.cmd(["image", "inspect", &name]).ok().json()[0].clone();
    assert_eq!(shown["RepoTags"], json!([name]));
    assert!(shown["RepoDigests"][0].as_str().unwrap().starts_with(&format!("{}/x@sha256:", registry.host())));
    assert!(shown["Id"].as_str().unwrap().starts_with("sha256:") && shown["Size"].as_u64().unwrap() > 1_000_000);
    assert_eq!((&shown["Os"], &shown["Config"]["Cmd"]), (&json!("linux"), &json!(["/bin/sh"])));
    assert_eq!(shown["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert!(shown["Config"].as_object().unwrap().contains_key("Labels"));
    assert_eq!(rl.cmd(["inspect", &name]).ok().json()[0]["Id"], shown["Id"]);
    assert_eq!(rl.cmd(["inspect", "--type", "container", &name]).code(1).says("no such container").stdout(), "[]");
    rl.cmd(["image", "exists", &name]).ok();
    assert_eq!(rl.cmd(["image", "exists", "nothing"]).code(1).stderr(), "");
    let history = rl.cmd(["history", "--format", "{{.ID}} {{.Size}}", &name]).ok();
    assert!(history.stdout().starts_with(&shown["Id"].as_str().unwrap()["sha256:".len()..][..12]), "{history}");
}

#[test]
fn other_tools_read_the_store_and_push_what_was_pulled() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::Tool("skopeo"), Feature::Tool("umoci"));
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    let pulled = rl.cmd(["pull", &name]).ok();
    let digest = pulled.stdout().lines().next().unwrap().strip_prefix("Digest: ").unwrap().to_string();
    let stored = format!("oci:{}:{name}", rl.store().display());
    let tool = |args: &[&str]| {
        let mut command = Command::new(args[0]);
        // Nobody's logins: the default file may be another user's.
        command.args(&args[1..]).env("REGISTRY_AUTH_FILE", rl.file("no-logins", "{}"));
        run(command)
    };
    assert_eq!(tool(&["skopeo", "inspect", &stored]).ok().json()["Digest"], json!(digest));
    let copy = format!("{}/copy:1", registry.host());
    registry.push(&stored, "copy:1");
    let again = tool(&["skopeo", "inspect", "--tls-verify=false", &format!("docker://{copy}")]).ok();
    assert_eq!(again.json()["Digest"], json!(digest));
    let listed = tool(&["umoci", "list", "--layout", &rl.store().display().to_string()]).ok();
    assert!(listed.stdout().lines().any(|line| line == name), "{listed}");
    rl.cmd(["rmi", &name]).ok();
    assert!(!tool(&["skopeo", "inspect", &stored]).status.success());
}

#[test]
fn disk_use_is_told_and_given_back() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::SubIds);
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    let line = |kind: &str| {
        let shown = rl.cmd(["system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}"]).ok();
        shown.stdout().lines().find_map(|line| line.strip_prefix(&format!("{kind}|"))).unwrap_or_default().to_string()
    };
    assert_eq!(line("Images"), "0|0|0B");
    rl.cmd(["run", "--name", "c", "-v", "data:/data", &name, "sh", "-c", "echo 12345 > /file; chown 5 /file; echo 1 > /data/x"])
        .ok();
    assert!(line("Images").starts_with("1|1|"), "{}", line("Images"));
    assert_eq!((line("Containers").as_str(), line("Local Volumes").as_str()), ("1|0|6B (100%)", "1|1|0B (0%)"));
    assert!(rl.cmd(["system", "df", "-v"]).ok().stdout().contains("VOLUME NAME"));
    let pruned = rl.cmd(["system", "prune", "-a", "-f"]).ok();
    assert!(pruned.stdout().contains("Deleted Containers:") && pruned.stdout().contains("untagged: "), "{pruned}");
    assert!(nothing_is_stored(&rl) && rl.containers().is_empty());
    assert_eq!(line("Local Volumes"), "1|0|2B (100%)");
}

#[test]
fn reset_leaves_nothing_and_does_not_kill_unasked() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::SubIds);
    let rl = Rl::new();
    let registry = registry(&rl, &["x:1"]);
    let name = format!("{}/x:1", registry.host());
    let running =
        rl.start(["run", "-v", "/data", &name, "sh", "-c", "touch /data/x; chown 7 /data/x; echo ready; exec sleep 1000"]);
    running.expect("ready");
    rl.file("store/mine", "kept");
    rl.cmd(["system", "reset"]).code(1).says("is running").says("try: rl system reset -f");
    rl.cmd(["system", "reset", "-f"]).ok();
    running.finish();
    let left: Vec<_> = fs::read_dir(rl.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"], "what is not rl's stays");
    rl.cmd(["run", "--rm", &name, "true"]).ok();
}
