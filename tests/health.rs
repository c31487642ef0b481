//! Health checks: what a container's check says of it, where that is shown, and what follows from it.

mod support;
use serde_json::{Value, json};
use support::{Feature, Layout, Rl, TarBuilder, eventually, image, images, require};

/// `rl run -d --name web FLAGS… alpine sh -c SCRIPT`.
#[track_caller]
fn web(rl: &Rl, flags: &[&str], script: &str) {
    let alpine = image("alpine");
    rl.cmd([&["run", "-d", "--name", "web"], flags, &[alpine.as_str(), "sh", "-c", script]].concat()).ok();
}

const ASLEEP: &str = "exec sleep 1000";
/// Ends at once on SIGTERM, once there is /up.
const OBEDIENT: &str = "trap 'exit 3' TERM; touch /up; while :; do sleep 1000 & wait; done";
/// Checks that come one after the other.
const OFTEN: [&str; 2] = ["--health-interval", "10ms"];

fn health(rl: &Rl) -> Value {
    rl.inspect("web")["State"]["Health"].clone()
}

#[track_caller]
fn comes_to(rl: &Rl, wanted: &str) {
    eventually(&format!("web is {wanted}"), || health(rl)["Status"] == wanted);
}

fn status(rl: &Rl) -> String {
    rl.cmd(["ps", "-a", "--format", "{{.Status}}"]).ok().stdout().to_string()
}

/// The changes of its health that were told.
fn told(rl: &Rl) -> String {
    let args = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    rl.cmd(args).ok().stdout().to_string()
}

#[test]
fn a_check_that_passes_makes_the_container_healthy() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &[&["--health-cmd", "echo fine; echo really >&2", "--health-retries", "7"], &OFTEN[..]].concat(), ASLEEP);
    comes_to(&rl, "healthy");
    assert!(status(&rl).ends_with(" (healthy)"), "{}", status(&rl));
    let health = health(&rl);
    let last = &health["Log"][0];
    assert_eq!((&last["ExitCode"], &last["Output"]), (&json!(0), &json!("fine\nreally\n")), "{health}");
    assert!(last["Start"].as_str().unwrap() < last["End"].as_str().unwrap());
    eventually("that is told", || told(&rl) == "health_status: healthy web");
    let config = rl.inspect("web")["Config"]["Healthcheck"].clone();
    assert_eq!(config, json!({"Test": ["CMD-SHELL", "echo fine; echo really >&2"], "Interval": 10_000_000, "Retries": 7}));
    let names = |filter: &str| rl.cmd(["ps", "-q", "--filter", filter]).ok().stdout().lines().count();
    assert_eq!((names("health=healthy"), names("health=starting"), names("health=none")), (1, 0, 0));
    eventually("five results are kept", || crate::health(&rl)["Log"].as_array().unwrap().len() == 5);
}

#[test]
fn failures_in_a_row_make_it_unhealthy() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &[&["--health-cmd", "echo no; exit 4", "--health-retries", "2"], &OFTEN[..]].concat(), ASLEEP);
    comes_to(&rl, "unhealthy");
    assert!(status(&rl).ends_with(" (unhealthy)"), "{}", status(&rl));
    let health = health(&rl);
    assert!(health["FailingStreak"].as_u64().unwrap() >= 2);
    assert_eq!((&health["Log"][0]["ExitCode"], &health["Log"][0]["Output"]), (&json!(4), &json!("no\n")));
    eventually("that is told", || told(&rl) == "health_status: unhealthy web");
    assert_eq!(rl.cmd(["ps", "--filter", "health=unhealthy", "--format", "{{.Names}}"]).ok().stdout(), "web");
    // It lives on: nobody has said that it shall not.
    assert_eq!(rl.inspect("web")["State"]["Running"], true);
}

