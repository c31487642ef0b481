//! Where an image comes from, as written on the command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::Reference;
use crate::oci::digest::Digest;

/// An image by transport (containers-transports(5)). The path ends at the first `:`, as with skopeo and podman.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `oci:DIR[:TAG]`: an image layout, read where it lies (image-layout.md).
    Oci { dir: PathBuf, tag: Option<String> },
    /// `oci-archive:FILE[:TAG]`: an image layout in a tar archive.
    OciArchive { file: PathBuf, tag: Option<String> },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive { file: PathBuf, reference: Option<String> },
    /// A name without a transport, or `docker://NAME`: from a registry, kept in the store. A short one may be the beginning of an id.
    Registry(Reference),
    /// 64 hexadecimal digits, perhaps after `sha256:`: an image in the store by its id.
    Id(Digest),
    /// `rootfs:DIR`: no image but a directory, which is never written.
    Rootfs(PathBuf),
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Source> {
        let parts = text.split_once(':');
        let source = match parts {
            Some(("rootfs", path)) => Source::Rootfs(present(path, text)?.into()),
            Some(("oci", rest)) => {
                let (dir, tag) = path_and_name(rest, text)?;
                Source::Oci { dir, tag }
            }
            Some(("oci-archive", rest)) => {
                let (file, tag) = path_and_name(rest, text)?;
                Source::OciArchive { file, tag }
            }
            Some(("docker-archive", rest)) => {
                let (file, reference) = path_and_name(rest, text)?;
                Source::DockerArchive { file, reference }
            }
            Some(("docker", name)) if name.starts_with("//") => Source::Registry(name[2..].parse()?),
            _ => match id(text) {
                Some(id) => Source::Id(id),
                None => Source::Registry(text.parse()?),
            },
        };
        Ok(source)
    }
}

fn id(text: &str) -> Option<Digest> {
    format!("sha256:{}", text.strip_prefix("sha256:").unwrap_or(text)).parse().ok()
}

fn present<'a>(part: &'a str, whole: &str) -> Result<&'a str> {
    if part.is_empty() || part.contains('\0') {
        bail!("cannot read image name {whole:?}: it names no path");
    }
    Ok(part)
}

fn path_and_name(rest: &str, whole: &str) -> Result<(PathBuf, Option<String>)> {
    let (path, name) = match rest.split_once(':') {
        Some((_, "")) => bail!("cannot read image name {whole:?}: nothing follows the last ':'"),
        Some((path, name)) => (path, Some(name.to_string())),
        None => (rest, None),
    };
    Ok((present(path, whole)?.into(), name))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Source::Oci { dir, tag } => ("oci", dir, tag.as_deref()),
            Source::OciArchive { file, tag } => ("oci-archive", file, tag.as_deref()),
            Source::DockerArchive { file, reference } => ("docker-archive", file, reference.as_deref()),
            Source::Rootfs(dir) => ("rootfs", dir, None),
            Source::Registry(reference) => return f.write_str(&reference.familiar()),
            Source::Id(id) => return f.write_str(&id.to_string()),
        };
        write!(f, "{transport}:{}", path.display())?;
        name.map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_transport_is_read() {
        let read = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(read("oci:/a/b"), Source::Oci { dir: "/a/b".into(), tag: None });
        assert_eq!(read("oci:alpine:3.23"), Source::Oci { dir: "alpine".into(), tag: Some("3.23".into()) });
        assert_eq!(read("oci-archive:x.tar"), Source::OciArchive { file: "x.tar".into(), tag: None });
        let reference = Some("localhost:5000/a/b:1".to_string());
        assert_eq!(read("docker-archive:x.tar:localhost:5000/a/b:1"), Source::DockerArchive { file: "x.tar".into(), reference });
        assert_eq!(read("rootfs:/"), Source::Rootfs("/".into()));
        assert_eq!(read("rootfs:a:b"), Source::Rootfs("a:b".into()));
        for text in ["alpine", "docker://alpine", "docker.io/library/alpine:latest"] {
            assert_eq!(read(text), Source::Registry("alpine".parse().unwrap()));
            assert_eq!(read(text).to_string(), "alpine:latest");
        }
        assert_eq!(read("ftp:x").to_string(), "ftp:x");
    }

    #[test]
    fn an_id_is_no_name() {
        let id = "0".repeat(64);
        for text in [id.clone(), format!("sha256:{id}")] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), format!("sha256:{id}"));
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "oci:", "oci::tag", "oci:dir:", "rootfs:", "docker://", "docker:///x", "OCI:x", "ftp://x"] {
            assert!(text.parse::<Source>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_source_prints_as_it_was_written(text in "(oci|oci-archive|docker-archive|rootfs):[a-z/.:]{0,20}") {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string(), text);
            }
        }
    }
}
