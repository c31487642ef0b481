//! Facts about the caller and the kernel, read when asked for: nothing here is on the path of `run` unless it is used.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Who called `rl`.
#[derive(Debug, Clone)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// The name in /etc/passwd, else `$USER`: only to find subordinate ranges, which newuidmap checks again.
    pub name: Option<String>,
}

impl Caller {
    /// The effective ids of this process.
    pub fn now() -> Caller {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let name = name_of(uid, &String::from_utf8_lossy(&passwd)).or_else(|| std::env::var("USER").ok());
        Caller { uid, gid, name }
    }

    /// The name, or the number where there is none, for messages.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number == uid && !name.is_empty()).then(|| name.to_string())
    })
}

/// `major.minor` of the running kernel (uname(2)).
pub fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    parse_release(&release)
}

fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The value of a sysctl as a number, `name` with slashes: `kernel/unprivileged_userns_clone`. None where it does not exist.
pub fn sysctl(name: &str) -> Option<i64> {
    proc_text(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

/// A file of the kernel's, which says nothing of its size: read at once, and not in growing pieces.
pub fn proc_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(1 << 10);
    std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(|_| text)
}

/// The identity of this boot.
pub fn boot_id() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || proc_text("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string();
    BOOT.get_or_init(read).clone()
}

/// A program of the host: where distributions put it first, then `$PATH`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let usual = Path::new("/usr/bin").join(name);
    if usual.is_file() {
        return Some(usual);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// True where cgroup v2 is mounted at all.
pub fn has_cgroup2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists() || Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_name_is_found_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("ann"));
        assert_eq!(name_of(7, passwd), None);
    }

    #[test]
    fn a_kernel_release_is_read_whatever_follows_it() {
        assert_eq!(parse_release("6.18.44-fc-v669"), (6, 18));
        assert_eq!(parse_release("6.1.0-13-amd64"), (6, 1));
        assert_eq!(parse_release("weird"), (0, 0));
    }
}
