//! A registry that fails or lies (THREATS.md, "Image, tar, registry" and "Faults"): what can be cured is, what cannot is said in a line,
//! and the next command works.

mod support;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use support::{Action, FaultProxy, LOGIN, Registry, Rl, Run, Seen, eventually, run, two_layers};

/// A registry with `tool`, and a proxy before it that follows the rule.
fn faulty(rl: &Rl, rule: impl Fn(&Seen, usize) -> Action + Send + Sync + 'static) -> (Registry, FaultProxy) {
    let registry = Registry::start(rl);
    registry.push(&two_layers(rl.path("image"), 1).write(), "tool:latest");
    let proxy = FaultProxy::start(registry.port(), rule);
    (registry, proxy)
}

fn pull(rl: &Rl, host: &str) -> Run {
    rl.cmd(["pull", &format!("{host}/tool")])
}

/// The image is whole: its command, which is noise, is found and not executable.
fn is_whole(rl: &Rl, host: &str) {
    rl.cmd(["run", "--rm", "--pull=never", &format!("{host}/tool")]).code(126);
    assert_eq!(files(&rl.store().join("downloads")), Vec::<PathBuf>::new());
}

/// No reference, no blob that is not what its name says, and nothing half-made.
fn nothing_came(rl: &Rl, host: &str) {
    rl.cmd(["run", "--rm", "--pull=never", &format!("{host}/tool")]).code(125).says("no such image");
    for dir in ["downloads", "tmp", "refs"] {
        assert_eq!(files(&rl.store().join(dir)), Vec::<PathBuf>::new(), "{dir}");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// The requests for the large layer: the path that was asked for most, or whose answer was cut.
fn with_range(proxy: &FaultProxy) -> Vec<Seen> {
    proxy.blobs().into_iter().filter(|seen| seen.header("range").is_some()).collect()
}

#[test]
fn a_download_that_is_cut_off_goes_on_where_it_was() {
    for cut in [Action::Truncate as fn(usize) -> Action, Action::Reset] {
        let rl = Rl::new();
        let (_registry, proxy) = faulty(&rl, move |request, before| match (request.is_blob(), before) {
            (true, 0) => cut(700_000),
            _ => Action::Forward,
        });
        pull(&rl, &proxy.host()).ok();
        is_whole(&rl, &proxy.host());
        let resumed = with_range(&proxy);
        assert_eq!(resumed.len(), 1, "{resumed:?}");
        assert!(resumed[0].header("range").unwrap().starts_with("bytes="), "{resumed:?}");
        // Every byte once, but for what was under way when the connection broke.
        assert!(proxy.blob_bytes() < 2_900_000, "{}", proxy.blob_bytes());
    }
}

#[test]
fn a_registry_that_cannot_begin_in_the_middle_is_asked_for_the_whole() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, before| match (request.is_blob(), before) {
        (true, 0) => Action::Truncate(700_000),
        (true, _) => Action::ForwardWhole,
        _ => Action::Forward,
    });
    pull(&rl, &proxy.host()).ok();
    is_whole(&rl, &proxy.host());
}

#[test]
fn what_passes_is_tried_again_and_the_registry_s_wait_is_kept() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, before| match (request.is_blob(), before) {
        (false, 0) => Action::Reply(429, vec![("Retry-After", "2".into())], vec![]),
        (true, 0) => Action::Reply(503, vec![], b"{}".to_vec()),
        (true, 1) => Action::Reply(500, vec![], vec![]),
        _ => Action::Forward,
    });
    let start = Instant::now();
    pull(&rl, &proxy.host()).ok().says("trying again in 2 s");
    assert!(start.elapsed() >= Duration::from_secs(2));
    is_whole(&rl, &proxy.host());
}

#[test]
fn what_does_not_pass_is_tried_five_times() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, _| match request.is_manifest() {
        true => Action::Reply(
            500,
            vec![],
            json!({"errors": [{"code": "UNKNOWN", "message": "on\u{1b}[31m fire"}]}).to_string().into(),
        ),
        false => Action::Forward,
    });
    let failed = pull(&rl, &proxy.host()).code(1).says("tried 5 times").says("500: UNKNOWN on[31m fire");
    assert!(failed.stderr().lines().all(|line| line.starts_with("rl: ")), "{failed}");
    assert_eq!(proxy.seen().iter().filter(|seen| seen.is_manifest()).count(), 5);
    nothing_came(&rl, &proxy.host());
}

