//! What a container may do, see and reach by default, and hostile images (THREATS.md, "Defaults" and "Runtime").

mod support;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{PermissionsExt, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::Command,
};
use support::{
    Background, Feature, Layout, Pty, Rl, Run, TarBuilder, Tree, binary, image, images, in_shell, require, run, while_swapping,
};

/// An image on alpine with this layer and configuration.
fn on_alpine(rl: &Rl, layer: TarBuilder, config: Value) -> String {
    Layout::on(&images().join("alpine"), rl.path("image")).layer(&layer.finish()).config(config).write()
}

fn run_it(rl: &Rl, flags: &[&str], image: &str, command: &[&str]) -> Run {
    rl.cmd([&["run", "--rm"], flags, &[image], command].concat())
}

/// Kinds of run that take different ways through the code.
const WAYS: [&[&str]; 5] = [&[], &["-i"], &["--init"], &["-u", "1000"], &["-t"]];

/// A directory beside the store that nothing may change.
fn canary(rl: &Rl) -> (PathBuf, Tree) {
    let dir = rl.file("canary/file", "as it was").parent().unwrap().to_path_buf();
    rl.file("canary/dir/file", "as it was, too");
    (dir.clone(), Tree::of(&dir))
}

#[test]
fn the_capabilities_are_podmans_eleven_and_none_is_inheritable() {
    require!(Feature::Image("alpine"), Feature::Probe, Feature::SubIds);
    let rl = Rl::new();
    const ELEVEN: &str = "00000000800405fb";
    const NONE: &str = "0000000000000000";
    for flags in WAYS {
        let held = if flags.contains(&"1000") { NONE } else { ELEVEN };
        let wanted = json!({"CapInh": NONE, "CapPrm": held, "CapEff": held, "CapBnd": ELEVEN, "CapAmb": NONE});
        assert_eq!(rl.look(flags)["capabilities"], wanted, "with {flags:?}");
    }
    // What is added is not inheritable either, and a set-uid program regains no more than the bounding set.
    let added = rl.look(&["--cap-add", "SYS_ADMIN", "-u", "1000"]);
    assert_eq!((&added["capabilities"]["CapInh"], &added["capabilities"]["CapAmb"]), (&json!(NONE), &json!(NONE)));
    assert_eq!(added["no_new_privs"], 0);
}

#[test]
fn only_the_standard_streams_enter() {
    require!(Feature::Image("alpine"), Feature::Probe, Feature::SubIds);
    let rl = Rl::new();
    let (dir, _) = canary(&rl);
    let bind = format!("{}:/probe:ro", support::probe().display());
    for flags in WAYS {
        let inside = rl.alpine(&[flags, &["-v", &bind]].concat(), &["/probe"]);
        let leak = format!("exec 3<{0} 9<{0} 10<{0} 251<{0}/file 300>>{0}/file; exec \"$@\"", dir.display());
        let seen = run(in_shell("bash", &leak, &inside)).ok().json();
        let fds: Vec<_> = seen["fds"].as_object().unwrap().keys().collect();
        assert_eq!(fds, ["0", "1", "2"], "with {flags:?}: {}", seen["fds"]);
    }
}

#[test]
fn pid_1_under_init_shows_nothing_of_the_host() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    for flags in [&["--init"][..], &["--init", "--privileged"], &["--init", "--cap-add", "SYS_PTRACE"]] {
        let script = "cd /proc/1; cat environ maps auxv mem; ls -l fd cwd root exe ns; cat cmdline comm";
        let mut command = rl.alpine(&[flags, &["--name", "web"]].concat(), &["sh", "-c", script]);
        command.env("SECRET_CANARY", "secret");
        let run = run(command);
        assert!(!run.stdout().contains("secret") && !run.stdout().contains("SECRET"), "{run}");
        assert!(!run.stdout().contains("/var/tmp") && !run.stdout().contains("/home") && !run.stdout().contains("heap"), "{run}");
        assert!(run.stdout().starts_with("rl[web]: reaper") || run.stdout().contains("\nrl[web]: reaper"), "{run}");
    }
}

