//! Images from a real registry: what a newcomer types works as typed; names, mirrors, platforms, logins, aliases.

mod support;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};
use support::{Action, Background, FaultProxy, Feature, LOGIN, Registry, Rl, Run, image, in_shell, require, run, two_layers};

/// A registry, with the real Alpine as docker.io's, and a user whose mirror of docker.io it is.
fn alpine(rl: &Rl) -> Registry {
    let registry = Registry::start(rl);
    registry.push(&image("alpine"), "library/alpine:latest");
    mirror(rl, &registry.host());
    registry
}

fn mirror(rl: &Rl, host: &str) {
    config(rl, &format!("[registries.\"docker.io\"]\nmirrors = [\"{host}\"]\n"));
}

fn config(rl: &Rl, text: &str) {
    rl.file("home/.config/rl/config.toml", text);
}

/// An image of two small layers, pushed under this name.
fn push(rl: &Rl, registry: &Registry, name: &str, seed: u64) {
    registry.push(&two_layers(rl.path(format!("image-{seed}")), seed).write(), name);
}

#[test]
fn what_a_newcomer_types_works_as_typed() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::Tool("skopeo"));
    let rl = Rl::new();
    let _registry = alpine(&rl);
    let first = rl.cmd(["run", "--rm", "alpine", "cat", "/etc/alpine-release"]).ok();
    assert!(first.stdout().starts_with("3."), "{first}");
    let first = first.says("Unable to find image 'alpine:latest' locally").says("latest: Pulling from library/alpine");
    first.says("Digest: sha256:").says("Status: Downloaded newer image for alpine:latest");
    let second = rl.cmd(["run", "--rm", "docker://alpine:latest", "cat", "/etc/alpine-release"]).ok();
    assert_eq!(second.stderr(), "");
    let mut terminal = rl.pty(["run", "--rm", "-it", "alpine", "sh"]);
    terminal.expect("# ");
    terminal.write("echo $((6 * 7)); exit 3\n");
    terminal.expect("42");
    assert_eq!(terminal.finish().0, 3);
}

#[test]
fn an_image_at_hand_opens_no_socket_and_reads_no_configuration() {
    require!(Feature::Image("alpine"), Feature::Tool("docker-registry"), Feature::Tool("strace"));
    let rl = Rl::new();
    drop(alpine(&rl));
    let registry = alpine(&rl);
    rl.cmd(["pull", "alpine"]).ok();
    drop(registry);
    let trace = rl.path("trace");
    // The Client alone: it is what would ask a registry. Init brings up its loopback device with a socket.
    let script = format!("exec strace -o {} -e trace=socket,connect,open,openat \"$@\"", trace.display());
    run(in_shell("sh", &script, &rl.command(["run", "--rm", "alpine", "true"]))).ok();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("openat("), "strace has seen something: {trace}");
    for line in trace.lines() {
        assert!(!line.starts_with("socket(") && !line.starts_with("connect("), "{line}");
        for file in ["config.toml", "auth.json", "resolv.conf", ".docker", "/etc/ssl"] {
            // A container's own /etc/resolv.conf is made from the host's.
            assert!(!line.contains(file) || file == "resolv.conf", "{line}");
        }
    }
}

#[test]
fn pull_says_what_docker_says() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "a/tool:v1", 1);
    let name = format!("{}/a/tool", registry.host());
    let pulled = rl.cmd(["pull", &format!("{name}:v1")]).ok();
    let text = pulled.stdout().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Digest: sha256:"), "{pulled}");
    assert_eq!(lines[1..], [format!("Status: Downloaded newer image for {name}:v1"), format!("{name}:v1")]);
    let pulled = pulled.says("v1: Pulling from a/tool").says("Pulling fs layer").says("Download complete").says("Pull complete");
    assert_eq!(pulled.stderr().matches("Pull complete").count(), 2, "{pulled}");
    let again = rl.cmd(["pull", &format!("{name}:v1")]).ok().says("Already exists");
    assert!(again.stdout().contains(&format!("Status: Image is up to date for {name}:v1")), "{again}");
    let quiet = rl.cmd(["pull", "-q", &format!("{name}:v1")]).ok();
    assert_eq!((quiet.stdout().len(), quiet.stderr()), ("sha256:".len() + 64, ""));
    // The digest that it said names the image as well, now and without the registry.
    let digest = lines[0].strip_prefix("Digest: ").unwrap().to_string();
    drop(registry);
    rl.cmd(["run", "--rm", "--pull=never", &format!("{name}@{digest}")]).code(126);
    rl.cmd(["pull", &format!("{name}:none")]).code(1).says("cannot pull").says("try: ");
}

