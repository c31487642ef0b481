//! Containers across logout and reboot: what systemd does to them, and the unit by which it starts them again.
//!
//! ```text
//! ~/.config/systemd/user/rl-restart.service          there while a container of the store is to start at a boot
//! ~/.config/systemd/user/default.target.wants/…      the link that enables it
//! /run/user/UID/rl/logout-warned                     the caller was told that a logout ends containers
//! ```
//!
//! Root's lie in /etc/systemd/system, below multi-user.target. A store that is not the default one has a unit of its own. systemd is not
//! told of it (`daemon-reload`): it reads units and the links to them when it starts, which is what this one is for, and whoever starts it
//! by hand before that makes it read the file then.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::config::Config;
use super::record::{self, Record};
use crate::host::facts::Caller;
use crate::host::linger;
use crate::host::paths::Paths;
use crate::oci::digest::Digest;

/// Tells, once until the next logout, that it will end what is left running.
pub fn warn_of_logout(paths: &Paths, caller: &Caller) {
    const WARNED: &str = "logout-warned";
    if paths.runtime.join(WARNED).exists() || !linger::ends_at_logout(Path::new("/"), caller) {
        return;
    }
    if paths.first_time(WARNED) {
        eprintln!("rl: containers end some seconds after your last logout, as systemd has it (try: {})", linger::CURE);
    }
}

/// Whether a boot, or with it the first login, is to start it.
pub fn starts(record: &Record) -> bool {
    record.state.started_at.is_some() && record.config.restart.after_boot(record.state.stopped)
}

/// Has systemd start the store's containers at a boot, where this one asks for it. One that cannot be started then runs all the same.
pub fn enable(paths: &Paths, config: &Config) {
    if !config.restart.is_for_boots() {
        return;
    }
    if let Some(unit) = Unit::of(paths)
        && let Err(error) = unit.locked().and_then(|_lock| unit.write())
    {
        eprintln!("rl: nothing will start \"{}\" after a reboot: {error:#}", config.name);
    }
}

/// No longer, where this one had asked for it and no other does.
pub fn disable(paths: &Paths, config: &Config) {
    let Some(unit) = Unit::of(paths).filter(|unit| config.restart.is_for_boots() && unit.path().exists()) else { return };
    let removed = unit.locked().and_then(|_lock| {
        let records = record::list(paths)?;
        if !records.iter().any(|record| record.config.restart.is_for_boots()) { unit.remove() } else { Ok(()) }
    });
    if let Err(error) = removed {
        eprintln!("rl: {error:#}");
    }
}

/// The unit of one store.
struct Unit {
    /// Where units lie.
    directory: PathBuf,
    /// What pulls it in.
    target: &'static str,
    name: String,
    executable: PathBuf,
    store: PathBuf,
}

impl Unit {
    /// None where no systemd runs, or nobody is at home.
    fn of(paths: &Paths) -> Option<Unit> {
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let root = nix::unistd::geteuid().is_root();
        let directory = if root { "/etc/systemd/system".into() } else { std::env::home_dir()?.join(".config/systemd/user") };
        let target = if root { "multi-user.target" } else { "default.target" };
        let own = Paths::find(nix::unistd::geteuid().as_raw(), None).is_ok_and(|own| own.store == paths.store);
        let name = if own { "rl-restart.service".into() } else { name_for(&paths.store) };
        // An rl that was replaced since lies where it lay.
        let executable = std::env::current_exe().ok()?;
        let executable = executable.to_string_lossy().trim_end_matches(" (deleted)").into();
        Some(Unit { directory, target, name, executable, store: paths.store.clone() })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    fn link(&self) -> PathBuf {
        self.directory.join(format!("{}.wants", self.target)).join(&self.name)
    }

    /// Between the look at the containers and what follows from it nobody else may look.
    fn locked(&self) -> Result<File> {
        fs::create_dir_all(&self.directory).with_context(|| format!("cannot create {}", self.directory.display()))?;
        let directory = File::open(&self.directory).with_context(|| format!("cannot open {}", self.directory.display()))?;
        directory.lock().with_context(|| format!("cannot lock {}", self.directory.display()))?;
        Ok(directory)
    }

    fn write(&self) -> Result<()> {
        let (path, link, text) = (self.path(), self.link(), self.text());
        if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, text)
                .and_then(|()| fs::rename(&temporary, &path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let wants = link.parent().unwrap_or(&self.directory);
        match fs::create_dir_all(wants).and_then(|()| symlink(&path, &link)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot create {}", link.display()))
            }
            _ => Ok(()),
        }
    }

    /// The link first: alone it would be an error at the next boot.
    fn remove(&self) -> Result<()> {
        for path in [self.link(), self.path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        format!(
            "# Written by rl while a container is to start at a boot (--restart always or unless-stopped), and removed by it.\n\
             [Unit]\n\
             Description=Containers of rl that start at a boot\n\
             Documentation=man:rl-start(1)\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart={} --root {} start --all --filter should-start-on-boot=true\n\
             \n\
             [Install]\n\
             WantedBy={}\n",
            quoted(&self.executable.to_string_lossy()),
            quoted(&self.store.to_string_lossy()).replace('$', "$$"),
            self.target
        )
    }
}

fn name_for(store: &Path) -> String {
    let digest = Digest::of(store.as_os_str().as_encoded_bytes()).to_string();
    format!("rl-restart-{}.service", digest.rsplit(':').next().unwrap_or_default().get(..12).unwrap_or_default())
}

/// A word as systemd reads it: quoted where it must be, without specifiers (systemd.service(5), "Command lines").
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('%', "%%");
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(directory: &Path) -> Unit {
        Unit {
            directory: directory.join("systemd/user"),
            target: "default.target",
            name: "rl-restart.service".into(),
            executable: "/opt/my tools/rl".into(),
            store: "/srv/100%/$x".into(),
        }
    }

    #[test]
    fn the_unit_is_written_once_enabled_by_its_link_and_removed_whole() {
        let home = tempfile::tempdir().unwrap();
        let unit = unit(home.path());
        let _lock = unit.locked().unwrap();
        unit.write().unwrap();
        let written = fs::metadata(unit.path()).unwrap().modified().unwrap();
        unit.write().unwrap();
        assert_eq!(fs::metadata(unit.path()).unwrap().modified().unwrap(), written);
        assert_eq!(fs::read_link(home.path().join("systemd/user/default.target.wants/rl-restart.service")).unwrap(), unit.path());
        let text = fs::read_to_string(unit.path()).unwrap();
        let start = r#"ExecStart="/opt/my tools/rl" --root "/srv/100%%/$$x" start --all --filter should-start-on-boot=true"#;
        assert!(text.lines().any(|line| line == start), "{text}");
        // An older rl's is replaced.
        fs::write(unit.path(), "old").unwrap();
        unit.write().unwrap();
        assert_eq!(fs::read_to_string(unit.path()).unwrap(), text);
        unit.remove().unwrap();
        unit.remove().unwrap();
        assert!(!unit.path().exists() && unit.link().symlink_metadata().is_err());
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (word, wanted) in
            [("/usr/bin/rl", "/usr/bin/rl"), ("a b", r#""a b""#), ("", r#""""#), ("50%", r#""50%%""#), ("a\"\\", r#""a\"\\""#)]
        {
            assert_eq!(quoted(word), wanted);
        }
    }

    #[test]
    fn stores_have_names_of_their_own() {
        assert_ne!(name_for(Path::new("/a")), name_for(Path::new("/b")));
        assert_eq!(name_for(Path::new("/a")).len(), "rl-restart-.service".len() + 12);
    }
}
