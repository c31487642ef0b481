//! Whether systemd ends all that a user has running some seconds after that user's last logout (loginctl(1), `enable-linger`).

use std::path::Path;

use super::facts::Caller;

/// The command that cures it; the user's own to give.
pub const CURE: &str = "loginctl enable-linger";

/// True where there is a systemd session that does not linger. `root`: of the host's file system. Root's own containers belong to no
/// session.
pub fn ends_at_logout(root: &Path, caller: &Caller) -> bool {
    let Some(name) = caller.name.as_deref().filter(|_| caller.uid != 0) else { return false };
    root.join(format!("run/user/{}/systemd", caller.uid)).is_dir() && !root.join("var/lib/systemd/linger").join(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_without_linger_ends_with_its_user() {
        let host = tempfile::tempdir().unwrap();
        let ann = Caller { uid: 1000, gid: 1000, name: Some("ann".into()) };
        let ends = |caller: &Caller| ends_at_logout(host.path(), caller);
        assert!(!ends(&ann), "no systemd");
        for dir in ["run/user/1000/systemd", "run/user/0/systemd", "var/lib/systemd/linger"] {
            std::fs::create_dir_all(host.path().join(dir)).unwrap();
        }
        assert!(ends(&ann));
        assert!(!ends(&Caller { uid: 0, gid: 0, name: Some("root".into()) }));
        assert!(!ends(&Caller { uid: 1001, gid: 1001, name: Some("bob".into()) }));
        std::fs::write(host.path().join("var/lib/systemd/linger/ann"), "").unwrap();
        assert!(!ends(&ann));
    }
}
