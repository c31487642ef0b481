//! A guest for tests: prints as one JSON object what a process in the container sees of itself and of its surroundings.
//!
//! Static and alone in its file (`rustc -Ctarget-feature=+crt-static probe.rs`), so that it runs in any image and from an
//! empty root directory. All but environment, working directory and descriptors comes from /proc, so that needs /proc.
//! Ids are [real, effective, saved]; capabilities and limits are strings as the kernel prints them; a file that cannot be
//! read gives null.

use std::{env, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf};

fn main() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    // proc(5): after the name in parentheses come state, ppid, pgrp, session, tty_nr, tpgid.
    let stat: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |text: Option<&str>| text.filter(|t| t.parse::<i64>().is_ok()).map_or("null".into(), String::from);
    let numbers = |text: Option<&str>, n| list(text.unwrap_or_default().split_whitespace().take(n).map(String::from));

    let all = [
        ("pid", std::process::id().to_string()),
        ("ppid", number(stat.get(1).copied())),
        ("pgrp", number(stat.get(2).copied())),
        ("session", number(stat.get(3).copied())),
        ("tty", number(stat.get(4).copied())),
        ("uid", numbers(field("Uid"), 3)),
        ("gid", numbers(field("Gid"), 3)),
        ("groups", numbers(field("Groups"), usize::MAX)),
        ("umask", string_or_null(field("Umask"))),
        ("capabilities", object(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|n| (n, string_or_null(field(n)))))),
        ("no_new_privs", number(field("NoNewPrivs"))),
        ("seccomp", number(field("Seccomp"))),
        ("uid_map", lines("/proc/self/uid_map")),
        ("gid_map", lines("/proc/self/gid_map")),
        ("setgroups", lines("/proc/self/setgroups")),
        ("fds", links("/proc/self/fd")),
        ("namespaces", links("/proc/self/ns")),
        ("cgroup", lines("/proc/self/cgroup")),
        ("limits", limits()),
        ("mounts", mounts()),
        ("hostname", string_or_null(fs::read_to_string("/proc/sys/kernel/hostname").ok().as_deref().map(str::trim))),
        ("cwd", env::current_dir().map_or("null".into(), |d| string(d.as_os_str()))),
        ("args", list(env::args_os().map(|a| string(&a)))),
        ("env", object(env::vars_os().map(|(name, value)| (name, string(&value))))),
    ];
    println!("{}", object(all));
}

/// The links in a directory, name → target. The descriptor that reads the directory is gone when its target is asked for,
/// and is left out.
fn links(dir: &str) -> String {
    let Ok(entries) = fs::read_dir(dir) else { return "null".into() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    let target = |path: &PathBuf| Some((path.file_name()?.to_owned(), string(fs::read_link(path).ok()?.as_os_str())));
    object(paths.iter().filter_map(target))
}

fn lines(path: &str) -> String {
    fs::read_to_string(path).map_or("null".into(), |text| list(text.lines().map(|l| string(words(l).join(" ")))))
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// /proc/self/limits is a table: the name ends at column 26; soft and hard limit follow.
fn limits() -> String {
    let Ok(text) = fs::read_to_string("/proc/self/limits") else { return "null".into() };
    let row = |line: &str| {
        let (name, values) = line.split_at_checked(26)?;
        Some((name.trim().to_string(), list(words(values).iter().take(2).map(string))))
    };
    object(text.lines().skip(1).filter_map(row))
}

/// The fields of proc_pid_mountinfo(5) that a test looks at.
fn mounts() -> String {
    let Ok(text) = fs::read_to_string("/proc/self/mountinfo") else { return "null".into() };
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (before, after) = (words(before), words(after));
        let text = |of: &[&str], n: usize| string(of.get(n).copied().unwrap_or_default());
        Some(object([
            ("root", text(&before, 3)),
            ("target", text(&before, 4)),
            ("options", text(&before, 5)),
            ("propagation", string(before.get(6..).unwrap_or_default().join(" "))),
            ("type", text(&after, 0)),
            ("source", text(&after, 1)),
            ("super_options", text(&after, 2)),
        ]))
    };
    list(text.lines().filter_map(mount))
}

fn object(members: impl IntoIterator<Item = (impl AsRef<OsStr>, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{}: {value}", string(name))).collect();
    format!("{{{}}}", members.join(", "))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

fn string_or_null(text: Option<&str>) -> String {
    text.map_or("null".into(), string)
}

/// A JSON string; what is not UTF-8 becomes U+FFFD.
fn string(text: impl AsRef<OsStr>) -> String {
    let mut quoted = String::from("\"");
    for c in String::from_utf8_lossy(text.as_ref().as_bytes()).chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
