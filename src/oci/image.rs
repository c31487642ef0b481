//! Image documents: index, manifest, configuration (OCI image-spec v1.1: image-index.md, manifest.md, descriptor.md, config.md;
//! Docker image manifest version 2, schema 2). Lenient where images in the wild are loose (null for empty, unknown fields),
//! strict where a loose reading could be made to mean two things.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

/// The largest index, manifest or configuration that is read (CVE-2020-1702).
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// `mediaType` of an OCI manifest, as written here.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `mediaType` of an OCI index, as written here.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `mediaType` of an OCI image configuration, as written here.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// `mediaType` of a plain, a gzip and a zstd layer, as written here.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Annotation that names a manifest in an image layout (annotations.md).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const INDEX_TYPES: [&str; 2] = [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST_TYPES: [&str; 2] = [MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG_TYPES: [&str; 2] = [CONFIG, "application/vnd.docker.container.image.v1+json"];
const LAYER_TYPES: [&str; 11] = [
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What a document or layer is found by (descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest in an index is for (image-index.md, `platform`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A list of manifests, one per platform or name (image-index.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

/// One image for one platform: a configuration and layers, bottom first (manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
}

/// What a manifest's digest may turn out to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// The members that tell documents apart; the rest is read only once it is known which it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads an index or a manifest. `media_type` is what its descriptor (or the registry) called it, or empty.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Document> {
        let outline: Outline = json(bytes).context("not a manifest")?;
        if outline.fs_layers.is_some() || outline.schema_version == Some(1) {
            bail!("a manifest of Docker's schema 1, which is obsolete: the image must be pushed again");
        }
        // The same bytes must never mean one image here and another elsewhere (CVE-2021-41190).
        if outline.manifests.is_some() && (outline.layers.is_some() || outline.config.is_some()) {
            bail!("a manifest that is an index as well is refused");
        }
        let is_index = outline.manifests.is_some();
        for told in [media_type, outline.media_type.as_str()] {
            let fits = told.is_empty() || if is_index { INDEX_TYPES } else { MANIFEST_TYPES }.contains(&told);
            if !fits {
                bail!("media type {told:?} does not fit what it names: {}", if is_index { "an index" } else { "a manifest" });
            }
        }
        if outline.schema_version != Some(2) {
            bail!("not a manifest: schemaVersion is not 2");
        }
        if is_index {
            return Ok(Document::Index(json(bytes).context("not an index")?));
        }
        let manifest: Manifest = json(bytes).context("not a manifest")?;
        manifest.check()?;
        Ok(Document::Manifest(manifest))
    }
}

impl Index {
    /// Reads the `index.json` of an image layout (image-layout.md).
    pub fn parse(bytes: &[u8]) -> Result<Index> {
        match Document::parse(bytes, "")? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => bail!("a manifest, not an index"),
        }
    }
}

impl Manifest {
    /// Refuses artifacts (charts, signatures, …) and layers that cannot be unpacked.
    fn check(&self) -> Result<()> {
        if !CONFIG_TYPES.contains(&self.config.media_type.as_str()) {
            bail!("not a container image: its configuration has media type {:?}", self.config.media_type);
        }
        match self.layers.iter().find(|layer| !LAYER_TYPES.contains(&layer.media_type.as_str())) {
            Some(layer) => bail!("layer {} has the unknown media type {:?}", layer.digest, layer.media_type),
            None => Ok(()),
        }
    }
}

/// The image configuration (config.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerConfig>,
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// Reads a configuration blob.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig> {
        json(bytes).context("not an image configuration")
    }
}

/// How a container of the image runs unless told otherwise (config.md, `config`; Docker adds Healthcheck and Shell).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "keys", serialize_with = "as_keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// Docker's health check; times in nanoseconds, 0 for the default (Docker image spec v1.2, `Healthcheck`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers by the digests of their uncompressed archives, bottom first (config.md, `rootfs`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// How one layer came about (config.md, `history`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        bail!("larger than {} MiB", MAX_DOCUMENT >> 20);
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Go writes null for an empty slice, map or pointer.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A set written as an object of empty objects.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|key| (key, serde_json::Map::new())))
}