#[test]
fn pull_shows_bars_on_a_terminal() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "tool:latest", 2);
    let mut terminal = rl.pty(["pull", &format!("{}/tool", registry.host())]);
    terminal.expect("Using default tag: latest");
    terminal.expect("Pull complete");
    terminal.expect("Status: Downloaded newer image");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn what_a_registry_does_not_have_is_said_in_one_line() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "tool:latest", 3);
    let name = format!("{}/tool:none", registry.host());
    let run = rl.cmd(["run", "--rm", "--quiet", &name, "true"]).code(125).says("has no tool:none");
    assert_eq!(run.stderr().lines().count(), 1, "{run}");
    let port = registry.port();
    drop(registry);
    let gone = rl.cmd(["run", "--rm", &format!("localhost:{port}/tool"), "true"]).code(125);
    gone.says(&format!("cannot reach localhost:{port}")).says("refused").says("try: ");
}

#[test]
fn pull_policies_ask_when_they_should() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    let proxy = FaultProxy::start(registry.port(), |_, _| Action::Forward);
    push(&rl, &registry, "tool:latest", 4);
    let name = format!("{}/tool", proxy.host());
    let asked = |policy: &str, code: i32| -> usize {
        let before = proxy.seen().iter().filter(|seen| seen.is_manifest()).count();
        rl.cmd(["run", "--rm", &format!("--pull={policy}"), &name]).code(code);
        proxy.seen().iter().filter(|seen| seen.is_manifest()).count() - before
    };
    // The image's command is noise: found, and not executable.
    assert_eq!(asked("never", 125), 0);
    assert_eq!(asked("missing", 126), 1);
    assert_eq!(asked("missing", 126), 0);
    assert_eq!(asked("always", 126), 1);
    assert_eq!(asked("newer", 126), 1);
    let blobs = proxy.blobs().len();
    assert_eq!(blobs, 3, "a configuration and two layers, once: {:?}", proxy.blobs());
    push(&rl, &registry, "tool:latest", 6);
    assert_eq!(asked("newer", 126), 1);
    assert_eq!(proxy.blobs().len(), blobs + 3);
    drop(registry);
    rl.cmd(["run", "--rm", "--pull=newer", &name]).code(126).says("going on with the one at hand");
    rl.cmd(["run", "--rm", "--pull=always", &name]).code(125);
    rl.cmd(["run", "--rm", "--pull=sometimes", &name]).code(125).says("sometimes");
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    let mut manifests = Vec::new();
    for (seed, architecture, variant) in [(10, "amd64", ""), (12, "arm64", "v8"), (14, "unknown", "")] {
        let mut layout = two_layers(rl.path("multi"), seed);
        layout.config["architecture"] = json!(architecture);
        layout.write();
        let index: serde_json::Value = serde_json::from_slice(&fs::read(rl.path("multi/index.json")).unwrap()).unwrap();
        let mut manifest = index["manifests"][0].clone();
        manifest["platform"] =
            json!({"os": if architecture == "unknown" { "unknown" } else { "linux" }, "architecture": architecture});
        if !variant.is_empty() {
            manifest["platform"]["variant"] = json!(variant);
        }
        manifest.as_object_mut().unwrap().remove("annotations");
        manifests.push(manifest);
    }
    let layout = two_layers(rl.path("multi"), 10);
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let mut named = layout.blob("index.v1+json", index.to_string().as_bytes());
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(rl.path("multi/index.json"), json!({"schemaVersion": 2, "manifests": [named]}).to_string()).unwrap();
    registry.push(&format!("oci:{}:latest", rl.path("multi").display()), "multi:latest");
    let name = format!("{}/multi", registry.host());
    let id = |platform: &[&str]| rl.cmd([&["pull", "-q"], platform, &[&name]].concat()).ok().stdout().to_string();
    let (host, arm) = (id(&[]), id(&["--platform", "linux/arm64"]));
    assert_ne!(host, arm);
    assert_eq!(id(&["--platform=linux/aarch64"]), arm);
    assert_eq!(id(&["--platform=linux/amd64"]), host);
    rl.cmd(["pull", "--platform=linux/s390x", &name]).code(1).says("no image for linux/s390x").says("linux/arm64/v8");
    rl.cmd(["pull", "--platform=linux", &name]).code(125).says("not a platform").says("linux");
}

