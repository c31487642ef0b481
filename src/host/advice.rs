//! From a failure to the remedy: which switch of the host is in the way, and the one command that turns it.

use super::facts::{Caller, sysctl};

/// The AppArmor profile that lets `rl` create user namespaces on Ubuntu, as shipped in helpers/host.
pub const APPARMOR_PROFILE: &str = include_str!("../../helpers/host/apparmor-rl");

/// Why this host lets nobody create a user namespace, and the cure; None when it should.
pub fn user_namespaces_blocked() -> Option<String> {
    if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some(format!(
            "AppArmor restricts user namespaces here (kernel.apparmor_restrict_unprivileged_userns=1). Install the profile for rl:\n\
             sudo tee /etc/apparmor.d/rl >/dev/null <<'EOF'\n{APPARMOR_PROFILE}EOF\n\
             sudo apparmor_parser -r /etc/apparmor.d/rl"
        ));
    }
    if sysctl("kernel/unprivileged_userns_clone") == Some(0) {
        return Some("sudo sysctl -w kernel.unprivileged_userns_clone=1".into());
    }
    if sysctl("user/max_user_namespaces") == Some(0) {
        return Some("sudo sysctl -w user.max_user_namespaces=15000".into());
    }
    None
}

/// The line for a caller without subordinate ids.
pub fn add_ranges(caller: &Caller) -> String {
    let name = caller.label();
    format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}")
}

/// The line for a host without newuidmap and newgidmap.
pub fn install_uidmap() -> &'static str {
    "sudo apt install uidmap   (Debian, Ubuntu; elsewhere the package is called shadow-utils or shadow-uidmap)"
}
