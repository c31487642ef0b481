//! Which manifest of an index is for this host (image-index.md, `platform`).

use anyhow::{Context, Result, bail};

use crate::oci::image::{Descriptor, Platform};

/// This host, in the words of Go's GOOS and GOARCH, which image-spec uses.
pub fn host() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    Platform { architecture: architecture.into(), os: "linux".into(), variant: String::new() }
}

/// The best of `manifests` for `platform`: the plainest variant runs everywhere, and one that does not say comes last.
pub fn choose<'a>(manifests: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        None => true,
        Some(p) => p.os == platform.os && p.architecture == platform.architecture,
    };
    manifests.iter().filter(fits).min_by_key(|descriptor| match &descriptor.platform {
        Some(p) => rank(&p.variant, platform),
        None => u8::MAX,
    })
}

/// The same, or an error that says what there is.
pub fn choose_or_say<'a>(manifests: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor> {
    choose(manifests, platform).with_context(|| {
        let there: Vec<String> = manifests.iter().filter_map(|m| m.platform.as_ref()).map(text).collect();
        let there = if there.is_empty() { "none".into() } else { there.join(" ") };
        format!("no image for {} (there: {there})", text(platform))
    })
}

/// Reads `os/arch[/variant]`, in the words of Go and in those of uname(1).
pub fn parse(text: &str) -> Result<Platform> {
    let parts: Vec<&str> = text.split('/').collect();
    let word =
        |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(word) {
        bail!("{text:?} is not a platform: os/architecture[/variant]");
    }
    let (architecture, implied) = match parts[1] {
        "x86_64" | "x86-64" => ("amd64", ""),
        "i386" | "i686" | "x86" => ("386", ""),
        "aarch64" => ("arm64", ""),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        other => (other, ""),
    };
    let variant = parts.get(2).copied().unwrap_or(implied);
    Ok(Platform { architecture: architecture.into(), os: parts[0].into(), variant: variant.into() })
}

/// Lower is better. v1 is amd64's baseline and v8 arm64's.
fn rank(variant: &str, platform: &Platform) -> u8 {
    match variant {
        _ if variant == platform.variant => 0,
        "" => 1,
        "v1" if platform.architecture == "amd64" => 2,
        "v8" if platform.architecture == "arm64" => 2,
        other => 3 + other.bytes().last().unwrap_or(0).min(200),
    }
}

/// `linux/arm64/v8`, for messages.
pub fn text(platform: &Platform) -> String {
    let Platform { os, architecture, variant } = platform;
    [os, architecture, variant].iter().filter(|part| !part.is_empty()).map(|part| part.as_str()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Digest;

    fn for_platform(text: &str) -> Descriptor {
        let mut parts = text.split('/').map(str::to_string);
        let mut next = || parts.next().unwrap_or_default();
        let platform = (!text.is_empty()).then(|| Platform { os: next(), architecture: next(), variant: next() });
        Descriptor {
            media_type: String::new(),
            digest: Digest::of(text.as_bytes()),
            size: 0,
            platform,
            annotations: Default::default(),
        }
    }

    fn chosen(texts: &[&str]) -> Option<String> {
        let manifests: Vec<_> = texts.iter().map(|t| for_platform(t)).collect();
        let platform = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
        choose(&manifests, &platform).map(|d| d.platform.as_ref().map(self::text).unwrap_or_default())
    }

    #[test]
    fn the_host_s_platform_is_chosen_and_its_plainest_variant() {
        assert_eq!(chosen(&["linux/arm64/v8", "linux/amd64", "windows/amd64"]).unwrap(), "linux/amd64");
        assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]).unwrap(), "linux/amd64");
        assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64/v2"]).unwrap(), "linux/amd64/v2");
        assert_eq!(chosen(&["", "linux/amd64/v1"]).unwrap(), "linux/amd64/v1");
    }

    #[test]
    fn a_platform_is_read_in_go_s_words_and_uname_s() {
        for (given, read) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/armhf", "linux/arm/v7"),
        ] {
            assert_eq!(text(&parse(given).unwrap()), read);
        }
        for wrong in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/a b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn attestations_and_other_platforms_never_are() {
        assert_eq!(chosen(&["unknown/unknown", "linux/arm64"]), None);
        assert_eq!(chosen(&["", "linux/arm64"]).unwrap(), "");
    }
}