#[test]
fn a_check_at_once_counts_and_its_exit_code_is_podmans() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &["--health-cmd", "test -e /ok", "--health-interval", "1h", "--health-retries", "2"], ASLEEP);
    assert!(status(&rl).ends_with(" (health: starting)"), "{}", status(&rl));
    assert_eq!(rl.cmd(["healthcheck", "run", "web"]).code(1).stdout(), "starting");
    assert_eq!(rl.cmd(["healthcheck", "run", "web"]).code(1).stdout(), "unhealthy");
    rl.cmd(["exec", "web", "touch", "/ok"]).ok();
    assert_eq!(rl.cmd(["healthcheck", "run", "web"]).ok().stdout(), "");
    assert_eq!(health(&rl)["Log"].as_array().unwrap().len(), 3);
    assert_eq!(told(&rl), "health_status: unhealthy web\nhealth_status: healthy web");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    rl.cmd(["healthcheck", "run", "web"]).code(125).says("is not running");
    rl.cmd(["healthcheck", "run", "nobody"]).code(125).says("no such container");
    rl.cmd(["run", "-d", "--name", "plain", &image("alpine"), "sleep", "1000"]).ok();
    rl.cmd(["healthcheck", "run", "plain"]).code(125).says("has no health check");
    assert!(rl.inspect("plain")["State"].get("Health").is_none());
}

#[test]
fn failures_of_the_start_period_do_not_count() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let flags = ["--health-start-period", "1h", "--health-start-interval", "10ms", "--health-retries", "1"];
    web(&rl, &[&["--health-cmd", "test -e /ok"], &flags[..], &OFTEN].concat(), ASLEEP);
    eventually("it is checked", || health(&rl)["Log"].as_array().unwrap().len() == 5);
    let starting = health(&rl);
    assert_eq!((&starting["Status"], &starting["FailingStreak"]), (&json!("starting"), &json!(0)));
    rl.cmd(["exec", "web", "touch", "/ok"]).ok();
    comes_to(&rl, "healthy");
    // Now they do.
    rl.cmd(["exec", "web", "rm", "/ok"]).ok();
    comes_to(&rl, "unhealthy");
}

#[test]
fn a_check_that_hangs_is_killed_at_its_timeout() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let flags = ["--health-timeout", "200ms", "--health-retries", "1", "--health-interval", "100ms"];
    web(&rl, &[&["--health-cmd", "echo begun; sleep 7777 & sleep 8888"], &flags[..]].concat(), ASLEEP);
    comes_to(&rl, "unhealthy");
    // On a slow machine one may be killed before it has printed anything.
    let wanted = json!([-1, "Health check exceeded timeout (200ms): begun\n"]);
    let results = || health(&rl)["Log"].as_array().unwrap().clone();
    eventually("what it printed is kept", || results().iter().any(|r| json!([r["ExitCode"], r["Output"]]) == wanted));
    // One may be under way, but those that were killed are gone with what they had started.
    let sleepers = rl.cmd(["exec", "web", "sh", "-c", "ps | grep -c '[s]leep [78]'"]);
    assert!(sleepers.stdout().parse::<u32>().unwrap() <= 2, "{sleepers}");
}

#[test]
fn a_check_that_cannot_be_executed_has_failed() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &[&["--health-cmd", r#"["/nonesuch", "x"]"#, "--health-retries", "1"], &OFTEN[..]].concat(), ASLEEP);
    comes_to(&rl, "unhealthy");
    let health = health(&rl);
    assert_eq!(health["Log"][0]["ExitCode"], -1);
    assert!(health["Log"][0]["Output"].as_str().unwrap().contains("/nonesuch"), "{health}");
}

#[test]
fn an_images_check_runs_as_its_user_in_its_environment() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    let check = json!({"Test": ["CMD-SHELL", "echo $(id -u) $COLOR $PWD"], "Interval": 10_000_000, "Timeout": 30_000_000_000u64});
    let config =
        json!({"Healthcheck": check, "User": "1234", "Env": ["COLOR=red"], "WorkingDir": "/srv", "Cmd": ["sleep", "1000"]});
    let layout = Layout::on(&images().join("alpine"), rl.path("image"));
    let image = layout.layer(&TarBuilder::new().finish()).config(config).write();
    rl.cmd(["run", "-d", "--name", "web", &image]).ok();
    comes_to(&rl, "healthy");
    assert_eq!(health(&rl)["Log"][0]["Output"], "1234 red /srv\n");
    rl.cmd(["rm", "-f", "web"]).ok();
    rl.cmd(["run", "-d", "--name", "web", "--no-healthcheck", &image]).ok();
    assert!(!status(&rl).contains("health"), "{}", status(&rl));
    rl.cmd(["rm", "-f", "web"]).ok();
    rl.cmd(["run", "-d", "--name", "web", "--health-cmd", "exit 1", "--health-retries", "1", &image]).ok();
    comes_to(&rl, "unhealthy");
}

