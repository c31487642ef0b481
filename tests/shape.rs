//! The shape of the source (DESIGN.md): layers, `unsafe` in its place, short functions, no orphan files. Each check is first
//! shown to fail on a snippet that violates it. And of what is generated from it.

mod support;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest function, in lines from `fn` to its closing brace.
const LONGEST: usize = 70;

/// The layer of each module at the top of the crate.
fn layer(module: &str) -> Option<usize> {
    let layers: [&[&str]; 7] = [
        &["sys", "error", "role"],
        &["host", "oci"],
        &["userns"],
        &["image", "rootfs", "network", "cgroup", "security"],
        &["container"],
        &["build", "compose", "api"],
        &["cli"],
    ];
    layers.iter().position(|modules| modules.contains(&module))
}

/// A source file: its path below src/ and its text.
type Source = (PathBuf, String);

fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn sources() -> Vec<Source> {
    let root = package().join("src");
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir).expect("src").map(|e| e.expect("entry").path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.strip_prefix(&root).unwrap().to_path_buf(), fs::read_to_string(&path).expect("read")));
            }
        }
    }
    assert!(found.len() > 30, "this is not rl's source");
    found.sort();
    found
}

/// The text with comments, strings and characters blanked out; lines stay where they are.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skipped = comment(rest).or_else(|| string(rest, code.chars().last())).or_else(|| character(rest));
        match skipped {
            Some(length) => {
                code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                at += length;
            }
            None => {
                let c = rest.chars().next().expect("not at the end");
                code.push(c);
                at += c.len_utf8();
            }
        }
    }
    code
}

/// The length of the comment that begins here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

/// The length of the string that begins here: "…", r"…", r#"…"#, and those of bytes and C.
fn string(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let hashes = text[prefix..].find(|c| c != '#')?;
    let raw = text[..prefix].contains('r');
    let open = prefix + hashes;
    if prefix > 2 || !text[open..].starts_with('"') || (hashes > 0 && !raw) {
        return None;
    }
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(text[open + 1..].find(&close).map_or(text.len(), |end| open + 1 + end + close.len()));
    }
    let mut escaped = false;
    for (at, c) in text[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + 1 + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The length of the character that begins here, which is not a lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        return escape[1..].find('\'').map(|end| end + 4);
    }
    let c = inner.chars().next()?;
    inner[c.len_utf8()..].starts_with('\'').then(|| 2 + c.len_utf8())
}

/// The modules that `crate::…` names in this code, and `super::…` where that is the crate's root.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate") {
        let before = code[..at].chars().last();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(rest) = code[at + 5..].trim_start().strip_prefix("::") else { continue };
        match rest.trim_start().strip_prefix('{') {
            Some(group) => found.extend(first_names(group)),
            None => found.extend(name(rest)),
        }
    }
    found
}

