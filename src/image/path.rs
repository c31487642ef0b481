//! Names of archive entries: made relative, and never leading out.

use anyhow::{Result, bail};

use super::limits;

/// `a/b/c` of `./a//b/./c/` or `/a/b/c`; empty for the root itself. Refuses `..`: no honest archiver writes it.
pub fn normal(raw: &[u8]) -> Result<Vec<u8>> {
    if raw.contains(&0) {
        bail!("a name with a NUL byte");
    }
    let parts: Vec<&[u8]> = raw.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        bail!("leads out of the image with '..': refused");
    }
    if parts.len() > limits::DEPTH {
        bail!("deeper than {} directories: refused", limits::DEPTH);
    }
    let path = parts.join(&b'/');
    if path.len() > limits::PATH {
        bail!("longer than {} bytes: refused", limits::PATH);
    }
    Ok(path)
}

/// Parent and last name of a normal path; None for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// The names of a normal path.
pub fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}

/// `name` in the directory `parent`.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, name].join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_relative() {
        for (raw, expected) in
            [("./", ""), ("/", ""), ("./a//b/./c/", "a/b/c"), ("/etc/passwd", "etc/passwd"), ("..a/b..", "..a/b..")]
        {
            assert_eq!(normal(raw.as_bytes()).unwrap(), expected.as_bytes());
        }
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b""), None);
        assert_eq!(join(b"", b"a"), b"a");
    }

    #[test]
    fn what_leads_out_or_is_absurd_is_refused() {
        for raw in ["..", "../x", "a/../b", "/..", "a/.."] {
            assert!(normal(raw.as_bytes()).is_err(), "{raw}");
        }
        assert!(normal(b"a\0b").is_err());
        assert!(normal("a/".repeat(limits::DEPTH + 1).as_bytes()).is_err());
        assert!(normal("a".repeat(limits::PATH + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn a_normal_path_is_relative_clean_and_stays_the_same(raw in "[a./]{0,12}|\\PC{0,20}") {
            if let Ok(path) = normal(raw.as_bytes()) {
                prop_assert_eq!(normal(&path).unwrap(), path.clone());
                prop_assert!(!path.starts_with(b"/") && !path.ends_with(b"/"));
                prop_assert!(names(&path).all(|name| name != b".." && name != b"."));
                if let Some((parent, name)) = split(&path) {
                    prop_assert_eq!(join(parent, name), path.clone());
                }
            }
        }
    }
}
