//! What is known of containers: `rl ps`, `inspect`, `rm`, and the names by which they are found.

mod support;
use std::{collections::HashSet, fs, thread};
use support::{Background, Feature, HostState, Rl, Run, eventually, image, require, run};

/// One that ends with this code, and stays.
#[track_caller]
fn ended(rl: &Rl, name: &str, code: i32) -> String {
    rl.cmd(["run", "--name", name, &image("alpine"), "sh", "-c", &format!("exit {code}")]).code(code);
    rl.inspect(name)["Id"].as_str().expect("an id").to_string()
}

/// One that runs until it is killed.
#[track_caller]
fn running(rl: &Rl, name: &str) -> Background {
    let container = rl.start(["run", "--name", name, &image("alpine"), "sh", "-c", "echo ready; exec sleep 1000"]);
    container.expect("ready");
    container
}

/// Columns of a table, cut where its header's begin.
fn columns(line: &str, header: &str, names: &[&str]) -> Vec<String> {
    let starts: Vec<usize> = names.iter().map(|name| header.find(name).expect("a column")).collect();
    // The table pads by characters, not bytes.
    let chars: Vec<char> = line.chars().collect();
    let end = |n: usize| starts.get(n + 1).copied().unwrap_or(chars.len()).min(chars.len());
    (0..starts.len()).map(|n| chars[starts[n]..end(n)].iter().collect::<String>().trim_end().to_string()).collect()
}

#[track_caller]
fn one_line(run: &Run) {
    let lines: Vec<_> = run.stderr().lines().filter(|line| !line.starts_with("try: ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("rl: "), "not one line: {run}");
}

const HEADER: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];

#[test]
fn an_empty_list_is_a_header_or_nothing() {
    let rl = Rl::new();
    for all in [&["ps"][..], &["ps", "-a"]] {
        let run = rl.cmd(all).ok();
        assert_eq!(run.stdout().split("   ").map(str::trim).collect::<Vec<_>>(), HEADER, "{run}");
        assert_eq!(rl.cmd([all, &["-q"]].concat()).ok().stdout(), "");
    }
}

#[test]
fn the_list_has_dockers_columns_with_the_newest_first() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let first = ended(&rl, "first", 3);
    let up = running(&rl, "second");
    rl.cmd(["run", "--name", "third", &image("alpine"), "echo", "a rather long line of words"]).ok();

    let all = rl.cmd(["ps", "-a"]).ok();
    let lines: Vec<_> = all.stdout().lines().collect();
    let rows: Vec<_> = lines[1..].iter().map(|line| columns(line, lines[0], &HEADER)).collect();
    assert_eq!(rows.iter().map(|row| row[6].as_str()).collect::<Vec<_>>(), ["third", "second", "first"], "{all}");
    assert_eq!(rows[2][0], first[..12]);
    assert!(rows.iter().all(|row| row[1] == image("alpine") && row[3].ends_with(" ago")), "{all}");
    assert_eq!(rows[0][2], "\"echo a rather long …\"", "{all}");
    assert!(rows[0][4].starts_with("Exited (0) ") && rows[0][4].ends_with(" ago"), "{all}");
    assert!(rows[1][4].starts_with("Up "), "{all}");
    assert!(rows[2][4].starts_with("Exited (3) ") && rows[2][4].ends_with(" ago"), "{all}");

    let only = rl.cmd(["ps"]).ok();
    assert_eq!(only.stdout().lines().count(), 2, "{only}");
    assert!(only.stdout().lines().nth(1).unwrap().ends_with("second"), "{only}");
    assert_eq!(rl.cmd(["ps", "-q"]).ok().stdout(), rows[1][0]);
    let ids: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(rl.containers(), ids);
    assert_eq!(rl.cmd(["ps", "-aq"]).ok().stdout().lines().collect::<Vec<_>>(), ids);
    rl.cmd(["rm", "-f", "second"]).ok();
    up.finish().code(137);
}