#[test]
fn the_environment_has_nothing_of_the_callers() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    let bind = format!("{}:/probe:ro", support::probe().display());
    let hostile =
        json!({"Env": ["SECRET_CANARY", "*", "A*", "=x", "", "=", "EXPAND=$SECRET_CANARY ${SECRET_CANARY}", "LD_PRELOAD=/x.so"]});
    let image = on_alpine(&rl, TarBuilder::new(), hostile);
    for flags in WAYS {
        let mut command = rl.command([&["run", "--rm", "--hostname", "box", "-v", &bind], flags, &[&image, "/probe"]].concat());
        command.env("SECRET_CANARY", "secret").env("A_SECRET", "secret");
        let seen = run(command).ok().json();
        let mut env = seen["env"].clone();
        let env = env.as_object_mut().unwrap();
        assert_eq!(env.remove("EXPAND"), Some(json!("$SECRET_CANARY ${SECRET_CANARY}")));
        assert_eq!(env.remove("TERM").is_some(), flags.contains(&"-t"));
        let mut names: Vec<_> = env.keys().collect();
        names.sort();
        assert_eq!(names, ["HOME", "HOSTNAME", "LD_PRELOAD", "PATH"], "with {flags:?}");
    }
}

#[test]
fn the_payload_leads_a_session_of_its_own() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    for flags in WAYS {
        let seen = rl.look(flags);
        assert_eq!((&seen["session"], &seen["pgrp"]), (&seen["pid"], &seen["pid"]), "with {flags:?}");
        assert_eq!(seen["tty"] != 0, flags.contains(&"-t"));
    }
}

const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[test]
fn what_the_kernel_tells_of_the_host_is_masked() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let cpus = "/sys/devices/system/cpu/cpu0/thermal_throttle";
    let paths: Vec<_> = MASKED.into_iter().chain([cpus]).filter(|p| Path::new(p).exists()).collect();
    assert!(paths.contains(&"/proc/interrupts") && paths.contains(&"/sys/firmware"), "this host has them: {paths:?}");
    // A masked file is the null device, a masked directory an empty one that stays so.
    let script = "for p; do if [ -d $p ]; then echo dir $p $(ls -A $p) $(touch $p/x 2>/dev/null && echo writable)
        else echo file $p $(stat -c %t:%T $p) $(cat $p); fi; done";
    let wanted = |p: &&str| if Path::new(p).is_dir() { format!("dir {p}") } else { format!("file {p} 1:3") };
    let wanted = paths.iter().map(wanted).collect::<Vec<_>>().join("\n");
    for flags in [&[][..], &["--init"], &["--cap-add", "ALL"], &["--pid", "host"], &["--network", "host"], &["--read-only"]] {
        let run = run(rl.alpine(flags, &[&["sh", "-c", script, "sh"], &paths[..]].concat())).ok();
        assert_eq!(run.stdout(), wanted, "with {flags:?}");
    }
    // Unmounting does not uncover them.
    rl.sh(&[], "umount /proc/interrupts || umount -l /sys/firmware").code(1);
}

