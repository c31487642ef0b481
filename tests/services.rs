//! Services as people run them: detached, on a named volume, reached on a published port and by exec, stopped in their own grace, and
//! started again with their data.

mod support;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};
use support::{Feature, Rl, Run, eventually, image, require};

/// Starts `name` detached; its published port on the host.
#[track_caller]
fn serve(rl: &Rl, name: &str, flags: &[&str], port: u16, command: &[&str]) -> u16 {
    let published = format!("127.0.0.1::{port}");
    let image = image(name);
    rl.cmd([&["run", "-d", "--name", name, "-p", &published], flags, &[&image], command].concat()).ok();
    published_port(rl, name)
}

#[track_caller]
fn published_port(rl: &Rl, name: &str) -> u16 {
    rl.cmd(["port", name]).ok().stdout().lines().next().and_then(|line| line.rsplit(':').next()?.parse().ok()).expect("a port")
}

/// Asks and reads to the end of the answer.
fn ask(port: u16, request: impl AsRef<[u8]>) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(request.as_ref()).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// It stops by its own signal, well within the ten seconds that it has.
#[track_caller]
fn stops(rl: &Rl, name: &str) -> Run {
    rl.cmd(["stop", name]).ok();
    assert_eq!(rl.inspect(name)["State"]["ExitCode"], 0, "{}", rl.cmd(["logs", name]).stderr());
    rl.cmd(["logs", name]).ok()
}