/// The first name of each path in `a::b, c::{d, e}, f}`.
fn first_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut at_start) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.extend(name(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> Option<String> {
    let text = text.trim_start();
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The top module that a file belongs to: `image/tar/mod.rs` and `image.rs` are of `image`.
fn module_of(path: &Path) -> String {
    let first = path.components().next().expect("a path");
    Path::new(&first).file_stem().expect("a name").to_string_lossy().into_owned()
}

fn layer_violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources {
        let own = module_of(path);
        if own == "main" {
            continue;
        }
        let Some(own_layer) = layer(&own) else {
            found.push(format!("{}: module {own} is in no layer", path.display()));
            continue;
        };
        for other in imports(&code(text)).into_iter().filter(|other| *other != own) {
            match layer(&other) {
                Some(theirs) if theirs < own_layer => {}
                Some(theirs) => {
                    let way = if theirs == own_layer { "sideways" } else { "upwards" };
                    found.push(format!("{}: imports {other} {way}", path.display()));
                }
                // A macro or an item of the root: main.rs has none.
                None => found.push(format!("{}: imports {other}, which is in no layer", path.display())),
            }
        }
    }
    found
}

#[test]
fn no_module_imports_upwards_or_sideways() {
    let violations = layer_violations(&sources());
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_layer_check_sees_every_way_to_import() {
    let check = |path: &str, text: &str| layer_violations(&[(path.into(), text.into())]);
    for (path, text) in [
        ("sys/fs.rs", "use crate::error::Failure;"),
        ("host/facts.rs", "use crate::container::record;"),
        ("image/store.rs", "use crate::rootfs::plan;"),
        ("image/store.rs", "use crate::{sys::fs, rootfs::plan};"),
        ("image/store.rs", "use crate::{\n    sys::{fs, tty},\n    rootfs::{plan, apply},\n};"),
        ("image/store.rs", "pub(crate) use crate :: rootfs;"),
        ("image/store.rs", "fn f() { crate::cli::run() }"),
        ("userns/spawn.rs", "mod tests { use crate::network::resolv; }"),
        ("strange/mod.rs", ""),
        ("oci/image.rs", "use crate::nowhere::x;"),
    ] {
        assert_eq!(check(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("image/store.rs", "use crate::sys::fs; use crate::{error::Failure, image::layout, userns::spawn};"),
        (
            "image/store.rs",
            "// crate::cli is above\nlet x = \"crate::cli::run\"; let y = r#\"crate::cli \" \"#; /* crate::cli */",
        ),
        ("container/mod.rs", "use super::launch; use crate::container::names; mycrate::cli::x();"),
        ("main.rs", "use crate::cli;"),
    ] {
        assert_eq!(check(path, text), [] as [&str; 0], "{path}: {text}");
    }
}

fn unsafe_violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| module_of(path) != "sys") {
        for (number, line) in code(text).lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.into_iter().any(|w| w == "unsafe") || line.contains("allow(unsafe_code") {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn unsafe_stands_in_sys_only() {
    let violations = unsafe_violations(&sources());
    assert!(violations.is_empty(), "{violations:#?}");
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""), "the compiler denies it, too");
}

#[test]
fn the_unsafe_check_sees_it_outside_sys() {
    let check = |path: &str, text: &str| unsafe_violations(&[(path.into(), text.into())]).len();
    assert_eq!(check("container/init.rs", "fn f() {\n    unsafe { g() }\n}"), 1);
    assert_eq!(check("main.rs", "#![allow(unsafe_code)]"), 1);
    assert_eq!(check("image/x.rs", "unsafe extern \"C\" { fn f(); }\nunsafe impl Send for X {}"), 2);
    assert_eq!(check("sys/fs.rs", "unsafe { g() }"), 0);
    assert_eq!(check("image/x.rs", "// unsafe\nlet unsafe_ = \"unsafe\";"), 0);
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources {
        let code = code(text);
        for (at, _) in code.match_indices("fn ") {
            if code[..at].chars().last().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let Some(name) = name(&code[at + 3..]) else { continue };
            let lines = lines_of_body(&code[at..]);
            if lines > LONGEST {
                found.push(format!("{}: fn {name} has {lines} lines", path.display()));
            }
        }
    }
    found
}

/// Lines from here to the end of the function's body; 0 where it has none.
fn lines_of_body(code: &str) -> usize {
    let mut depth = 0;
    // The semicolon of `[u8; 3]` ends no declaration.
    let opening = code.find(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        depth == 0 && matches!(c, '{' | ';')
    });
    let Some(open) = opening.filter(|at| code[*at..].starts_with('{')) else { return 0 };
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return code[..open + at].matches('\n').count() + 1;
        }
    }
    code.matches('\n').count() + 1
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let violations = long_functions(&sources());
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_length_check_counts_a_functions_lines() {
    let function =
        |lines: usize| format!("impl X {{\n    fn long(a: [u8; 3]) {{\n{}    }}\n}}\n", "        // \"}\n".repeat(lines - 2));
    let check = |text: String| long_functions(&[("x/y.rs".into(), text)]).len();
    assert_eq!(check(function(LONGEST)), 0);
    assert_eq!(check(function(LONGEST + 1)), 1);
    assert_eq!(check("trait T { fn without_a_body(&self); }".into()), 0);
}

/// Files that no `mod` declaration reaches from main.rs, and declarations without a file.
fn orphans(sources: &[Source]) -> Vec<String> {
    let texts: BTreeMap<PathBuf, &str> = sources.iter().map(|(path, text)| (path.clone(), text.as_str())).collect();
    let mut found = Vec::new();
    let mut reached = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("main.rs")];
    while let Some(path) = waiting.pop() {
        let Some(text) = texts.get(&path) else {
            found.push(format!("{} is declared and does not exist", path.display()));
            continue;
        };
        let stem = path.file_stem().expect("a name");
        let dir = path.parent().expect("a parent");
        let dir = if stem == "main" || stem == "mod" { dir.to_path_buf() } else { dir.join(stem) };
        for module in declared(&code(text)) {
            let file = dir.join(format!("{module}.rs"));
            waiting.push(if texts.contains_key(&file) { file } else { dir.join(module).join("mod.rs") });
        }
        reached.insert(path);
    }
    found.extend(texts.keys().filter(|path| !reached.contains(*path)).map(|path| format!("{} is in no module", path.display())));
    found
}

/// The names in `mod name;`.
fn declared(code: &str) -> Vec<String> {
    let declaration = |line: &str| {
        let (before, after) = line.split_once("mod ")?;
        let is_visibility = before.trim().is_empty() || before.trim().starts_with("pub") || before.trim().ends_with(']');
        let name = name(after)?;
        (is_visibility && after.trim_start()[name.len()..].starts_with(';')).then_some(name)
    };
    code.lines().filter_map(declaration).collect()
}

#[test]
fn every_file_is_in_a_module() {
    let violations = orphans(&sources());
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_orphan_check_follows_mod_declarations() {
    let source = |path: &str, text: &str| (PathBuf::from(path), text.to_string());
    let whole = [
        source("main.rs", "mod a;\nmod b;\n"),
        source("a/mod.rs", "pub mod inner;\n#[cfg(test)]\nmod tests;\nmod inline { fn f() {} }"),
        source("a/inner.rs", ""),
        source("a/tests.rs", ""),
        source("b.rs", "pub(crate) mod c;"),
        source("b/c.rs", ""),
    ];
    assert_eq!(orphans(&whole), [] as [&str; 0]);
    let with_orphan = [&whole[..], &[source("a/forgotten.rs", "")]].concat();
    assert_eq!(orphans(&with_orphan), ["a/forgotten.rs is in no module"]);
    assert_eq!(orphans(&whole[..5]), ["b/c/mod.rs is declared and does not exist"]);
}

#[test]
fn no_module_is_called_after_nothing() {
    for (path, _) in sources() {
        for part in &path {
            let stem = Path::new(part).file_stem().unwrap().to_string_lossy().into_owned();
            assert!(
                !["utils", "util", "helper", "helpers", "manager", "common", "misc"].contains(&stem.as_str()),
                "{}",
                path.display()
            );
        }
    }
}

/// Names and contents of the files in a directory.
fn contents(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).map(|e| e.expect("entry").path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.map(|path| (name(&path), fs::read_to_string(&path).expect("read"))).collect()
}

#[test]
fn man_pages_and_completions_are_those_of_the_commands() {
    let rl = support::Rl::new();
    rl.cmd(["generate", rl.path("new").to_str().unwrap()]).ok();
    for part in ["man", "completions"] {
        let (new, committed) = (contents(&rl.path("new").join(part)), contents(&package().join(part)));
        let differ: BTreeSet<_> =
            new.keys().chain(committed.keys()).filter(|name| new.get(*name) != committed.get(*name)).collect();
        assert!(differ.is_empty(), "{part}/ is not what `rl generate .` makes: {differ:?}");
    }
}