#[test]
fn the_kernels_settings_are_read_only() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    let flags = [
        &[][..],
        &["--init"],
        &["--pid", "host"],
        &["--network", "host"],
        &["--cgroupns", "host"],
        &["--ipc", "host", "--uts", "host"],
    ];
    for flags in flags {
        let seen = rl.look(flags);
        let mounts = seen["mounts"].as_array().unwrap();
        let read_only = |m: &Value| m["options"].as_str().unwrap().split(',').any(|o| o == "ro");
        for path in READ_ONLY.iter().filter(|p| Path::new(p).exists()) {
            let mount = mounts.iter().rfind(|m| m["target"] == *path).unwrap_or_else(|| panic!("{path} with {flags:?}: {seen}"));
            assert!(read_only(mount), "{mount} with {flags:?}");
        }
        for mount in mounts.iter().filter(|m| m["target"].as_str().unwrap().starts_with("/sys")) {
            assert!(read_only(mount), "{mount} with {flags:?}");
        }
        let script = "for f in /proc/sys/kernel/domainname /proc/sys/vm/drop_caches /proc/sysrq-trigger /sys/kernel/profiling
            do [ ! -e $f ] || ! (echo 1 >$f) 2>/dev/null || echo written $f; done
            for d in /sys/fs/cgroup /sys/fs/cgroup/*/ /sys; do ! mkdir $d/made 2>/dev/null || echo made in $d; done";
        assert_eq!(rl.sh(flags, script).stdout(), "", "with {flags:?}");
    }
}

/// A copy of `rl` that belongs to the caller, whom container root is: it may write it if it can reach it.
fn own_copy(rl: &Rl) -> (PathBuf, String) {
    let copy = rl.path("rl");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    let hash = hash(&copy);
    (copy, hash)
}

fn hash(path: &Path) -> String {
    format!("{:x}", Sha256::digest(fs::read(path).unwrap()))
}

/// The same command by another program.
fn by(program: &Path, command: &Command) -> Command {
    let mut other = Command::new(program);
    other.args(command.get_args()).env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

#[test]
fn rl_cannot_be_overwritten_through_proc_self_exe_as_entrypoint() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (copy, before) = own_copy(&rl);
    for name in ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe", "/link"] {
        let layer = TarBuilder::new().symlink("link", "/proc/self/exe");
        let image = on_alpine(&rl, layer, json!({"Entrypoint": [name, "run", "--rm", "rootfs:/", "id"]}));
        for flags in [&[][..], &["--init"], &["--pid", "host"]] {
            let run = run(by(&copy, &rl.command([&["run", "--rm"], flags, &[&image]].concat())));
            assert!(matches!(run.status.code(), Some(126 | 127)), "{name}: {run}");
            assert_eq!(run.stdout(), "");
        }
    }
    assert_eq!(hash(&copy), before);
}

#[test]
fn rl_cannot_be_an_images_interpreter() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (copy, before) = own_copy(&rl);
    for interpreter in ["/proc/self/exe", "/proc/1/exe", "/proc/self/exe --version"] {
        let layer = TarBuilder::new().file("script", format!("#!{interpreter}\n"));
        let image = on_alpine(&rl, layer, json!({"Entrypoint": ["/script"]}));
        for flags in [&[][..], &["--init"]] {
            let child = Background::spawn(by(&copy, &rl.command([&["run", "--rm"], flags, &[&image, "run", "--rm"]].concat())));
            let run = child.finish();
            assert!(matches!(run.status.code(), Some(126 | 127)), "{interpreter}: {run}");
            assert!(!run.stdout().contains("rl ") && !run.stdout().contains("Usage"), "it ran rl: {run}");
        }
    }
    assert_eq!(hash(&copy), before);
}

#[test]
fn rl_cannot_be_overwritten_through_any_process_a_container_sees() {
    require!(Feature::Image("python"), Feature::SubIds);
    let rl = Rl::new();
    let (copy, before) = own_copy(&rl);
    // Opens what it can of every process; keeps what it opened, and at the end tries to write through that.
    let script = "import os, sys
held = {}
print('ready', flush=True)
for turn in range(int(sys.argv[1])):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        for name in ['exe', 'map_files', 'root', 'cwd', 'fd']:
            for flags in [os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDONLY, os.O_PATH]:
                path = f'/proc/{pid}/{name}'
                try: fd = os.open(path, flags)
                except OSError: continue
                try: target = os.readlink(f'/proc/self/fd/{fd}')
                except OSError: target = '?'
                if 'rl' in os.path.basename(target) and target not in held: held[target] = fd
                else: os.close(fd)
for target, fd in held.items():
    print('held', target)
    for flags in [os.O_WRONLY, os.O_RDWR]:
        try: os.write(os.open(f'/proc/self/fd/{fd}', flags), b'overwritten'); print('written', target)
        except OSError: pass
";
    for flags in [&[][..], &["--init"], &["--pid", "host"], &["--init", "--privileged"], &["--pid", "host", "--privileged"]] {
        let attack = rl.command([&["run", "--rm"], flags, &[&image("python"), "python3", "-c", script, "60"]].concat());
        let attacker = Background::spawn(by(&copy, &attack));
        attacker.expect("ready");
        // Meanwhile others start and end, from the same file.
        for way in [&["run", "--rm"][..], &["run", "--rm", "--init"], &["run", "--rm", "--pid", "host"]] {
            run(by(&copy, &rl.command([way, &[&image("python"), "true"]].concat()))).ok();
        }
        let run = attacker.finish().ok();
        assert_eq!(run.stdout(), "ready", "with {flags:?}");
        assert_eq!(hash(&copy), before, "with {flags:?}");
    }
}

#[test]
fn a_working_directory_cannot_be_a_leaked_descriptor() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    let leak = format!("exec 3<{0} 7<{0} 10<{0} 100<{0} 251<{0}; exec \"$@\"", dir.display());
    let numbers = (3..=24).chain([100, 251]).map(|n| format!("/proc/self/fd/{n}"));
    for cwd in numbers.chain(["/proc/self/cwd", "/proc/1/cwd", "/proc/self/root", "/proc/1/root/etc"].map(String::from)) {
        let image = on_alpine(&rl, TarBuilder::new(), json!({"WorkingDir": cwd}));
        let by_flag = rl.alpine(&["-w", &cwd], &["sh", "-c", "pwd; ls; touch escaped"]);
        let by_image = rl.command(["run", "--rm", &image, "sh", "-c", "pwd; ls; touch escaped"]);
        for command in [by_flag, by_image] {
            let run = run(in_shell("bash", &leak, &command)).code(125).says("working directory");
            assert_eq!(run.stdout(), "");
        }
    }
    before.is_unchanged(&dir);
}

#[test]
fn a_working_directory_with_a_symlink_makes_nothing_outside() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    let layer =
        TarBuilder::new().symlink("abs", &dir.to_string_lossy()).symlink("up", &format!("../../../../../..{}", dir.display()));
    let image = on_alpine(&rl, layer, json!({}));
    for cwd in ["/abs", "/abs/new", "/up/new/deep", "/abs/../../../../x"] {
        // Inside, or refused.
        let run = run_it(&rl, &["-w", cwd], &image, &["touch", "made"]);
        assert!(matches!(run.status.code(), Some(0 | 125)), "{run}");
        before.is_unchanged(&dir);
    }
}

#[test]
fn an_images_dev_null_is_not_what_masks() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let layers = [
        TarBuilder::new().dir("dev").symlink("dev/null", "/proc/sys/kernel/core_pattern"),
        TarBuilder::new().dir("dev").file("dev/null", "not a device"),
        TarBuilder::new().dir("dev").dir("dev/null"),
    ];
    for layer in layers {
        let image = on_alpine(&rl, layer, json!({}));
        let look = "stat -c %t:%T /dev/null /proc/interrupts; echo '|/evil' >/proc/interrupts; cat /proc/interrupts; cat /proc/sys/kernel/core_pattern";
        let run = run_it(&rl, &[], &image, &["sh", "-c", look]).ok();
        assert_eq!(run.stdout(), format!("1:3\n1:3\n{}", before.trim_end()));
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn an_images_console_and_terminals_are_not_what_is_opened() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    let file = dir.join("file").display().to_string();
    let layer = TarBuilder::new()
        .dir("dev")
        .symlink("dev/console", &file)
        .symlink("dev/ptmx", &file)
        .symlink("dev/pts", &dir.to_string_lossy());
    let layer = layer.symlink("dev/tty", &file).symlink("dev/shm", &dir.to_string_lossy()).symlink("dev/mqueue", "/proc/sys");
    let image = on_alpine(&rl, layer, json!({}));
    let mut pty = Pty::spawn(&rl.command([
        "run",
        "--rm",
        "-it",
        &image,
        "sh",
        "-c",
        "tty; echo console >/dev/console; touch /dev/shm/x; ls -l /dev/pts",
    ]));
    let (code, shown) = pty.finish();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.starts_with("/dev/pts/0\r\nconsole\r\n"), "{shown}");
    before.is_unchanged(&dir);
}

#[test]
fn a_root_whose_system_directories_are_symlinks_is_refused() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    fs::write(dir.join("ptmx"), "").unwrap();
    let before = {
        drop(before);
        Tree::of(&dir)
    };
    for name in ["proc", "sys", "dev"] {
        for target in [dir.to_string_lossy().as_ref(), "/etc", "..", "missing"] {
            let layer = TarBuilder::new().symlink(name, target);
            let image = on_alpine(&rl, layer, json!({}));
            for flags in [&[][..], &["-t"]] {
                let run =
                    run_it(&rl, flags, &image, &["true"]).code(125).says(&format!("/{name} of the image is not a directory"));
                assert_eq!(run.stderr().lines().count(), 1, "{run}");
            }
            before.is_unchanged(&dir);
        }
    }
    assert_eq!(rl.containers(), [] as [&str; 0]);
}

#[test]
fn files_of_etc_that_are_symlinks_in_the_image_stay_inside() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    let file = dir.join("file").display().to_string();
    for target in [file.as_str(), "/proc/sys/kernel/core_pattern", "../../../../../../etc/passwd", "/nowhere/at/all", "hosts"] {
        let layer = TarBuilder::new()
            .dir("etc")
            .symlink("etc/hosts", target)
            .symlink("etc/resolv.conf", target)
            .symlink("etc/hostname", target);
        let image = on_alpine(&rl, layer, json!({}));
        // A correct container, or a refusal.
        let run = run_it(&rl, &["--dns", "192.0.2.1"], &image, &["true"]);
        assert!(matches!(run.status.code(), Some(0 | 125)) && run.stderr().lines().count() <= 1, "{target}: {run}");
        before.is_unchanged(&dir);
    }
    let whole = TarBuilder::new().symlink("etc", &dir.to_string_lossy());
    let image = Layout::new(rl.path("bare")).layer(&whole.finish()).write();
    run_it(&rl, &[], &image, &["true"]);
    before.is_unchanged(&dir);
}

#[test]
fn a_mount_destination_that_is_swapped_for_a_symlink_never_leads_out() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    let shared = rl.file("shared/real/keep", "").parent().unwrap().parent().unwrap().to_path_buf();
    rl.file("source/file", "mounted");
    let (volume, source) = (format!("{}:/v", shared.display()), rl.path("source"));
    for target in
        [format!("../../../../../../../..{}", dir.display()), dir.display().to_string(), "/proc/self".into(), "/proc/sys".into()]
    {
        let link = shared.join("link");
        symlink(&target, &link).unwrap();
        while_swapping(&shared.join("real"), &link, || {
            for n in 0..60 {
                let inner = format!("{}:/v/real/made{n}", source.display());
                let file = format!("{}/file:/v/link/file{n}", source.display());
                let run =
                    run_it(&rl, &["-v", &volume, "-v", &inner, "-v", &file, "-w", "/v/real/cwd"], &image("alpine"), &["true"]);
                assert!(matches!(run.status.code(), Some(0 | 125)), "{run}");
            }
        });
        before.is_unchanged(&dir);
        // Whichever of the two names the link has now.
        for name in ["link", "real"] {
            if shared.join(name).is_symlink() {
                fs::remove_file(shared.join(name)).unwrap();
            } else {
                fs::rename(shared.join(name), shared.join("kept")).unwrap();
            }
        }
        fs::rename(shared.join("kept"), shared.join("real")).unwrap();
    }
}

#[test]
fn a_root_directory_that_changes_while_it_is_used_stays_masked() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let (dir, before) = canary(&rl);
    // A directory of the caller's as root, whose /etc and /proc change places with symlinks.
    let root = rl.path("root");
    let tar = format!(
        "tar -xz -C {0} -f {1}/blobs/sha256/$(ls -S {1}/blobs/sha256 | head -1)",
        root.display(),
        images().join("alpine").display()
    );
    fs::create_dir(&root).unwrap();
    run(in_shell("sh", &format!("{tar} --no-same-owner 2>/dev/null; true"), &rl.command(["--version"]))).ok();
    for name in ["proc", "etc"] {
        let link = root.join("swapped");
        symlink(&dir, &link).unwrap();
        while_swapping(&root.join(name), &link, || {
            for _ in 0..100 {
                let run = rl.cmd([
                    "run",
                    "--rm",
                    &format!("rootfs:{}", root.display()),
                    "/bin/stat",
                    "-c",
                    "%t:%T",
                    "/proc/interrupts",
                ]);
                assert!(run.status.code() == Some(125) || run.stdout() == "1:3", "{run}");
            }
        });
        before.is_unchanged(&dir);
        if root.join(name).is_symlink() {
            renameat2(AT_FDCWD, &root.join(name), AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).unwrap();
        }
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn neither_the_hosts_loopback_nor_its_abstract_sockets_can_be_reached() {
    require!(Feature::Image("python"));
    let rl = Rl::new();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("rl-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let script = "import socket, sys
for family, address in [(socket.AF_INET, ('127.0.0.1', int(sys.argv[1]))), (socket.AF_UNIX, '\\0' + sys.argv[2])]:
    try: socket.socket(family).connect(address); print('connected to', address)
    except OSError: pass";
    let port = tcp.local_addr().unwrap().port().to_string();
    let connect =
        |network| rl.cmd(["run", "--rm", "--network", network, &image("python"), "python3", "-c", script, &port, &name]).ok();
    assert_eq!(connect("none").stdout(), "");
    assert_eq!(connect("host").stdout().lines().count(), 2, "the test can see a connection");
}

#[test]
fn nothing_of_the_image_reaches_a_command_line_of_the_host() {
    require!(Feature::Image("alpine"));
    let rl = Rl::new();
    let config = json!({"Env": ["EVIL=canary-in-env"], "Labels": {"canary-label": "canary-value; touch /x"}, "Cmd": ["sh", "-c", "echo ready; exec sleep 1000"]});
    let image = on_alpine(&rl, TarBuilder::new(), config);
    let container = rl.start(["run", "--name", "a", &image]);
    container.expect("ready");
    let payload = rl.inspect("a")["State"]["Pid"].to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|b| b.is_ascii_digit()) && name != payload {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains("canary-"), "{name}: {}", String::from_utf8_lossy(&line));
        }
    }
}

#[test]
fn the_hosts_files_are_out_of_sight() {
    require!(Feature::Image("alpine"), Feature::Probe);
    let rl = Rl::new();
    for flags in [&[][..], &["--init"], &["--privileged"], &["--read-only"]] {
        let seen = rl.look(flags);
        let mounts = seen["mounts"].as_array().unwrap();
        // Below the root are only what rl mounts, and the bind of the guest.
        let known = ["/", "/proc", "/sys", "/dev", "/etc", "/probe"];
        for mount in mounts {
            let target = mount["target"].as_str().unwrap();
            assert!(
                known.iter().any(|k| target == *k || *k != "/" && target.starts_with(&format!("{k}/"))),
                "{mount} with {flags:?}"
            );
            assert!(!mount["propagation"].as_str().unwrap().contains("shared"), "{mount}");
        }
        assert_eq!(mounts.iter().filter(|m| m["target"] == "/").count(), 1);
    }
    rl.sh(&["--privileged"], "ls -d /home/rltest /work /var/tmp/rl-tests 2>/dev/null").code(1);
}
