//! `rl top`: the processes of a container as the host sees them.

mod support;
use support::{Feature, Rl, image, require};

/// The table below its header, cell by cell.
fn rows(table: &str) -> Vec<Vec<String>> {
    table.lines().skip(1).map(|line| line.split_whitespace().map(String::from).collect()).collect()
}

#[test]
fn processes_are_shown_with_the_hosts_numbers_and_no_ps_in_the_container() {
    require!(Feature::Image("alpine"), Feature::SubIds);
    let rl = Rl::new();
    // Without any file of its own that could run but the shell, which is held open: no ps in it.
    let script = "sleep 1001 & rm /bin/ps /usr/bin/top 2>/dev/null; touch /ready; while :; do sleep 1002; done";
    rl.cmd(["run", "-d", "--name", "web", &image("alpine"), "sh", "-c", script]).ok();
    support::eventually("both sleep", || rl.cmd(["top", "web"]).ok().stdout().lines().count() == 4);
    let shown = rl.cmd(["top", "web"]).ok();
    let header: Vec<&str> = shown.stdout().lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let rows = rows(shown.stdout());
    let first = rl.inspect("web")["State"]["Pid"].to_string();
    assert_eq!((&rows[0][1], &rows[0][5], &rows[0][6]), (&first, &"?".into(), &"00:00:00".into()), "{shown}");
    assert!(rows[1..].iter().all(|row| row[2] == first), "{shown}");
    assert!(shown.stdout().contains("sleep 1001") && shown.stdout().contains("sleep 1002"), "{shown}");
    let owner = std::fs::metadata(format!("/proc/{first}")).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&owner);
    assert!(rows[0][0] == uid.to_string() || rows[0][0].parse::<u32>().is_err(), "{shown}");
    rl.cmd(["rm", "-f", "web"]).ok();
}

#[test]
fn what_was_executed_in_it_belongs_to_it_and_a_neighbour_does_not() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for name in ["a", "b"] {
        rl.cmd(["run", "-d", "--name", name, &image("alpine"), "sleep", &format!("20{}", name.len())]).ok();
    }
    rl.cmd(["exec", "-d", "a", "sleep", "3003"]).ok();
    support::eventually("the executed one is seen", || rl.cmd(["top", "a"]).ok().stdout().contains("sleep 3003"));
    assert_eq!(rows(rl.cmd(["top", "a"]).ok().stdout()).len(), 2);
    assert_eq!(rows(rl.cmd(["top", "b"]).ok().stdout()).len(), 1);
    rl.cmd(["rm", "-f", "a", "b"]).ok();
}

#[test]
fn in_the_hosts_pid_namespace_only_its_own_are_shown() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.cmd(["run", "-d", "--pid", "host", "--name", "a", &image("alpine"), "sleep", "4004"]).ok();
    support::eventually("it sleeps", || rl.cmd(["top", "a"]).ok().stdout().ends_with(" sleep 4004"));
    assert_eq!(rows(rl.cmd(["top", "a"]).ok().stdout()).len(), 1);
    rl.cmd(["rm", "-f", "a"]).ok();
}

#[test]
fn options_are_those_of_the_hosts_ps() {
    require!(Feature::Image("alpine"), Feature::Tool("ps"));
    let rl = Rl::new();
    rl.cmd(["run", "-d", "--name", "a", &image("alpine"), "sleep", "5005"]).ok();
    let pid = rl.inspect("a")["State"]["Pid"].to_string();
    support::eventually("it has executed its command", || {
        rl.cmd(["top", "a", "-eo", "pid,args"]).ok().stdout() == format!("PID       COMMAND\n{pid:<10}sleep 5005")
    });
    let wide = rl.cmd(["top", "a", "aux"]).ok();
    assert!(
        wide.stdout().starts_with("USER ") && wide.stdout().contains("%MEM") && wide.stdout().contains("sleep 5005"),
        "{wide}"
    );
    rl.cmd(["top", "a", "-eo", "args"]).code(1).says("ps printed no column PID");
    rl.cmd(["top", "a", "--nope-nope"]).code(1).says("ps: ");
    rl.cmd(["kill", "a"]).ok();
    rl.cmd(["wait", "a"]).ok();
    rl.cmd(["top", "a"]).code(1).says("container \"a\" is not running");
    rl.cmd(["top", "nobody"]).code(1).says("no such container: nobody");
}