#[test]
fn a_registry_that_wants_too_much_patience_is_not_waited_for() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |_, _| Action::Reply(429, vec![("Retry-After", "3600".into())], vec![]));
    pull(&rl, &proxy.host()).code(1).says("3600 seconds").says("try: ");
}

#[test]
fn a_wrong_digest_is_refused_and_nothing_of_it_kept() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, _| if request.is_blob() { Action::Corrupt } else { Action::Forward });
    pull(&rl, &proxy.host()).code(1).says("another digest");
    nothing_came(&rl, &proxy.host());
    let (_registry, proxy) = faulty(&rl, |request, _| if request.is_manifest() { Action::Corrupt } else { Action::Forward });
    pull(&rl, &proxy.host()).code(1).says("digest");
    let digest = format!("sha256:{}", "0".repeat(64));
    let (_registry, proxy) = faulty(&rl, |_, _| Action::Reply(200, vec![], b"{}".to_vec()));
    rl.cmd(["pull", &format!("{}/tool@{digest}", proxy.host())]).code(1).says("digest");
    nothing_came(&rl, &proxy.host());
}

/// A proxy that gives this manifest, whatever it is asked for.
fn with_manifest(registry: &Registry, manifest: impl ToString) -> FaultProxy {
    let manifest = manifest.to_string();
    FaultProxy::start(registry.port(), move |request, _| match request.is_manifest() {
        true => Action::Reply(200, vec![("Content-Type", OCI_MANIFEST.into())], manifest.clone().into_bytes()),
        false => Action::Forward,
    })
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The manifest of `tool`, as it was pushed.
fn manifest(rl: &Rl) -> Value {
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = read(rl.path("image/index.json"));
    let hex = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_string();
    read(rl.path("image/blobs/sha256").join(hex))
}

#[test]
fn a_hostile_manifest_is_refused_before_any_blob_is_asked_for() {
    let rl = Rl::new();
    let (registry, _) = faulty(&rl, |_, _| Action::Forward);
    let good = manifest(&rl);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest.to_string()
    };
    let cases = [
        // CVE-2020-1702
        (with(&|m| m["annotations"] = json!({"x": "a".repeat(5 << 20)})), "larger than 4096 KiB"),
        // CVE-2021-41190
        (with(&|m| m["manifests"] = json!([])), "refused"),
        // CVE-2024-3727
        (with(&|m| m["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd")), "hex"),
        (with(&|m| m["config"]["digest"] = json!("sha256:..")), "hex"),
        (with(&|m| m["config"]["size"] = json!(5 << 20)), "refused"),
        (with(&|m| m["layers"][0]["mediaType"] = json!("text/html")), "media type"),
        (json!({"schemaVersion": 1, "fsLayers": []}).to_string(), "schema 1"),
        ("[".repeat(100_000), "manifest"),
        ("\u{0}".into(), "manifest"),
    ];
    for (manifest, why) in cases {
        let proxy = with_manifest(&registry, manifest);
        pull(&rl, &proxy.host()).code(1).says(why);
        assert_eq!(proxy.blobs().len(), 0, "{why}");
        nothing_came(&rl, &proxy.host());
    }
}

#[test]
fn the_addresses_in_a_manifest_are_not_followed() {
    let rl = Rl::new();
    let (registry, stranger) = faulty(&rl, |_, _| Action::Forward);
    let mut foreign = manifest(&rl);
    foreign["layers"][0]["urls"] = json!([format!("http://{}/v2/tool/blobs/x", stranger.host())]);
    foreign["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar");
    let proxy = with_manifest(&registry, &foreign);
    pull(&rl, &proxy.host()).ok();
    is_whole(&rl, &proxy.host());
    assert_eq!(stranger.seen().len(), 0);
}

