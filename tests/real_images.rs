//! Applications as they come in images (tests/images): they initialise, change user, log, and answer.

mod support;
use support::{Feature, Rl, Run, eventually, image, require};

/// Runs a script in an image's container, as its entrypoint would run a command, without a network.
#[track_caller]
fn in_image(rl: &Rl, flags: &[&str], name: &str, script: &str) -> Run {
    rl.cmd(
        [&["run", "--rm", "--network", "none"], flags, &[&image(name), "bash", "-c", &format!("{SERVICE}\n{script}")]].concat(),
    )
}

/// `serve CMD…` starts a service; `until_ready CMD…` waits until a check succeeds or the service has ended; `stop SIGNAL` ends it.
const SERVICE: &str = r#"
serve() { "$@" & service=$!; }
until_ready() { until "$@" >/dev/null 2>&1; do kill -0 $service || { echo 'the service has ended' >&2; exit 99; }; sleep 0.05; done; }
stop() { kill -$1 $service; wait $service; }
port() { (exec 3<>/dev/tcp/127.0.0.1/$1); }
get() { exec 3<>/dev/tcp/127.0.0.1/$1; printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3; cat <&3; exec 3>&-; }
users() { for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = "$1" ] && stat -c %U $p; done | sort | uniq; }
"#;

#[test]
fn postgres_initialises_and_answers() {
    require!(Feature::Image("postgres"), Feature::SubIds);
    let rl = Rl::new();
    let script = "serve docker-entrypoint.sh postgres; until_ready pg_isready -q -U postgres
        psql -U postgres -Atc 'select 6 * 7'; psql -U postgres -h 127.0.0.1 -Atc 'select current_user'
        users postgres; stat -c %U:%a $PGDATA; stop INT";
    let run = in_image(&rl, &[], "postgres", script).ok();
    assert_eq!(run.stdout().lines().rev().take(4).collect::<Vec<_>>(), ["postgres:700", "postgres", "postgres", "42"], "{run}");
    assert!(run.stdout().contains("Success.") && run.stderr().contains("ready to accept connections"), "{run}");
    eventually("its anonymous volume is gone", || rl.cmd(["volume", "ls", "-q"]).ok().stdout().is_empty());
}

#[test]
fn postgres_keeps_its_data_in_a_named_volume() {
    require!(Feature::Image("postgres"), Feature::SubIds);
    let rl = Rl::new();
    let start =
        "serve docker-entrypoint.sh postgres; until_ready pg_isready -q -U postgres; sql() { psql -U postgres -Atc \"$1\"; }";
    let flags = ["-v", "data:/var/lib/postgresql/data"];
    let run = in_image(&rl, &flags, "postgres", &format!("{start}\nsql 'create table t as select 42 as n'; stop INT")).ok();
    assert!(run.stdout().contains("Success."), "{run}");
    let run = in_image(&rl, &flags, "postgres", &format!("{start}\nsql 'select n from t'; stop INT")).ok();
    assert_eq!(run.stdout(), "42", "not initialised again: {run}");
}

#[test]
fn postgres_runs_in_the_foreground_until_its_stop_signal() {
    require!(Feature::Image("postgres"), Feature::SubIds);
    let rl = Rl::new();
    let start = "exec docker-entrypoint.sh postgres 2>&1";
    let server = rl.start(["run", "--rm", "--network", "none", &image("postgres"), "sh", "-c", start]);
    server.expect("ready to accept connections");
    server.signal(nix::sys::signal::Signal::SIGINT);
    let run = server.finish().ok();
    assert!(run.stdout().contains("database system is shut down"), "{run}");
    assert!(rl.containers().is_empty());
}