#[test]
fn inspect_tells_the_whole_life_of_a_container() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let container = running(&rl, "a");
    let seen = rl.inspect("a");
    assert_eq!((&seen["State"]["Status"], &seen["State"]["Running"]), (&"running".into(), &true.into()));
    assert!(seen["State"]["Pid"].as_i64().unwrap() > 1);
    assert_eq!(seen["Path"], "sh");
    assert_eq!(seen["Args"][0], "-c");
    assert_eq!(seen["ImageName"], image("alpine"));
    rl.cmd(["rm", "-f", "a"]).ok();
    container.finish().code(137);

    ended(&rl, "b", 7);
    let seen = rl.inspect("b");
    assert_eq!((&seen["State"]["Status"], &seen["State"]["Running"]), (&"exited".into(), &false.into()));
    assert_eq!((&seen["State"]["ExitCode"], &seen["State"]["Pid"]), (&7.into(), &0.into()));
    let times: Vec<_> =
        [&seen["Created"], &seen["State"]["StartedAt"], &seen["State"]["FinishedAt"]].map(|t| t.as_str().unwrap()).into();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn inspect_answers_in_the_order_asked_for() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    ended(&rl, "a", 0);
    ended(&rl, "b", 0);
    let names = |args: &[&str]| {
        let seen = rl.cmd([&["inspect"], args].concat()).ok().json();
        seen.as_array()
            .unwrap()
            .iter()
            .map(|c| c["Name"].as_str().unwrap().trim_start_matches('/').to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["a", "b"]), ["a", "b"]);
    assert_eq!(names(&["b", "a"]), ["b", "a"]);
    one_line(&rl.cmd(["inspect", "nobody"]).code(1).says("nobody"));
}

#[test]
fn rm_removes_what_has_ended_and_refuses_what_runs() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = ended(&rl, "a", 0);
    assert_eq!(rl.cmd(["rm", "a"]).ok().stdout(), "a");
    one_line(&rl.cmd(["inspect", &id]).code(1));
    one_line(&rl.cmd(["rm", "a"]).code(1).says("a"));
    rl.cmd(["rm", "-f", "a"]).ok();

    let container = running(&rl, "b");
    let run = rl.cmd(["rm", "b"]).code(1).says("try: rl rm -f b");
    one_line(&run);
    assert_eq!(rl.inspect("b")["State"]["Status"], "running");
    assert_eq!(rl.cmd(["rm", "-f", "b"]).ok().stdout(), "b");
    container.finish().code(137);
    assert!(rl.containers().is_empty());
    assert_eq!(fs::read_dir(rl.store().join("containers")).unwrap().count(), 0);
}

#[test]
fn rm_goes_on_after_a_failure_and_reports_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for name in ["a", "b"] {
        ended(&rl, name, 0);
    }
    let run = rl.cmd(["rm", "a", "nobody", "b"]).code(1).says("nobody");
    assert_eq!(run.stdout(), "a\nb");
    assert!(rl.containers().is_empty());
}

#[test]
fn rm_v_takes_anonymous_volumes_along_and_no_named_one() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let run = ["run", "--name", "a", "-v", "/anonymous", "-v", "named:/data", &image("alpine"), "true"];
    let volumes = || rl.cmd(["volume", "ls", "-q"]).ok().stdout().lines().count();
    rl.cmd(run).ok();
    assert_eq!(volumes(), 2);
    rl.cmd(["rm", "a"]).ok();
    assert_eq!(volumes(), 2);
    rl.cmd(run).ok();
    assert_eq!(volumes(), 3);
    rl.cmd(["rm", "-f", "-v", "a"]).ok();
    assert_eq!(volumes(), 2);
}

#[test]
fn a_name_is_given_once() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = ended(&rl, "web", 0);
    for flags in [&["--rm"][..], &[]] {
        let run = rl.cmd([&["run"], flags, &["--name", "web", &image("alpine"), "echo", "never"]].concat());
        let run = run.code(125).says("web").says("try: ");
        one_line(&run);
        assert_eq!(run.stdout(), "");
    }
    assert_eq!(rl.containers(), [&id[..12]]);
    assert_eq!(rl.inspect("web")["Id"], id);
    rl.cmd(["rm", "web"]).ok();
    ended(&rl, "web", 0);
}