/// A command line: a list, or one word as old builders wrote it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": 1})
    }

    fn manifest() -> Value {
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG), "layers": [descriptor(LAYER_GZIP)]})
    }

    fn parse(value: &Value) -> Result<Document> {
        Document::parse(value.to_string().as_bytes(), "")
    }

    #[test]
    fn a_manifest_and_an_index_are_told_apart_by_what_they_hold() {
        assert!(matches!(parse(&manifest()).unwrap(), Document::Manifest(m) if m.layers.len() == 1));
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST)]});
        assert!(matches!(parse(&index).unwrap(), Document::Index(i) if i.manifests.len() == 1));
        assert!(Index::parse(manifest().to_string().as_bytes()).is_err());
    }

    #[test]
    fn a_document_that_is_both_index_and_manifest_is_refused() {
        for extra in [json!([]), json!([descriptor(MANIFEST)])] {
            let mut both = manifest();
            both["manifests"] = extra;
            assert!(parse(&both).unwrap_err().to_string().contains("index as well"));
        }
        let told_otherwise = Document::parse(manifest().to_string().as_bytes(), INDEX_TYPES[0]);
        assert!(told_otherwise.unwrap_err().to_string().contains("does not fit"));
    }

    #[test]
    fn docker_media_types_are_as_good_as_oci_ones() {
        let mut docker = manifest();
        docker["mediaType"] = json!(MANIFEST_TYPES[1]);
        docker["config"] = descriptor(CONFIG_TYPES[1]);
        docker["layers"] = json!([descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")]);
        parse(&docker).unwrap();
    }

    #[test]
    fn charts_encrypted_layers_and_schema_1_are_refused() {
        let mut chart = manifest();
        chart["config"] = descriptor("application/vnd.cncf.helm.config.v1+json");
        assert!(parse(&chart).unwrap_err().to_string().contains("not a container image"));
        let mut encrypted = manifest();
        encrypted["layers"] = json!([descriptor(&format!("{LAYER_GZIP}+encrypted"))]);
        assert!(parse(&encrypted).unwrap_err().to_string().contains("unknown media type"));
        let old = json!({"schemaVersion": 1, "fsLayers": [], "name": "x"});
        assert!(parse(&old).unwrap_err().to_string().contains("schema 1"));
        let long = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "y".repeat(MAX_DOCUMENT as usize));
        assert!(Document::parse(long.as_bytes(), "").is_err());
    }

    #[test]
    fn nulls_and_unknown_members_of_a_configuration_are_nothing() {
        let text = json!({"architecture": "amd64", "os": "linux", "created": null, "author": null, "rootfs": {"type": "layers",
            "diff_ids": [Digest::of(b"x")]}, "history": null, "moby.buildkit.x": 1, "config": {"Env": null, "Cmd": null,
            "Entrypoint": "/bin/x", "Labels": null, "Volumes": {"/data": {}, "/null": null}, "ExposedPorts": null, "User": null,
            "OnBuild": null, "ArgsEscaped": true, "Healthcheck": {"Test": ["NONE"], "Interval": null}}});
        let config = ImageConfig::parse(text.to_string().as_bytes()).unwrap();
        let run = config.config.clone().unwrap();
        assert_eq!(run.entrypoint, ["/bin/x"]);
        assert_eq!(run.volumes.into_iter().collect::<Vec<_>>(), ["/data", "/null"]);
        assert!(run.env.is_empty() && run.cmd.is_empty() && run.user.is_empty());
        assert_eq!(run.healthcheck.unwrap().test, ["NONE"]);
        let again = ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert!(ImageConfig::parse(br#"{"config": null, "rootfs": null}"#).unwrap().config.is_none());
    }

    #[test]
    fn a_digest_that_would_leave_the_store_is_refused_with_its_document() {
        let mut bad = manifest();
        bad["layers"][0]["digest"] = json!("sha256:../../x");
        assert!(parse(&bad).is_err());
        bad = manifest();
        bad["layers"][0]["size"] = json!(-1);
        assert!(parse(&bad).is_err());
    }

    proptest! {
        #[test]
        fn no_input_makes_a_parser_panic(bytes: Vec<u8>, text in r#"[\[\]{}":,a-zA-Z0-9]{0,60}"#) {
            let _ = Document::parse(&bytes, "");
            let _ = Document::parse(text.as_bytes(), MANIFEST);
            let _ = ImageConfig::parse(text.as_bytes());
        }
    }
}
