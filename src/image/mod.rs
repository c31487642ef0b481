//! Images: from a name to a configuration and unpacked layers.
//!
//! ```text
//! source.rs    what the user wrote                             reference.rs  names in registries
//! layout.rs    index → manifest → configuration, verified          platform.rs  the one for this host
//! archive.rs   archives → blobs in the store, once
//! stream.rs    a blob, hashed and inflated                         tar/         its entries
//! unpack/      layers → directories, by a Worker                   path.rs      names in them
//! store.rs     all of it on disk                                   limits.rs    how much is too much
//! refs.rs      which name is which image                           index.rs     the same for other tools
//! local.rs     an image with all its names                         delete.rs    what `rl rmi` takes away
//! gc.rs        what goes when nothing needs it                     check.rs     whether it is what it says
//! ```

mod archive;
pub mod check;
pub mod delete;
mod download;
pub mod gc;
mod index;
mod layout;
mod limits;
pub mod local;
pub mod path;
mod platform;
mod progress;
pub mod pull;
mod reference;
mod refs;
mod registry;
mod source;
pub mod store;
mod stream;
pub mod tar;
mod unpack;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub use self::platform::host as host_platform;
pub use self::reference::Reference;
pub use self::refs::{Named, Target};
pub use self::source::Source;
pub use self::store::{Hold, Store};
pub use self::unpack::erase_removed;
use crate::oci::digest::Digest;
use crate::oci::image::{Descriptor, ImageConfig, Platform};

/// An image that is at hand: its documents read and verified, its layers perhaps not unpacked yet.
#[derive(Debug, Clone)]
pub struct Image {
    pub manifest: Digest,
    /// The digest of the configuration, which Docker calls the image's id.
    pub id: Digest,
    pub config: ImageConfig,
    /// Bottom first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Whether it says that it is for this platform. A variant is asked for only where one is named.
    pub fn is_for(&self, platform: &Platform) -> bool {
        let ImageConfig { os, architecture, variant, .. } = &self.config;
        (os, architecture) == (&platform.os, &platform.architecture) && [variant, ""].contains(&platform.variant.as_str())
    }
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// What names this layer on top of exactly those below it (config.md, "Layer ChainID").
    pub chain_id: Digest,
    pub descriptor: Descriptor,
    blob: PathBuf,
}

/// Reads an image's documents. Archives are taken into the store the first time.
pub fn open(store: &Store, source: &Source) -> Result<Image> {
    let image = match source {
        Source::Oci { dir, tag } => {
            layout::read_index(dir).and_then(|index| layout::resolve(&layout::Blobs(dir), &index, tag.as_deref()))
        }
        Source::OciArchive { file, tag } => archive::open(store, file, archive::Format::Oci, tag.as_deref()),
        Source::DockerArchive { file, reference } => archive::open(store, file, archive::Format::Docker, reference.as_deref()),
        Source::Registry(reference) => open_target(store, store.target(reference)),
        Source::Id(id) => open_target(store, store.target_of_id(id.hex())),
        Source::Rootfs(dir) => bail!("{} is a directory, not an image", dir.display()),
    };
    image.with_context(|| format!("cannot open image \"{source}\""))
}

fn open_target(store: &Store, target: Result<Target>) -> Result<Image> {
    layout::open(&layout::Blobs(store.root()), &target?.manifest)
}
