//! The host around `rl`, to be compared before and after: nothing may stay, nothing may change.

use super::hang;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::Range,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Mounts, processes and cgroups that a run of `rl` could leave. Those of other tests of the executable show here too, so a
/// test that compares it takes `Rl::alone()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// Lines of /proc/self/mountinfo.
    pub mounts: Vec<String>,
    /// "PID COMM" of whatever this executable's tests have started and left.
    pub processes: Vec<String>,
    /// Cgroup directories that belong to this user.
    pub cgroups: Vec<PathBuf>,
}

impl HostState {
    pub fn now() -> HostState {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().map(String::from).collect();
        let mut cgroups = Vec::new();
        own_directories(Path::new("/sys/fs/cgroup"), &mut cgroups);
        HostState { mounts, processes: processes(), cgroups }
    }

    /// Waits until the host is again as it was then: the same mounts, no new process, no new cgroup. What cleans up after a
    /// container may do so after `rl` has ended.
    #[track_caller]
    pub fn is_back(&self) {
        let deadline = hang();
        loop {
            let now = HostState::now();
            let gone = self.mounts.iter().filter(|m| !now.mounts.contains(m)).map(|m| format!("gone: mount {m}"));
            let new = now.mounts.iter().filter(|m| !self.mounts.contains(m)).map(|m| format!("new: mount {m}"));
            let processes = now.processes.iter().filter(|p| !self.processes.contains(p)).map(|p| format!("new: process {p}"));
            let cgroups =
                now.cgroups.iter().filter(|c| !self.cgroups.contains(c)).map(|c| format!("new: cgroup {}", c.display()));
            let changes: Vec<String> = gone.chain(new).chain(processes).chain(cgroups).collect();
            if changes.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "the host is not as before: {changes:#?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// "PID COMM" of all below our parent but us: `keep` (tests/run starts it) is the subreaper of whatever leaves its own.
fn processes() -> Vec<String> {
    let all: Vec<(u32, u32, String)> =
        fs::read_dir("/proc").expect("/proc").filter_map(|e| process(e.ok()?.file_name().to_str()?.parse().ok()?)).collect();
    let mut found = Vec::new();
    let mut parents = vec![std::os::unix::process::parent_id()];
    while let Some(parent) = parents.pop() {
        for (pid, _, name) in all.iter().filter(|(_, of, _)| *of == parent) {
            parents.push(*pid);
            if *pid != std::process::id() {
                found.push(format!("{pid} {name}"));
            }
        }
    }
    found.sort();
    found
}

/// A process's pid, parent and name; None for a zombie, which holds nothing and is its parent's to reap.
fn process(pid: u32) -> Option<(u32, u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ');
    let name = before.split_once('(')?.1.to_string();
    (fields.next()? != "Z").then_some((pid, fields.next()?.parse().ok()?, name))
}

/// The caller's ranges in /etc/subuid or /etc/subgid.
pub fn sub_ids(file: &str) -> Vec<Range<u32>> {
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(String::new, |u| u.name);
    let range = |line: &str| {
        let [owner, start, count] = line.split(':').collect::<Vec<_>>().try_into().ok()?;
        let (start, count): (u32, u32) = (start.parse().ok()?, count.trim().parse().ok()?);
        (owner == name || owner == uid.to_string()).then_some(start..start.saturating_add(count))
    };
    fs::read_to_string(file).unwrap_or_default().lines().filter_map(range).collect()
}

fn own_directories(dir: &Path, found: &mut Vec<PathBuf>) {
    let me = nix::unistd::getuid().as_raw();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if me != 0 && entry.metadata().is_ok_and(|m| m.uid() == me) {
                found.push(entry.path());
            }
            own_directories(&entry.path(), found);
        }
    }
    found.sort();
}

/// Everything that can be seen of a directory tree: type, mode, owner, contents and extended attributes of each entry. A
/// canary is a tree that must be equal before and after.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree(Vec<String>);

impl Tree {
    pub fn of(root: &Path) -> Tree {
        let mut lines = Vec::new();
        describe(root, &mut lines);
        let xattrs =
            Command::new("getfattr").args(["--absolute-names", "-R", "-P", "-h", "-d", "-m", "-", "--"]).arg(root).output();
        lines.extend(String::from_utf8_lossy(&xattrs.expect("getfattr (package attr)").stdout).lines().map(String::from));
        Tree(lines)
    }

    /// The tree at `root` is still this one.
    #[track_caller]
    pub fn is_unchanged(&self, root: &Path) {
        let now = Tree::of(root);
        let gone: Vec<_> = self.0.iter().filter(|l| !now.0.contains(l)).collect();
        let new: Vec<_> = now.0.iter().filter(|l| !self.0.contains(l)).collect();
        assert!(*self == now, "{} has changed\nbefore: {gone:#?}\nnow: {new:#?}", root.display());
    }
}

fn describe(path: &Path, lines: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind = meta.file_type();
    let contents = if kind.is_file() {
        format!("{} {:x}", meta.len(), Sha256::digest(fs::read(path).expect("read")))
    } else if kind.is_symlink() {
        format!("-> {}", fs::read_link(path).expect("readlink").display())
    } else if kind.is_block_device() || kind.is_char_device() {
        format!("device {:x}", meta.rdev())
    } else {
        String::new()
    };
    lines.push(format!("{} {:o} {}:{} {contents}", path.display(), meta.mode(), meta.uid(), meta.gid()));
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).expect("read_dir").map(|e| e.expect("entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|e| describe(e, lines));
    }
}

/// Swaps for as long as it lives: what is looked at twice is seen differently.
struct Swapper<'a>(&'a AtomicBool);

impl Drop for Swapper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Works while `a` and `b` change places, over and over.
pub fn while_swapping(a: &Path, b: &Path, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = Swapper(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).expect("swap");
            }
        });
        work();
    });
}

/// An address by which the host knows itself and which is not loopback, of the family of `far`: the source of a route there, for which
/// nothing is sent.
pub fn host_address(far: &str) -> Option<IpAddr> {
    let far: SocketAddr = far.parse().unwrap();
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[track_caller]
pub fn host_v4() -> IpAddr {
    host_address("198.51.100.1:9").expect("this test needs a host with an IPv4 address and a default route")
}

/// Both threads of a gateway or hub may gain nothing; the one that makes sockets in its own network namespace keeps CAP_NET_RAW, and nobody
/// may look into them.
#[track_caller]
pub fn assert_confined(pid: i32) {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_string();
        assert_eq!(field("NoNewPrivs:"), "1");
        threads.push((field("CapEff:"), field("CapPrm:")));
    }
    threads.sort();
    let set = |bits: u64| (format!("{bits:016x}"), format!("{bits:016x}"));
    assert_eq!(threads, [set(0), set(1 << 13)]);
    assert!(fs::read_dir(format!("/proc/{pid}/fd")).is_err(), "its descriptors can be listed");
}

/// The processes with this title.
pub fn titled(title: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).trim_end_matches('\0') == title
    };
    pids.filter(is_it).collect()
}

/// Does `accepted` with each connection over TCP, and echoes over UDP, on one port, until the test ends.
pub fn serve(ip: IpAddr, accepted: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let (listener, socket) = std::iter::repeat_with(|| {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let socket = UdpSocket::bind(listener.local_addr().unwrap());
        (listener, socket)
    })
    .find_map(|(listener, socket)| Some((listener, socket.ok()?)))
    .unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(accepted));
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    address
}