#[test]
fn mirrors_come_first_and_leave_no_trace_in_the_name() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "library/tool:latest", 20);
    let dead = FaultProxy::start(registry.port(), |_, _| Action::Reply(404, vec![], vec![]));
    config(&rl, &format!("[registries.\"docker.io\"]\nmirrors = [\"http://{}\", \"{}\"]\n", dead.host(), registry.host()));
    let pulled = rl.cmd(["pull", "tool"]).ok();
    assert!(pulled.stdout().ends_with("docker.io/library/tool:latest"), "{pulled}");
    assert_eq!(dead.seen().len(), 1);
    rl.cmd(["run", "--rm", "--pull=never", "docker.io/library/tool"]).code(126);
    // Nothing of it belongs to the mirror's own name.
    rl.cmd(["run", "--rm", "--pull=never", &format!("{}/library/tool", registry.host())]).code(125).says("no such image");
}

#[test]
fn an_alias_stands_for_a_name() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "team/tool:v1", 21);
    config(&rl, &format!("[aliases]\nmytool = \"{}/team/tool\"\n", registry.host()));
    let pulled = rl.cmd(["pull", "mytool:v1"]).ok();
    assert!(pulled.stdout().ends_with(&format!("{}/team/tool:v1", registry.host())), "{pulled}");
    drop(registry);
    rl.cmd(["run", "--rm", "mytool:v1"]).code(126);
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let rl = Rl::new();
    config(&rl, "\n[registries.\"docker.io\"]\nmirror = []\n");
    rl.cmd(["pull", "alpine"]).code(1).says("config.toml:3: ").says("`mirror`");
    config(&rl, "[registries.\"docker.io\"]\nmirrors = [\"ftp://x\"]\n");
    rl.cmd(["pull", "alpine"]).code(1).says("ftp://x");
}

/// Pulls with a login in this file of the home directory.
fn pull_with(rl: &Rl, name: &str, file: &str, contents: serde_json::Value) -> Run {
    let path = rl.file(file, contents.to_string());
    let run = rl.cmd(["pull", "-q", name]);
    fs::remove_file(path).unwrap();
    run
}

#[test]
fn saved_logins_and_their_helpers_are_used() {
    let rl = Rl::new();
    let registry = Registry::for_ann(&rl);
    push(&rl, &registry, "secret:latest", 22);
    let (host, name) = (registry.host(), format!("{}/secret", registry.host()));
    rl.cmd(["pull", &name]).code(1).says("needs a login").says("try: ");
    let auths = json!({"auths": {&host: {"auth": LOGIN}}});
    pull_with(&rl, &name, "home/.docker/config.json", auths.clone()).ok();
    pull_with(&rl, &name, "home/.config/containers/auth.json", auths.clone()).ok();
    rl.cmd(["pull", &name]).code(1);
    pull_with(&rl, &name, "home/.docker/config.json", json!({"auths": {&host: {"auth": "YW5uOnB4"}}}))
        .code(1)
        .says("denies access");
    pull_with(&rl, &name, "home/.docker/config.json", json!({"auths": {"other.example": {"auth": LOGIN}}}))
        .code(1)
        .says("needs a login");
    let answer = r#"{"ServerURL": "x", "Username": "ann", "Secret": "pw"}"#;
    let script = format!("#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {host}' ] && [ -z \"$RL_ROOT\" ] && echo '{answer}'\n");
    let helper = rl.file("bin/docker-credential-mine", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let helpers = rl.file("home/.docker/config.json", json!({"credHelpers": {&host: "mine"}}).to_string());
    let path = format!("{}:{}", rl.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = rl.command(["pull", "-q", &name]);
    command.env("PATH", path).env("RL_ROOT", "/nowhere");
    run(command).ok();
    rl.cmd(["pull", &name]).code(1).says("docker-credential-mine");
    fs::remove_file(helpers).unwrap();
    let mut command = rl.command(["pull", "-q", &name]);
    command.env("REGISTRY_AUTH_FILE", rl.file("auth", auths.to_string()));
    run(command).ok();
}

/// A token server beside the registry: what it was asked, and what it needs to see.
fn with_tokens(registry: &Registry, wanted: impl Fn(&support::Seen) -> bool + Send + Sync + 'static) -> FaultProxy {
    FaultProxy::start(registry.port(), move |request, _| {
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            let token = if wanted(request) { (200, json!({"token": "t0k3n"})) } else { (401, json!({})) };
            return Action::Reply(token.0, vec![("Content-Type", "application/json".into())], token.1.to_string().into_bytes());
        }
        match request.header("authorization") {
            Some("Bearer t0k3n") => Action::Forward,
            _ => {
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"tests\",scope=\"repository:a/b:pull\"");
                Action::Reply(401, vec![("WWW-Authenticate", challenge)], vec![])
            }
        }
    })
}

