//! Names of images in registries, exactly as Docker reads them (distribution's reference grammar and its normalization).
//!
//! ```text
//! reference  := [ registry "/" ] repository [ ":" tag ] [ "@" digest ]
//! registry   := host [ ":" port ]      only with a '.', a ':' or an upper-case letter in it, or exactly `localhost`
//! host       := component { "." component } | "[" IPv6 address "]"      component: letters, digits, '-' within
//! repository := part { "/" part }      part: runs of a-z and 0-9 with '.', '_', '__' or any number of '-' between two
//! tag        := a letter, digit or '_', then up to 127 of these, '.' and '-'
//! ```
//!
//! None of the parts can be empty, `.`, `..` or begin with a `.` or a `-`: they are safe as file names.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::error::Advise;
use crate::oci::digest::Digest;

/// The registry of names without one, and what it puts its own images under.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ONCE: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

const MAX_REGISTRY: usize = 255;
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// An image in a registry. It has a tag, a digest or both; then the digest decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository's image with this digest, whatever its tags are.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as Docker shows it: `alpine`, `ann/tool`, `ghcr.io/a/b`.
    pub fn familiar_name(&self) -> String {
        let full = self.name();
        if self.registry != DOCKER_HUB {
            return full;
        }
        let short = match self.repository.strip_prefix(OFFICIAL) {
            Some(official) if !official.contains('/') => official,
            _ => &self.repository,
        };
        // `docker.io/quay.io/x` is no short name: it would be read as another registry's.
        let reads_back = split_name(short).is_ok_and(|(registry, path)| registry == self.registry && path == self.repository);
        if reads_back { short.to_string() } else { full }
    }

    /// As Docker shows it: `alpine:latest`.
    pub fn familiar(&self) -> String {
        self.after(self.familiar_name())
    }

    fn after(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

impl fmt::Display for Reference {
    /// Whole: `docker.io/library/alpine:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.after(self.name()))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        // From a file or a person: what is printed of a bad one is bounded and escaped.
        let shown = || format!("bad image name {:?}", text.chars().take(300).collect::<String>());
        parse(text)
            .with_context(shown)
            .hint(|| "[REGISTRY/]NAME[:TAG][@sha256:DIGEST], such as alpine, debian:13 or ghcr.io/ann/tool:1.2")
    }
}

fn parse(text: &str) -> Result<Reference> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
        None => (text, None),
    };
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    // `localhost:5000` alone is an image `localhost` with the tag 5000, as with Docker.
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    let (registry, repository) = split_name(name)?;
    check_registry(&registry)?;
    check_repository(&repository)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None });
    Ok(Reference { registry, repository, tag: tag.map(String::from), digest })
}

/// Registry and repository of a name that may leave the registry out.
fn split_name(name: &str) -> Result<(String, String)> {
    if name.is_empty() {
        bail!("it is empty");
    }
    // Docker keeps these for its image ids.
    if name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        bail!("64 hexadecimal digits are an image's id and not a name");
    }
    let is_registry =
        |first: &str| first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase());
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    let registry = if registry == DOCKER_HUB_ONCE { DOCKER_HUB } else { registry };
    let official = registry == DOCKER_HUB && !repository.contains('/');
    Ok((registry.to_string(), if official { format!("{OFFICIAL}{repository}") } else { repository.to_string() }))
}

