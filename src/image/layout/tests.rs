use super::*;
use crate::oci::image::{CONFIG, LAYER_GZIP, MANIFEST, Platform};
use serde_json::{Value, json};
use std::fs;

/// A layout that a test fills.
struct Built(tempfile::TempDir);

impl Built {
    fn new() -> Built {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Built(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(Blobs(self.path()).path(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// An image of one layer whose only trait is `mark`.
    fn image(&self, mark: &str) -> Value {
        let config =
            json!({"architecture": "amd64", "os": "linux", "author": mark, "rootfs": {"diff_ids": [Digest::of(b"diff")]}});
        self.manifest(&config, &[self.blob(LAYER_GZIP, b"layer")])
    }

    fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        self.blob(MANIFEST, json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string().as_bytes())
    }

    fn write_index(&self, manifests: &[Value]) -> Index {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.path().join("index.json"), index.to_string()).unwrap();
        read_index(self.path()).unwrap()
    }

    fn resolve(&self, manifests: &[Value], tag: Option<&str>) -> Result<Image> {
        resolve(&Blobs(self.path()), &self.write_index(manifests), tag)
    }
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({ REF_NAME: name });
    descriptor
}

fn on(mut descriptor: Value, platform: &Platform) -> Value {
    descriptor["platform"] = json!(platform);
    descriptor
}

fn refused(result: Result<Image>) -> String {
    let failure = crate::error::Failure::from(&result.unwrap_err());
    format!("{} {}", failure.message, failure.hint.unwrap_or_default())
}

#[test]
fn a_tag_names_one_of_several_images() {
    let built = Built::new();
    let images = [named(built.image("one"), "1"), named(built.image("two"), "x/y:latest")];
    let author = |tag| built.resolve(&images, Some(tag)).unwrap().config.author.unwrap();
    assert_eq!((author("1"), author("x/y:latest"), author("x/y")), ("one".into(), "two".into(), "two".into()));
    assert!(refused(built.resolve(&images, Some("3"))).contains("no image \"3\" tags there: 1 x/y:latest"));
    assert!(refused(built.resolve(&images, None)).contains("several images add :TAG"));
    let same = [named(built.image("one"), "1"), named(built.image("one"), "latest")];
    assert_eq!(built.resolve(&same, None).unwrap().layers.len(), 1);
    assert!(refused(built.resolve(&[], None)).contains("no image for linux"));
}

#[test]
fn the_host_s_manifest_is_found_in_nested_indexes() {
    let built = Built::new();
    let other = Platform { architecture: "pdp11".into(), ..platform::host() };
    let inner =
        json!({"schemaVersion": 2, "manifests": [on(built.image("other"), &other), on(built.image("ours"), &platform::host())]});
    let index = |inner: &Value| built.blob("application/vnd.oci.image.index.v1+json", inner.to_string().as_bytes());
    let mut outer = index(&inner);
    assert_eq!(built.resolve(std::slice::from_ref(&outer), None).unwrap().config.author.unwrap(), "ours");
    for _ in 0..4 {
        outer = index(&json!({"schemaVersion": 2, "manifests": [outer]}));
    }
    assert!(refused(built.resolve(&[outer], None)).contains("indexes within indexes"));
    let only_other = [on(built.image("other"), &other)];
    assert!(refused(built.resolve(&only_other, None)).contains("there: linux/pdp11"));
}

#[test]
fn chain_ids_depend_on_everything_below() {
    let built = Built::new();
    let diffs = [Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c")];
    let layer = built.blob(LAYER_GZIP, b"layer");
    let config = json!({"os": "linux", "rootfs": {"diff_ids": diffs}});
    let image = built.resolve(&[built.manifest(&config, &[layer.clone(), layer.clone(), layer.clone()])], None).unwrap();
    assert_eq!(image.layers[0].chain_id, diffs[0]);
    let second = Digest::of(format!("{} {}", diffs[0], diffs[1]).as_bytes());
    assert_eq!(image.layers[2].chain_id, Digest::of(format!("{second} {}", diffs[2]).as_bytes()));
    let too_few = built.manifest(&config, &[layer]);
    assert!(refused(built.resolve(&[too_few], None)).contains("1 layers and the configuration 3"));
}

#[test]
fn documents_that_are_not_what_their_descriptors_say_are_refused() {
    let built = Built::new();
    let image = built.image("x");
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    let blob = Blobs(built.path()).path(&digest);
    let mut wrong_size = image.clone();
    wrong_size["size"] = json!(1);
    assert!(refused(built.resolve(&[wrong_size], None)).contains("bytes instead of 1"));
    let mut giant = image.clone();
    giant["size"] = json!(MAX_DOCUMENT + 1);
    assert!(refused(built.resolve(&[giant], None)).contains("larger than 4 MiB"));
    let changed = fs::read_to_string(&blob).unwrap().replace("2", "3");
    fs::write(&blob, changed).unwrap();
    assert!(refused(built.resolve(std::slice::from_ref(&image), None)).contains("corrupt"));
    fs::remove_file(&blob).unwrap();
    assert!(refused(built.resolve(std::slice::from_ref(&image), None)).contains("cannot open"));
    nix::unistd::mkfifo(&blob, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(built.resolve(&[image], None)).contains("not a file"));
}

#[test]
fn what_is_no_layout_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |dir: &Path| {
        let failure = crate::error::Failure::from(&read_index(dir).unwrap_err());
        (failure.message, failure.hint)
    };
    assert!(refused(&directory.path().join("missing")).0.contains("no directory"));
    assert_eq!(refused(directory.path()).1, None);
    fs::create_dir(directory.path().join("etc")).unwrap();
    assert_eq!(refused(directory.path()).1.unwrap(), format!("rootfs:{}", directory.path().display()));
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion": "2.0.0"}"#).unwrap();
    assert!(refused(directory.path()).0.contains("2.0.0"));
}

#[test]
fn images_for_other_systems_are_refused() {
    let built = Built::new();
    let windows = built.manifest(&json!({"os": "windows", "rootfs": {"diff_ids": []}}), &[]);
    assert!(refused(built.resolve(&[windows], None)).contains("windows"));
}