#[test]
fn a_name_is_free_again_after_a_temporary_container() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for code in [0, 1, 127] {
        let command = if code == 127 { "no-such-command".into() } else { format!("exit {code}") };
        let script = if code == 127 { vec![command.as_str()] } else { vec!["sh", "-c", &command] };
        run(rl.alpine(&["--name", "web"], &script)).code(code);
    }
    rl.cmd(["run", "--rm", "--name", "web", "-v", "/no/such:/x", &image("alpine"), "true"]).code(125);
    rl.sh(&["--name", "web"], "kill -9 $$; true").code(0);
    rl.sh(&["--name", "web"], "true").ok();
    assert!(rl.containers().is_empty());
}

#[test]
fn names_are_dockers_and_each_container_has_one() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for bad in ["", "-a", ".a", "a b", "a/b", "../a", "ä"] {
        let run = rl.cmd(["run", &format!("--name={bad}"), &image("alpine"), "true"]).code(125);
        one_line(&run);
    }
    for good in ["a", "A.b-c_9", "0"] {
        ended(&rl, good, 0);
    }
    for _ in 0..2 {
        rl.cmd(["run", &image("alpine"), "true"]).ok();
    }
    let ids = rl.containers();
    let names: HashSet<_> = ids.iter().map(|id| rl.inspect(id)["Name"].as_str().unwrap().to_string()).collect();
    assert_eq!(names.len(), ids.len());
    for name in names {
        rl.cmd(["rm", &name]).ok();
    }
    assert!(rl.containers().is_empty());
}

#[test]
fn the_beginning_of_an_id_is_enough_where_only_one_has_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let id = ended(&rl, "a", 0);
    for wanted in [&id, &id[..12], &id[..6], &id[..1], "a"] {
        assert_eq!(rl.inspect(wanted)["Id"], id, "{wanted}");
    }
    one_line(&rl.cmd(["inspect", &format!("{id}0")]).code(1));
    for nothing in ["", ".", "..", "/", "*", &id[1..]] {
        one_line(&rl.cmd(["inspect", nothing]).code(1));
        one_line(&rl.cmd(["rm", nothing]).code(1));
    }
    // A name comes before the beginning of another's id.
    let other = ended(&rl, &id[..4], 0);
    assert_eq!(rl.inspect(&id[..4])["Id"], other);
    assert_eq!(rl.inspect(&id[..12])["Id"], id);
}

#[test]
fn the_beginning_of_two_ids_is_refused() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let mut seen = HashSet::new();
    // Of 17 ids two begin with the same digit.
    let digit = (0..17).map(|n| ended(&rl, &format!("c{n}"), 0)[..1].to_string()).find(|digit| !seen.insert(digit.clone()));
    let digit = digit.expect("two ids with one first digit");
    let before = rl.containers();
    one_line(&rl.cmd(["inspect", &digit]).code(1).says("more than one"));
    one_line(&rl.cmd(["rm", &digit]).code(1).says("more than one"));
    assert_eq!(rl.containers(), before);
}

#[test]
fn twenty_at_once_are_all_right_and_leave_nothing() {
    require!(Feature::Image("alpine"));
    let rl = Rl::alone();
    rl.sh(&[], "true").ok();
    let host = HostState::now();
    thread::scope(|scope| {
        for n in 0..20 {
            let rl = &rl;
            scope.spawn(move || {
                let script = format!("echo {n}; touch /only-mine; ls / | grep -c only-mine; exit {n}");
                let run = rl.sh(&["-v", "shared:/shared"], &script).code(n);
                assert_eq!((run.stdout(), run.stderr()), (format!("{n}\n1").as_str(), ""), "{run}");
            });
        }
    });
    host.is_back();
    assert!(rl.containers().is_empty());
    for dir in ["containers", "names"] {
        eventually(&format!("{dir}/ is empty"), || fs::read_dir(rl.store().join(dir)).unwrap().count() == 0);
    }
}

#[test]
fn of_many_who_want_one_name_one_gets_it() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    rl.sh(&[], "true").ok();
    let run_it = || rl.cmd(["run", "--name", "web", &image("alpine"), "true"]).status.code().expect("a code");
    let codes: Vec<i32> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run_it)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 125].contains(code)), "{codes:?}");
    assert_eq!(rl.containers().len(), 1);
}