#[test]
fn tokens_are_fetched_for_the_nameless_and_the_known() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "a/b:latest", 23);
    let anonymous = with_tokens(&registry, |request| request.header("authorization").is_none());
    rl.cmd(["pull", &format!("{}/a/b", anonymous.host())]).ok();
    let asked: Vec<_> = anonymous.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1, "one token serves all");
    assert_eq!(asked[0].path, "/token?service=tests&scope=repository%3Aa%2Fb%3Apull");
    let basic = with_tokens(&registry, |request| request.header("authorization") == Some(&format!("Basic {LOGIN}")));
    let name = format!("{}/a/b", basic.host());
    rl.cmd(["pull", &name]).code(1).says("cannot get a token");
    pull_with(&rl, &name, "home/.docker/config.json", json!({"auths": {basic.host(): {"auth": LOGIN}}})).ok();
    let identity = with_tokens(&registry, |request| {
        request.method == "POST"
            && request.body.starts_with("grant_type=refresh_token&")
            && request.body.ends_with("&refresh_token=r3fr%2Fsh")
    });
    let name = format!("{}/a/b", identity.host());
    pull_with(&rl, &name, "home/.docker/config.json", json!({"auths": {identity.host(): {"identitytoken": "r3fr/sh"}}})).ok();
}

#[test]
fn sixteen_pulls_of_one_image_move_its_bytes_once() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    let proxy = FaultProxy::start(registry.port(), |_, _| Action::Forward);
    push(&rl, &registry, "tool:latest", 24);
    let name = format!("{}/tool", proxy.host());
    let pulls: Vec<Background> = (0..16).map(|_| rl.start(["pull", &name])).collect();
    pulls.into_iter().for_each(|pull| drop(pull.finish().ok()));
    let blobs = proxy.blobs();
    assert_eq!(blobs.len(), 3, "{blobs:?}");
    let stored: u64 = fs::read_dir(rl.store().join("blobs/sha256")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    let manifest = proxy.blob_bytes();
    assert!(stored - manifest < 2000, "{stored} bytes in the store, {manifest} moved");
    rl.cmd(["run", "--rm", "--pull=never", &name]).code(126);
}

#[test]
fn of_several_pulls_one_that_is_killed_does_not_stop_the_others() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "tool:latest", 25);
    // The first download of the large layer hangs in the middle; whoever takes over goes on.
    let proxy = FaultProxy::start(registry.port(), |request, before| match request.is_blob() && before == 0 {
        true => Action::Drip(1_000_000),
        false => Action::Forward,
    });
    let name = format!("{}/tool", proxy.host());
    let first = rl.start(["pull", &name]);
    let partial = || {
        let sizes = fs::read_dir(rl.store().join("downloads")).into_iter().flatten().flatten();
        sizes.filter_map(|entry| entry.metadata().ok()).any(|m| m.len() >= 900_000)
    };
    support::eventually("the first has begun", partial);
    let others: Vec<Background> = (0..3).map(|_| rl.start(["pull", &name])).collect();
    first.signal(nix::sys::signal::Signal::SIGKILL);
    first.finish().killed_by(9);
    others.into_iter().for_each(|pull| drop(pull.finish().ok()));
    assert!(proxy.blobs().iter().any(|seen| seen.header("range").is_some()), "{:?}", proxy.blobs());
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    let rl = Rl::new();
    let proxy = FaultProxy::start(1, |_, _| Action::Reply(502, vec![], vec![]));
    let mut command = rl.command(["pull", "reg.example/tool"]);
    command.env("HTTPS_PROXY", format!("http://{}", proxy.host()));
    run(command).code(1).says("proxy");
    let asked = proxy.seen();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("CONNECT", "reg.example:443"));
    let mut command = rl.command(["pull", "reg.example/tool"]);
    command.env("HTTPS_PROXY", format!("http://{}", proxy.host())).env("NO_PROXY", ".example");
    run(command).code(1).says("reg.example");
    assert_eq!(proxy.seen().len(), asked.len());
}

#[test]
fn skopeo_reads_and_pushes_what_was_pulled() {
    let rl = Rl::new();
    let registry = Registry::start(&rl);
    push(&rl, &registry, "tool:latest", 26);
    let name = format!("{}/tool:latest", registry.host());
    rl.cmd(["pull", &name]).ok();
    let store = format!("oci:{}:{name}", rl.store().display());
    let mut inspect = Command::new("skopeo");
    inspect.env("REGISTRY_AUTH_FILE", rl.file("logins", "{}"));
    inspect.args(["inspect", "--insecure-policy", &store]).stdin(Stdio::null());
    assert_eq!(run(inspect).ok().json()["Labels"]["seed"], "26");
    registry.push(&store, "again:latest");
    assert!(Path::new(&rl.store()).join("index.json").exists());
}