#[test]
fn nginx_answers_and_logs_to_stdout_and_stderr() {
    require!(Feature::Image("nginx"), Feature::SubIds);
    let rl = Rl::new();
    let script = "mkdir /var/www/html/empty; serve nginx -g 'daemon off;'; until_ready port 80
        get 80 /; get 80 /missing >/dev/null; get 80 /empty/ >/dev/null; users nginx; stop QUIT";
    let run = in_image(&rl, &[], "nginx", script).ok();
    assert!(run.stdout().contains("HTTP/1.1 200 OK") && run.stdout().contains("it works"), "{run}");
    assert!(run.stdout().contains("\"GET / HTTP/1.0\" 200") && run.stdout().contains("\"GET /missing HTTP/1.0\" 404"), "{run}");
    assert!(
        run.stderr().contains("ready to start nginx") && run.stderr().contains("index of \"/var/www/html/empty/\" is forbidden"),
        "{run}"
    );
    assert!(run.stdout().contains("\nroot\nwww-data"), "a master as root, workers as another user: {run}");
}

#[test]
fn nginx_logs_into_a_file_of_the_callers_too() {
    require!(Feature::Image("nginx"), Feature::SubIds);
    let rl = Rl::new();
    let log = rl.path("log");
    let script = format!("{SERVICE}\nserve nginx -g 'daemon off;'; until_ready port 80; get 80 / >/dev/null; stop QUIT");
    let mut command = rl.command(["run", "--rm", "--network", "none", &image("nginx"), "bash", "-c", &script]);
    let file = std::fs::File::create(&log).unwrap();
    command.stdin(std::process::Stdio::null()).stderr(file.try_clone().unwrap()).stdout(file);
    let status = support::run_as_is(command);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        status.success() && text.contains("\"GET / HTTP/1.0\" 200") && text.contains("ready to start nginx"),
        "{status}: {text}"
    );
}

#[test]
fn redis_runs_in_the_foreground_until_it_is_told_to_stop() {
    require!(Feature::Image("redis"), Feature::SubIds);
    let rl = Rl::new();
    let server = rl.start(["run", "--rm", "--network", "none", &image("redis")]);
    server.expect("Ready to accept connections");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let run = server.finish().ok();
    assert!(run.stdout().contains("bye bye"), "{run}");
}

#[test]
fn redis_answers_as_a_user_of_its_own() {
    require!(Feature::Image("redis"), Feature::SubIds);
    let rl = Rl::new();
    let script = "serve docker-entrypoint.sh redis-server --logfile /tmp/log; until_ready redis-cli ping
        redis-cli set key value; redis-cli get key; users redis-server; stat -c %U /data; redis-cli shutdown save; wait; ls -A /data";
    let flags = ["-v", "data:/data"];
    assert_eq!(in_image(&rl, &flags, "redis", script).ok().stdout(), "OK\nvalue\nredis\nredis\ndump.rdb");
    let again =
        "serve docker-entrypoint.sh redis-server --logfile /tmp/log; until_ready redis-cli ping; redis-cli get key; stop TERM";
    assert_eq!(in_image(&rl, &flags, "redis", again).ok().stdout(), "value");
}

#[test]
fn a_python_application_runs_as_its_user_and_answers() {
    require!(Feature::Image("python"), Feature::SubIds);
    let rl = Rl::new();
    let about = rl.cmd(["run", "--rm", &image("python")]).ok().json();
    assert_eq!((&about["uid"], &about["gid"]), (&1500.into(), &1500.into()));
    assert!(about["groups"].as_array().unwrap().contains(&1600.into()), "{about}");
    assert_eq!((&about["home"], &about["cwd"]), (&"/home/app".into(), &"/srv/app".into()));
    assert_eq!(about["files"], serde_json::json!(["app.py", "static/new.css"]));
    let script = "serve python3 app.py serve >/dev/null 2>&1; until_ready port 8000; get 8000 /; kill $service";
    let run = in_image(&rl, &[], "python", script);
    assert!(run.stdout().contains("200 OK") && run.stdout().contains("\"uid\": 1500"), "{run}");
}