#[test]
fn long_output_is_cut() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &[&["--health-cmd", "yes | head -c 1000000"], &OFTEN[..]].concat(), ASLEEP);
    comes_to(&rl, "healthy");
    let output = health(&rl)["Log"][0]["Output"].as_str().unwrap().to_string();
    assert!(output.len() == 4096 && output.starts_with("y\ny\n") && output.ends_with("..."), "{}", output.len());
}

#[test]
fn what_has_ended_is_not_healthy_and_starts_anew() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &["--health-cmd", "true", "--health-interval", "1h"], ASLEEP);
    rl.cmd(["healthcheck", "run", "web"]).ok();
    assert_eq!(health(&rl)["Status"], "healthy");
    rl.cmd(["stop", "-t", "0", "web"]).ok();
    assert_eq!(health(&rl)["Status"], "unhealthy");
    assert!(!status(&rl).contains("health"), "{}", status(&rl));
    rl.cmd(["start", "web"]).ok();
    assert_eq!(health(&rl)["Status"], "starting");
    assert_eq!(health(&rl)["Log"], json!([]));
    rl.cmd(["healthcheck", "run", "web"]).ok();
    rl.cmd(["restart", "-t", "0", "web"]).ok();
    assert_eq!(health(&rl)["Status"], "starting");
}

#[test]
fn one_whose_monitor_was_killed_is_not_healthy() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    web(&rl, &["--health-cmd", "true", "--health-interval", "1h"], ASLEEP);
    rl.cmd(["healthcheck", "run", "web"]).ok();
    let payload = rl.inspect("web")["State"]["Pid"].as_i64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{payload}/stat")).unwrap();
    let monitor: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it is lost", || rl.inspect("web")["State"]["Status"] == "lost");
    assert_eq!(health(&rl)["Status"], "unhealthy");
    rl.cmd(["healthcheck", "run", "web"]).code(125).says("is not running");
}

#[test]
fn what_is_unhealthy_can_be_killed_stopped_or_restarted() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let check = |action: &str, more: &[&str]| {
        let flags = [
            "--health-cmd",
            "test ! -e /up",
            "--health-retries",
            "1",
            "--health-interval",
            "200ms",
            "--health-on-failure",
            action,
        ];
        web(&rl, &[&flags[..], more].concat(), OBEDIENT);
    };
    check("stop", &["--restart", "always"]);
    assert_eq!(rl.cmd(["wait", "web"]).ok().stdout(), "3");
    assert_eq!(rl.inspect("web")["State"]["Status"], "exited");
    rl.cmd(["rm", "-f", "web"]).ok();
    check("kill", &[]);
    assert_eq!(rl.cmd(["wait", "web"]).ok().stdout(), "137");
    rl.cmd(["rm", "-f", "web"]).ok();
    check("kill", &["--restart", "always"]);
    eventually("its policy starts it again", || rl.inspect("web")["RestartCount"] != 0);
    rl.cmd(["rm", "-f", "web"]).ok();
    check("restart", &[]);
    let first = rl.inspect("web")["State"]["StartedAt"].clone();
    eventually("it is started again", || rl.inspect("web")["State"]["StartedAt"] != first);
    assert_eq!(rl.inspect("web")["Config"]["HealthcheckOnFailureAction"], "restart");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let rl = Rl::new();
    for (flags, why) in [
        (&["--no-healthcheck", "--health-cmd", "true"][..], "goes with none of the other"),
        (&["--health-interval", "1s"], "no health check to change"),
        (&["--health-cmd", "true", "--health-timeout", "1ns"], "too short"),
    ] {
        rl.cmd([&["run"], flags, &["rootfs:/", "true"]].concat()).code(125).says(why);
    }
}