fn check_registry(registry: &str) -> Result<()> {
    let (host, port) = match registry.rsplit_once(':') {
        // The last colon of `[::1]` is part of the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if let Some(port) = port
        && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().unwrap_or(0) == 0)
    {
        bail!("{port:?} is not a port");
    }
    let component = |part: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    let fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(component),
    };
    if !fits || registry.len() > MAX_REGISTRY {
        bail!("{registry:?} is not a registry's host name or address");
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<()> {
    if let Some(upper) = repository.chars().find(|c| c.is_uppercase()) {
        return Err(anyhow!("a repository's name is in lower case, and this has {upper:?}"));
    }
    if repository.len() > MAX_REPOSITORY {
        bail!("its repository is longer than {MAX_REPOSITORY} characters");
    }
    match repository.split('/').find(|part| !is_part(part)) {
        Some("") => bail!("there is an empty part beside a '/'"),
        Some(part) => {
            bail!("{part:?} is not a part of a repository's name: a-z and 0-9, with '.', '_', '__' or '-' between them")
        }
        None => Ok(()),
    }
}

/// Runs of letters and digits, one separator between two of them.
fn is_part(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(alphanumeric).filter(|separator| !separator.is_empty());
    let fits = |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
    part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && separators.into_iter().all(fits)
}

fn check_tag(tag: &str) -> Result<()> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if !fits || tag.len() > MAX_TAG {
        bail!("{tag:?} is not a tag: up to {MAX_TAG} letters, digits, '_', '.' and '-'");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error:#}"))
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{HEX}");
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.23", "docker.io/library/alpine:3.23", "alpine:3.23"),
            ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("ann/tool:v1", "docker.io/ann/tool:v1", "ann/tool:v1"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/quay.io/x", "docker.io/quay.io/x:latest", "docker.io/quay.io/x:latest"),
            ("ghcr.io/a/b:tag", "ghcr.io/a/b:tag", "ghcr.io/a/b:tag"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("[::1]/x", "[::1]/x:latest", "[::1]/x:latest"),
            ("HOST/x", "HOST/x:latest", "HOST/x:latest"),
            ("host:1/a", "host:1/a:latest", "host:1/a:latest"),
            ("a__b/c---d/e.f_g", "docker.io/a__b/c---d/e.f_g:latest", "a__b/c---d/e.f_g:latest"),
        ];
        for (text, whole, familiar) in cases {
            assert_eq!(read(text).to_string(), whole);
            assert_eq!(read(text).familiar(), familiar);
        }
        let pinned = read(&format!("host:5000/a/b@{digest}"));
        assert_eq!((pinned.tag(), pinned.digest().unwrap().to_string()), (None, digest.clone()));
        assert_eq!(read(&format!("alpine:3@{digest}")).to_string(), format!("docker.io/library/alpine:3@{digest}"));
        assert_eq!(read("alpine:3").with_digest(digest.parse().unwrap()).familiar(), format!("alpine@{digest}"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        let cases = [
            ("", "empty"),
            (HEX, "image's id"),
            ("Alpine", "lower case"),
            ("ann/Tool", "lower case"),
            ("host.io/", "empty part"),
            ("/x", "empty part"),
            ("a//b", "empty part"),
            ("a/../b", "\"..\""),
            ("-x", "\"-x\""),
            ("a._b", "\"a._b\""),
            ("a___b", "\"a___b\""),
            ("alpine:", "not a tag"),
            ("alpine:.x", "not a tag"),
            ("alpine:a:b", "not a tag"),
            ("alpine@sha256:abc", "not 64"),
            ("alpine@sha256:../../x", "not 64"),
            ("alpine@md5:abc", "algorithm"),
            ("alpine@", "not a digest"),
            ("ho_st.io/x", "host name"),
            ("-a.io/x", "host name"),
            ("a..b/x", "host name"),
            ("[::g]/x", "host name"),
            ("host:0/x", "not a port"),
            ("host:99999/x", "not a port"),
            ("host:+1/x", "not a port"),
            ("https://host/x", "not a port"),
            ("al pine", "\"al pine\""),
            ("é", "\"é\""),
        ];
        for (text, reason) in cases {
            let error = text.parse::<Reference>().expect_err(text);
            let message = crate::error::Failure::from(&error).message;
            assert!(message.contains(reason), "{text}: {message}");
        }
        assert!("a".repeat(249).parse::<Reference>().is_err(), "with library/ it is longer than 255");
        assert!(format!("alpine:{}", "a".repeat(129)).parse::<Reference>().is_err());
        assert!(format!("alpine:{}", "a".repeat(128)).parse::<Reference>().is_ok());
    }

    proptest! {
        #[test]
        fn both_forms_of_a_reference_read_back(text in "([a-zA-Z.:0-9-]{1,8}/)?[a-z0-9._/-]{1,12}(:[a-zA-Z0-9_.-]{1,5})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&read(&reference.to_string()), &reference);
                prop_assert_eq!(&read(&reference.familiar()), &reference);
            }
        }

        #[test]
        fn no_part_is_unsafe_as_a_file_name(text in "\\PC{0,24}|[a-z./:@-]{0,12}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let parts = reference.repository().split('/').chain([reference.registry()]).chain(reference.tag());
                for part in parts {
                    prop_assert!(!part.is_empty() && !part.starts_with('.') && !part.starts_with('-'));
                    prop_assert!(!part.contains(['/', '\0']) && part.len() <= 255);
                }
            }
        }
    }
}