#[test]
fn who_we_are_is_not_told_to_where_a_blob_is_redirected() {
    let rl = Rl::new();
    let registry = Registry::for_ann(&rl);
    registry.push(&two_layers(rl.path("image"), 1).write(), "tool:latest");
    // It adds the login itself, so that it answers like a storage that knows nothing of it.
    let open = Registry::start(&rl);
    open.push(&two_layers(rl.path("image"), 1).write(), "tool:latest");
    let storage = FaultProxy::start(open.port(), |_, _| Action::Forward);
    let host = storage.host();
    let proxy = FaultProxy::start(registry.port(), move |request, _| {
        match request.is_blob() && request.header("authorization").is_some() {
            true => Action::Reply(307, vec![("Location", format!("http://{host}{}", request.path))], vec![]),
            false => Action::Forward,
        }
    });
    rl.file("home/.docker/config.json", json!({"auths": {proxy.host(): {"auth": LOGIN}}}).to_string());
    pull(&rl, &proxy.host()).ok();
    is_whole(&rl, &proxy.host());
    assert_eq!(storage.blobs().len(), 3);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()), "{:?}", storage.seen());
    assert!(proxy.blobs().iter().all(|seen| seen.header("authorization").is_some()));
}

#[test]
fn a_circle_of_redirects_ends() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, _| Action::Reply(302, vec![("Location", request.path.clone())], vec![]));
    pull(&rl, &proxy.host()).code(1).says("more than 5 redirects");
}

/// A certificate for this name (or address), its key, and itself as the authority.
fn certificate(rl: &Rl, name: &str, subject: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (rl.path(format!("{name}.pem")), rl.path(format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=tests",
    ]);
    openssl.args(["-addext", &format!("subjectAltName={subject}"), "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
    run(openssl).ok();
    (certificate, key)
}

#[test]
fn an_untrusted_certificate_is_refused_and_http_is_no_way_out() {
    let rl = Rl::new();
    let (registry, _) = faulty(&rl, |_, _| Action::Forward);
    let (certificate, key) = certificate(&rl, "right", "IP:127.0.0.1");
    let proxy = FaultProxy::tls(registry.port(), (&certificate, &key), |_, _| Action::Forward);
    let secure = |host: &str, more: &str| {
        rl.file("home/.config/rl/config.toml", format!("[registries.\"{host}\"]\ninsecure = false\n{more}"));
    };
    let ca = format!("ca = \"{}\"\n", certificate.display());
    secure(&proxy.host(), "");
    pull(&rl, &proxy.host()).code(1).says("TLS: invalid peer certificate").says("try: ");
    assert_eq!(proxy.seen().len(), 0);
    secure(&proxy.host(), &ca);
    pull(&rl, &proxy.host()).ok();
    is_whole(&rl, &proxy.host());
    // Right, but for another host.
    let (other, other_key) = self::certificate(&rl, "other", "DNS:reg.example");
    let proxy = FaultProxy::tls(registry.port(), (&other, &other_key), |_, _| Action::Forward);
    secure(&proxy.host(), &format!("ca = \"{}\"\n", other.display()));
    pull(&rl, &proxy.host()).code(1).says("TLS: invalid peer certificate");
    // A registry without TLS where TLS is asked for.
    secure(&registry.host(), "");
    pull(&rl, &registry.host()).code(1).says("TLS").says("insecure = true");
    // Local registries are trusted as Docker trusts them: with any certificate, and without.
    fs::remove_file(rl.path("home/.config/rl/config.toml")).unwrap();
    pull(&rl, &proxy.host()).ok();
    pull(&rl, &registry.host()).ok();
}

#[test]
fn https_is_not_left_by_a_redirect() {
    let rl = Rl::new();
    let (registry, plain) = faulty(&rl, |_, _| Action::Forward);
    let (certificate, key) = certificate(&rl, "right", "IP:127.0.0.1");
    let host = plain.host();
    let proxy = FaultProxy::tls(registry.port(), (&certificate, &key), move |request, _| match request.is_blob() {
        true => Action::Reply(307, vec![("Location", format!("http://{host}{}", request.path))], vec![]),
        false => Action::Forward,
    });
    let config = format!("[registries.\"{}\"]\ninsecure = false\nca = \"{}\"\n", proxy.host(), certificate.display());
    rl.file("home/.config/rl/config.toml", config);
    pull(&rl, &proxy.host()).code(1).says("redirected from https to plain http");
    assert_eq!(plain.seen().len(), 0);
}

#[test]
fn a_registry_that_drips_is_given_up_and_nobody_waits_for_it() {
    let rl = Rl::new();
    let (registry, proxy) = faulty(&rl, |request, _| if request.is_blob() { Action::Drip(100) } else { Action::Forward });
    let good = FaultProxy::start(registry.port(), |_, _| Action::Forward);
    let dripping = rl.start(["pull", &format!("{}/tool", proxy.host())]);
    eventually("it has begun", || !proxy.blobs().is_empty());
    // An image that shares no blob with it is pulled and run meanwhile.
    registry.push(&two_layers(rl.path("other"), 50).write(), "other:latest");
    rl.cmd(["run", "--rm", &format!("{}/other", good.host())]).code(126);
    rl.cmd(["run", "--rm", "--pull=never", &format!("{}/other", good.host())]).code(126);
    let failed = dripping.finish().code(1);
    assert!(failed.stderr().contains("too slowly") || failed.stderr().contains("no answer in time"), "{failed}");
}

#[test]
fn an_interrupted_pull_ends_at_once_and_is_gone_on_with() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |request, before| match (request.is_blob(), before) {
        (true, 0) => Action::Drip(700_000),
        _ => Action::Forward,
    });
    let pulling = rl.start(["pull", &format!("{}/tool", proxy.host())]);
    eventually("it is under way", || {
        files(&rl.store().join("downloads")).iter().any(|f| f.metadata().is_ok_and(|m| m.len() >= 600_000))
    });
    pulling.signal(nix::sys::signal::Signal::SIGINT);
    pulling.finish().killed_by(2);
    pull(&rl, &proxy.host()).ok();
    is_whole(&rl, &proxy.host());
    assert_eq!(with_range(&proxy).len(), 1);
}

