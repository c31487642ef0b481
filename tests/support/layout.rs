//! OCI layouts written byte by byte, so that an image can be hostile or broken on purpose.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A layer, entry by entry, as ustar. Names and links are taken as they are: `..`, absolute, empty.
#[derive(Default)]
pub struct TarBuilder(Vec<u8>);

impl TarBuilder {
    pub fn new() -> TarBuilder {
        TarBuilder::default()
    }

    /// One entry; `kind` is the tar type flag: b'0' file, b'1' hard link, b'2' symlink, b'3' character device, b'5' directory,
    /// b'6' FIFO, b'x' PAX header.
    pub fn entry(mut self, kind: u8, name: &str, mode: u32, (uid, gid): (u32, u32), link: &str, data: &[u8]) -> TarBuilder {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(name.len() <= 100 && link.len() <= 100, "use a PAX header for a long name");
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, format!("{uid:07o}\0").as_bytes());
        put(116, format!("{gid:07o}\0").as_bytes());
        put(124, format!("{:011o}\0", data.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        // Major 1, minor 3: /dev/null, for those that are devices.
        put(329, b"0000001\x000000003\0");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, data: impl AsRef<[u8]>) -> TarBuilder {
        self.entry(b'0', name, 0o755, (0, 0), "", data.as_ref())
    }

    pub fn dir(self, name: &str) -> TarBuilder {
        self.entry(b'5', name, 0o755, (0, 0), "", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> TarBuilder {
        self.entry(b'2', name, 0o777, (0, 0), target, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> TarBuilder {
        self.entry(b'1', name, 0o644, (0, 0), target, b"")
    }

    /// The next entry's PAX records, such as ("path", "a/long/name") or ("SCHILY.xattr.user.x", "y").
    pub fn pax(self, records: &[(&str, &str)]) -> TarBuilder {
        let record = |(key, value): &(&str, &str)| {
            let bare = key.len() + value.len() + 3;
            // The length counts its own digits.
            let len = (bare + 1..).find(|n| n.to_string().len() + bare == *n).expect("a length");
            format!("{len} {key}={value}\n")
        };
        let data: String = records.iter().map(record).collect();
        self.entry(b'x', "pax", 0o644, (0, 0), "", data.as_bytes())
    }

    /// With the two zero blocks that end an archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// An image layout in a directory of the test's. The documents are plain JSON values until `write`, free to be spoilt.
pub struct Layout {
    dir: PathBuf,
    pub config: Value,
    pub manifest: Value,
}

impl Layout {
    pub fn new(dir: impl Into<PathBuf>) -> Layout {
        let dir = dir.into();
        fs::create_dir_all(dir.join("blobs/sha256")).expect("create the layout");
        Layout {
            dir,
            config: json!({"architecture": arch(), "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}),
            manifest: json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}),
        }
    }

    /// One that begins with the layers of another layout's only image; its configuration is not taken over.
    pub fn on(base: &Path, dir: impl Into<PathBuf>) -> Layout {
        let mut layout = Layout::new(dir);
        let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
        let blob = |dir: &Path, descriptor: &Value| {
            let hex = descriptor["digest"].as_str().and_then(|d| d.strip_prefix("sha256:")).expect("a digest");
            dir.join("blobs/sha256").join(hex)
        };
        let manifest = json(blob(base, &json(base.join("index.json"))["manifests"][0]));
        layout.config["rootfs"] = json(blob(base, &manifest["config"]))["rootfs"].clone();
        for layer in manifest["layers"].as_array().expect("layers") {
            fs::copy(blob(base, layer), blob(&layout.dir, layer)).expect("copy a layer");
        }
        layout.manifest["layers"] = manifest["layers"].clone();
        layout
    }

    /// Writes a blob; returns its descriptor.
    pub fn blob(&self, kind: &str, data: &[u8]) -> Value {
        let hex = format!("{:x}", Sha256::digest(data));
        fs::write(self.dir.join("blobs/sha256").join(&hex), data).expect("write a blob");
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{hex}"), "size": data.len()})
    }

    /// Adds an uncompressed layer.
    pub fn layer(mut self, tar: &[u8]) -> Layout {
        let descriptor = self.blob("layer.v1.tar", tar);
        push(&mut self.config["rootfs"]["diff_ids"], descriptor["digest"].clone());
        push(&mut self.manifest["layers"], descriptor);
        self
    }

    /// The `config` object of the image's configuration: Cmd, Env, User and so on.
    pub fn config(mut self, config: Value) -> Layout {
        self.config["config"] = config;
        self
    }

    /// Writes what remains, under the tag `latest`; returns the reference.
    pub fn write(mut self) -> String {
        self.manifest["config"] = self.blob("config.v1+json", self.config.to_string().as_bytes());
        let mut manifest = self.blob("manifest.v1+json", self.manifest.to_string().as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        self.document("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
        self.document("index.json", &json!({"schemaVersion": 2, "manifests": [manifest]}));
        format!("oci:{}:latest", self.dir.display())
    }

    fn document(&self, name: &str, value: &Value) {
        fs::write(self.dir.join(name), value.to_string()).expect("write a document");
    }
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().expect("a list").push(value);
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
