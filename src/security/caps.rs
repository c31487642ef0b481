//! Capability names and the sets a payload starts with (capabilities(7)).

use anyhow::{Result, bail};

/// Names by number, without the `CAP_` prefix.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Podman's eleven.
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The set that Docker's flags ask for: the default (or all, when privileged), less `drop`, plus `add`; `ALL` in either.
/// Names in any case, with or without `CAP_`. Returns full names in the order of their numbers.
pub fn wanted(privileged: bool, add: &[String], drop: &[String]) -> Result<Vec<String>> {
    let mut set = if privileged { every() } else { names_to_bits(&DEFAULT.map(String::from))? };
    let all = |names: &[String]| names.iter().any(|n| n.eq_ignore_ascii_case("all"));
    let named =
        |names: &[String]| names_to_bits(&names.iter().filter(|n| !n.eq_ignore_ascii_case("all")).cloned().collect::<Vec<_>>());
    if all(drop) {
        set = 0;
    }
    if all(add) {
        set = every();
    }
    set = (set & !named(drop)?) | named(add)?;
    Ok((0..NAMES.len()).filter(|n| set & (1 << n) != 0).map(|n| format!("CAP_{}", NAMES[n])).collect())
}

/// Names to a set of bits: bit n is capability n.
pub fn names_to_bits(names: &[String]) -> Result<u64> {
    let mut bits = 0;
    for name in names {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| *known == short) {
            Some(number) => bits |= 1 << number,
            None => bail!("unknown capability \"{name}\""),
        }
    }
    Ok(bits)
}

fn every() -> u64 {
    (1 << NAMES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(privileged: bool, add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        wanted(privileged, &own(add), &own(drop)).unwrap()
    }

    #[test]
    fn the_default_is_podmans_eleven() {
        let bits = names_to_bits(&set(false, &[], &[])).unwrap();
        assert_eq!(bits, 0x8004_05fb);
    }

    #[test]
    fn all_is_a_word_in_both_lists_and_names_come_in_any_spelling() {
        assert_eq!(set(false, &["net_raw"], &["ALL"]), ["CAP_NET_RAW"]);
        assert_eq!(set(false, &["all"], &["CAP_SYS_ADMIN"]).len(), 40);
        assert_eq!(set(true, &[], &[]).len(), 41);
        assert!(!set(false, &[], &["kill"]).contains(&"CAP_KILL".to_string()));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(wanted(false, &["NET_ROW".into()], &[]).is_err());
    }
}