#[test]
fn postgres_keeps_its_tables_from_one_life_to_the_next() {
    require!(Feature::Image("postgres"), Feature::SubIds);
    let rl = Rl::new();
    serve(&rl, "postgres", &["-v", "data:/var/lib/postgresql/data"], 5432, &[]);
    let ready = || rl.cmd(["exec", "postgres", "pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]).status.success();
    let sql =
        |statement: &str| rl.cmd(["exec", "-u", "postgres", "postgres", "psql", "-Atc", statement]).ok().stdout().to_string();
    eventually("postgres is ready", ready);
    sql("create table t as select 42 as n");
    let logs = stops(&rl, "postgres");
    assert!(format!("{}{}", logs.stdout(), logs.stderr()).contains("database system is shut down"), "{logs}");
    rl.cmd(["start", "postgres"]).ok();
    eventually("postgres is ready again", ready);
    assert_eq!(sql("select n from t"), "42");
    // The startup packet for SSL: whoever answers with one letter is postgres.
    let answer = ask(published_port(&rl, "postgres"), b"\0\0\0\x08\x04\xd2\x16\x2f");
    assert!(answer.is_some_and(|answer| !answer.is_empty()));
    rl.cmd(["rm", "-f", "-v", "postgres"]).ok();
    assert_eq!(rl.cmd(["volume", "ls", "-q"]).ok().stdout(), "data", "a named volume stays");
}

/// It answers whoever asks, as in Docker's own image.
const REDIS: &[&str] = &["redis-server", "--save", "3600 1", "--protected-mode", "no"];

#[test]
fn redis_saves_when_it_is_stopped() {
    require!(Feature::Image("redis"), Feature::SubIds);
    let rl = Rl::new();
    let port = serve(&rl, "redis", &["-v", "data:/data"], 6379, REDIS);
    eventually("redis answers", || ask(port, "PING\r\n").is_some_and(|answer| answer.starts_with("+PONG")));
    assert!(ask(port, "SET key value\r\n").unwrap().starts_with("+OK"));
    assert_eq!(rl.cmd(["exec", "redis", "redis-cli", "get", "key"]).ok().stdout(), "value");
    stops(&rl, "redis");
    rl.cmd(["rm", "redis"]).ok();
    // Another container, the same volume.
    let port = serve(&rl, "redis", &["-v", "data:/data"], 6379, REDIS);
    eventually("redis has its key", || ask(port, "GET key\r\n").is_some_and(|answer| answer.contains("value")));
}

#[test]
fn nginx_serves_what_is_copied_into_it() {
    require!(Feature::Image("nginx"), Feature::SubIds);
    let rl = Rl::new();
    let port = serve(&rl, "nginx", &["--restart", "unless-stopped"], 80, &[]);
    let get = || ask(port, "GET / HTTP/1.0\r\n\r\n").unwrap_or_default();
    eventually("nginx answers", || get().contains("it works"));
    let page = rl.file("index.html", "another page").display().to_string();
    rl.cmd(["cp", &page, "nginx:/var/www/html/index.html"]).ok();
    assert!(get().contains("another page"));
    rl.cmd(["restart", "nginx"]).ok();
    assert_eq!(published_port(&rl, "nginx"), port, "a restart keeps its ports");
    eventually("nginx answers again", || get().contains("another page"));
    assert!(stops(&rl, "nginx").stdout().contains("\"GET / HTTP/1.0\" 200"));
}

#[test]
fn a_python_application_is_killed_and_comes_back() {
    require!(Feature::Image("python"), Feature::SubIds);
    let rl = Rl::new();
    let command = ["python3", "-m", "http.server", "8000"];
    let port = serve(&rl, "python", &["--restart", "always", "-w", "/etc"], 8000, &command);
    let get = || ask(port, "GET /hostname HTTP/1.0\r\n\r\n").unwrap_or_default();
    eventually("python answers", || get().contains("200 OK"));
    rl.cmd(["exec", "python", "sh", "-c", "kill -9 1; kill -TERM 1"]);
    let pid = rl.inspect("python")["State"]["Pid"].as_i64().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it was started again", || rl.inspect("python")["RestartCount"] == 1);
    eventually("python answers again", || get().contains("200 OK"));
}

#[test]
fn services_reach_one_another_by_name_on_a_network_of_their_own() {
    require!(Feature::Image("nginx"), Feature::Image("redis"), Feature::Image("postgres"), Feature::SubIds);
    let rl = Rl::new();
    rl.cmd(["network", "create", "app"]).ok();
    serve(&rl, "postgres", &["--network", "app"], 5432, &[]);
    let redis = serve(&rl, "redis", &["--network", "app"], 6379, REDIS);
    let nginx = serve(&rl, "nginx", &["--network", "app"], 80, &[]);
    let from = |name: &str, script: &str| rl.cmd(["exec", name, "bash", "-c", script]).stdout().to_string();
    let nginx_from = |name: &str| from(name, "exec 3<>/dev/tcp/nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let redis_from = |name: &str| from(name, "exec 3<>/dev/tcp/redis/6379; printf 'PING\\r\\n' >&3; head -n 1 <&3");
    let ready = |name: &str| rl.cmd(["exec", name, "pg_isready", "-h", "postgres"]).status.success();
    eventually("nginx answers postgres", || nginx_from("postgres").contains("it works"));
    eventually("nginx answers redis", || nginx_from("redis").contains("it works"));
    eventually("redis answers nginx", || redis_from("nginx").starts_with("+PONG"));
    eventually("redis answers postgres", || redis_from("postgres").starts_with("+PONG"));
    eventually("postgres answers itself by its name", || ready("postgres"));
    // Whoever answers the startup packet for SSL with one letter is postgres.
    let ssl = "exec 3<>/dev/tcp/postgres/5432; printf '\\0\\0\\0\\010\\004\\322\\026\\057' >&3; head -c 1 <&3";
    assert_eq!(from("redis", ssl).len(), 1);
    // And the host meanwhile.
    assert!(ask(redis, "PING\r\n").is_some_and(|answer| answer.starts_with("+PONG")));
    assert!(ask(nginx, "GET / HTTP/1.0\r\n\r\n").is_some_and(|answer| answer.contains("it works")));
    let client = rl.cmd(["run", "--rm", "--network", "app", &image("redis"), "redis-cli", "-h", "redis", "ping"]).ok();
    assert_eq!(client.stdout(), "PONG");
}