/// The milestones of a pull, as the source has them.
fn milestones() -> BTreeSet<String> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut names = BTreeSet::new();
    for file in ["pull.rs", "download.rs"] {
        let text = fs::read_to_string(Path::new(&package).join("src/image").join(file)).unwrap();
        names.extend(text.split('"').filter(|word| word.starts_with("pull-")).map(String::from));
    }
    assert!(names.len() >= 8, "{names:?}");
    names
}

#[test]
fn a_pull_that_dies_at_a_milestone_is_gone_on_with() {
    let rl = Rl::new();
    let (registry, _) = faulty(&rl, |_, _| Action::Forward);
    for (number, milestone) in milestones().into_iter().enumerate() {
        registry.push(
            &two_layers(rl.path(format!("image-{number}")), 100 + 2 * number as u64).write(),
            &format!("tool{number}:latest"),
        );
        let name = format!("{}/tool{number}", registry.host());
        if milestone == "pull-layer-there" {
            rl.cmd(["pull", &name]).ok();
        }
        let mut dying = rl.command(["pull", &name]);
        dying.env("RL_FAILPOINT", &milestone);
        let died = run(dying);
        // The Client by SIGKILL, or by the Puller's death. A download that is quick reports no progress.
        assert!(!died.status.success() || milestone == "pull-blob-begun", "{milestone}: {died}");
        rl.cmd(["pull", &name]).ok();
        rl.cmd(["run", "--rm", "--pull=never", &name]).code(126);
        for dir in ["downloads", "tmp"] {
            assert_eq!(files(&rl.store().join(dir)), Vec::<PathBuf>::new(), "{dir} after {milestone}");
        }
    }
}

#[test]
fn a_blob_that_was_damaged_on_disk_is_pulled_again() {
    let rl = Rl::new();
    let (_registry, proxy) = faulty(&rl, |_, _| Action::Forward);
    pull(&rl, &proxy.host()).ok();
    let blobs = files(&rl.store().join("blobs/sha256"));
    let sizes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let large = blobs.iter().max_by_key(|path| sizes(path)).unwrap();
    let mut bytes = fs::read(large).unwrap();
    bytes[1_000_000] ^= 1;
    fs::write(large, &bytes).unwrap();
    pull(&rl, &proxy.host()).ok();
    bytes[1_000_000] ^= 1;
    assert_eq!(fs::read(large).unwrap(), bytes);
    // A manifest or configuration that cannot be read: then the image is not at hand.
    for small in blobs.iter().filter(|path| sizes(path) < 1000) {
        fs::write(small, "{}").unwrap();
    }
    rl.cmd(["run", "--rm", "--quiet", &format!("{}/tool", proxy.host())]).code(126);
}
