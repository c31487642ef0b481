//! From a registry into the store: manifest, configuration and layers, each layer unpacked as soon as its blob is there.
//!
//! ```text
//! Client                                   Puller
//!   |--- (fork) --------------------------->|     finds the manifest, leases it, stores it and the configuration
//!   |<-- PullerFound ----------------------|
//!   |                                      |     four threads, one blob each: downloading, hashing, syncing
//!   |<-- PullerStored ---------------------|     a blob, in any order
//!   |--- ClientUnpacking, ClientUnpacked -->|     a layer, for the display
//!   |<-- PullerFailed ---------------------|     or why not
//!   |--- EOF ----------------------------->|     the reference is written, or the Client is dead: it leaves
//! ```
//!
//! Two processes, because whoever clones Workers must have one thread: Client has, and unpacks; Puller never clones, and has as many as
//! it likes. Puller owns the network, the progress on stderr and the lease (store.rs, "Locks"). Namespaces: the host's, all of them.
//! It dies with Client. Nothing has to be undone when either is killed: what was begun is gone on with by the next pull (download.rs).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::download::{self, Came};
use super::layout::{self, Blobs};
use super::progress::{Display, Stage};
use super::refs::{self, Target};
use super::registry::{Fetched, Repository};
use super::store::Scratch;
use super::{Image, Layer, Reference, Store, platform};
use crate::error::{Advise, Failure};
use crate::host::config::Config;
use crate::oci::digest::Digest;
use crate::oci::image::{Descriptor, Document, Manifest, Platform};
use crate::role::Role;
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Child, Fork};
use crate::sys::sock;
use crate::userns::shared::Userns;

/// Blobs that are downloaded at a time.
const DOWNLOADS: usize = 4;
/// Longest message: an image's descriptors with their annotations, or a failure.
const LONGEST: usize = 64 << 10;

/// What to pull, and how.
pub struct Order<'a> {
    pub reference: &'a Reference,
    pub config: &'a Config,
    /// None: this host's.
    pub platform: Option<&'a Platform>,
    pub quiet: bool,
}

/// What a pull came to.
pub struct Pulled {
    pub target: Target,
    /// The reference led elsewhere before, or nowhere.
    pub is_new: bool,
    /// What had to be left out of the layers.
    pub warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // sender + milestone
enum FromPuller {
    /// The manifest and the configuration are in the store, and leased.
    PullerFound(Box<Target>),
    PullerStored(Digest),
    PullerFailed(Failure),
}

#[derive(Serialize, Deserialize)]
enum FromClient {
    ClientUnpacking(Digest),
    ClientUnpacked(Digest),
}

/// Pulls an image and unpacks it with `userns`, whose lock is let go of meanwhile. The caller must not hold the store.
pub fn pull(store: &Store, order: &Order, userns: &mut Userns, kept: Option<(u32, u32)>) -> Result<Pulled> {
    let named = || format!("cannot pull \"{}\"", order.reference.familiar());
    userns.share()?;
    let mut puller = Puller::start(store, order).with_context(named)?;
    let target = puller.found().with_context(named)?;
    milestone("pull-found");
    let image = open(store, &target).with_context(named)?;
    let warnings =
        image.unpack_while(store, &userns.for_layers(kept)?, &mut |layer, done| puller.step(layer, done)).with_context(named)?;
    // Of an unpacked layer the blob may still be on its way.
    image.layers.iter().try_for_each(|layer| puller.wait_for(&layer.descriptor.digest)).with_context(named)?;
    milestone("pull-unpacked");
    // A damaged one is written anew, as one that leads elsewhere.
    let before = store.reference(order.reference).unwrap_or_default();
    let is_new = before.is_none_or(|before| before.manifest.digest != target.manifest.digest);
    store.set_reference(order.reference, &target).with_context(named)?;
    milestone("pull-named");
    drop(puller);
    Ok(Pulled { target, is_new, warnings })
}

impl Pulled {
    /// What Docker says at the end.
    pub fn summary(&self, reference: &Reference) -> [String; 2] {
        let status = if self.is_new { "Downloaded newer image for" } else { "Image is up to date for" };
        [format!("Digest: {}", self.target.registry_digest()), format!("Status: {status} {}", reference.familiar())]
    }
}

/// The reference that a short name stands for where the configuration has an alias for it. A tag goes over to what it stands for.
pub fn aliased(reference: &Reference, config: &Config) -> Result<Reference> {
    let name = reference.familiar_name();
    let Some(alias) = config.alias(&name) else { return Ok(reference.clone()) };
    let target: Reference = alias.parse().with_context(|| format!("alias {name:?} in config.toml"))?;
    match (reference.tag(), reference.digest()) {
        (_, Some(digest)) => Ok(target.with_digest(digest.clone())),
        (Some("latest") | None, None) => Ok(target),
        (Some(tag), None) => format!("{}:{tag}", target.name()).parse(),
    }
}

/// Reads the documents of an image that a reference leads to.
pub fn open(store: &Store, target: &Target) -> Result<Image> {
    layout::read(&Blobs(store.root()), &target.manifest)
}

/// Client's side. When dropped, Puller shows the last of its progress and leaves.
struct Puller {
    process: Child,
    /// None once it has been told to leave.
    socket: Option<OwnedFd>,
    stored: BTreeSet<Digest>,
}

impl Puller {
    fn start(store: &Store, order: &Order) -> Result<Puller> {
        let (socket, theirs) = sock::pair().context("cannot create a socket pair")?;
        match process::fork(0).context("cannot start the puller")? {
            Fork::Child => live(store, order, theirs),
            Fork::Parent(process) => Ok(Puller { process, socket: Some(socket), stored: BTreeSet::new() }),
        }
    }

    fn receive(&mut self) -> Result<FromPuller> {
        match receive::<FromPuller>(self.socket.as_ref().context("the puller has left")?)? {
            Some(FromPuller::PullerFailed(failure)) => Err(failure.into()),
            Some(message) => Ok(message),
            None => bail!("the puller died ({:?})", self.process.wait().context("cannot wait for the puller")?),
        }
    }

    fn found(&mut self) -> Result<Target> {
        match self.receive()? {
            FromPuller::PullerFound(target) => Ok(*target),
            _ => bail!("the puller speaks out of turn"),
        }
    }

    fn wait_for(&mut self, blob: &Digest) -> Result<()> {
        while !self.stored.contains(blob) {
            match self.receive()? {
                FromPuller::PullerStored(digest) => drop(self.stored.insert(digest)),
                _ => bail!("the puller speaks out of turn"),
            }
        }
        Ok(())
    }

    fn step(&mut self, layer: &Layer, done: bool) -> Result<()> {
        let digest = layer.descriptor.digest.clone();
        if !done {
            self.wait_for(&digest)?;
        }
        if let Some(socket) = &self.socket {
            // For the display only; a dead Puller is noticed where something is expected of it.
            let _ = send(socket, &if done { FromClient::ClientUnpacked(digest) } else { FromClient::ClientUnpacking(digest) });
        }
        Ok(())
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.process.wait();
    }
}

fn send<T: Serialize>(socket: &OwnedFd, message: &T) -> Result<()> {
    sock::send(socket.as_fd(), &serde_json::to_vec(message)?, &[]).context("cannot reach the other process")
}

fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<Option<T>> {
    let mut buffer = vec![0; LONGEST];
    let (length, _) = sock::receive(socket.as_fd(), &mut buffer).context("cannot hear the other process")?;
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_slice(&buffer[..length]).context("cannot understand the other process").map(Some)
}

/// Puller's life.
fn live(store: &Store, order: &Order, socket: OwnedFd) -> ! {
    let _ = process::close_all_but(&[socket.as_raw_fd()]);
    process::set_title(&Role::Puller.title(&order.reference.familiar()), &Role::Puller.comm());
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let mut display = Display::new(order.quiet);
    let Err(error) = bring(store, order, &socket, &mut display);
    display.abandon();
    let _ = send(&socket, &FromPuller::PullerFailed(Failure::from(&error)));
    process::exit_now(1)
}

/// What the threads tell the one that has the display and the conversation.
enum Event {
    Stage(Digest, Stage),
    Stored(Digest),
    Failed(Error),
    /// The Client has nothing more to say, or is dead.
    Over,
}

/// Brings all that the image lacks, and stays until the Client is done.
fn bring(store: &Store, order: &Order, socket: &OwnedFd, display: &mut Display) -> Result<Infallible> {
    let (repository, target, manifest, lease) = find(store, order, display)?;
    let layers = distinct(&manifest.layers);
    layers.iter().for_each(|layer| display.add(&layer.digest, layer.size));
    send(socket, &FromPuller::PullerFound(Box::new(target)))?;
    let (events, inbox) = mpsc::channel();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| -> Result<Infallible> {
        let listener = events.clone();
        scope.spawn(move || listen(socket, &listener));
        for _ in 0..DOWNLOADS.min(layers.len()) {
            let (events, next, layers, repository) = (events.clone(), &next, &layers, &repository);
            scope.spawn(move || {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = fetch(store, repository, layer, &events) {
                        let _ = events.send(Event::Failed(error));
                    }
                }
            });
        }
        for event in inbox {
            match event {
                Event::Stage(digest, stage) => display.set(&digest, stage),
                Event::Stored(digest) => send(socket, &FromPuller::PullerStored(digest))?,
                // From here on other threads may be at work: they have nothing to tidy up, and are not waited for.
                Event::Failed(error) => {
                    display.abandon();
                    drop(lease);
                    let _ = send(socket, &FromPuller::PullerFailed(Failure::from(&error)));
                    process::exit_now(1)
                }
                Event::Over => {
                    drop(lease);
                    process::exit_now(0)
                }
            }
        }
        bail!("nobody listens to the client")
    })
}

fn listen(socket: &OwnedFd, events: &Sender<Event>) {
    while let Ok(Some(message)) = receive(socket) {
        let _ = events.send(match message {
            FromClient::ClientUnpacking(digest) => Event::Stage(digest, Stage::Extracting),
            FromClient::ClientUnpacked(digest) => Event::Stage(digest, Stage::Complete),
        });
    }
    let _ = events.send(Event::Over);
}

fn fetch(store: &Store, repository: &Repository, layer: &Descriptor, events: &Sender<Event>) -> Result<()> {
    let tell = |stage| drop(events.send(Event::Stage(layer.digest.clone(), stage)));
    let there = download::check(store, layer)?;
    let came = match there {
        true => Came::Already,
        false => download::blob(store, repository, layer, &mut |bytes| tell(Stage::Downloading(bytes)))?,
    };
    tell(if there { Stage::There } else { Stage::Downloaded });
    milestone(if came == Came::Downloaded { "pull-layer-stored" } else { "pull-layer-there" });
    let _ = events.send(Event::Stored(layer.digest.clone()));
    Ok(())
}

/// Each blob once: images have the same empty layer many times.
fn distinct(layers: &[Descriptor]) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    layers.iter().filter(|layer| seen.insert(&layer.digest)).cloned().collect()
}

/// Finds the image for the platform and stores its documents under a lease.
fn find(store: &Store, order: &Order, display: &mut Display) -> Result<(Repository, Target, Manifest, Scratch)> {
    let reference = order.reference;
    let (repository, first) = Repository::open(reference, order.config.clone(), wait)?;
    let name = reference.tag().map_or_else(|| reference.digest().map(Digest::to_string).unwrap_or_default(), String::from);
    display.say(&format!("{name}: Pulling from {}", reference.repository()));
    milestone("pull-manifest-come");
    let (fetched, manifest, index) = manifest_for(&repository, first, order.platform)?;
    download::clear_stale(store)?;
    let scratch = store.scratch()?;
    scratch.lease(&fetched.descriptor.digest)?;
    download::document(store, scratch.path(), &fetched.descriptor.digest, &fetched.bytes)?;
    if manifest.config.size > crate::oci::image::MAX_DOCUMENT {
        bail!("a configuration of {} bytes: refused", manifest.config.size);
    }
    if !download::check(store, &manifest.config)? {
        download::blob(store, &repository, &manifest.config, &mut |_| {})?;
    }
    milestone("pull-config-stored");
    let target = Target { manifest: fetched.descriptor, id: manifest.config.digest.clone(), index, updated: refs::now() };
    // Refused before its layers are downloaded, where it cannot be used.
    let image = open(store, &target)?;
    let (wanted, host) = (order.platform, platform::host());
    if !image.is_for(wanted.unwrap_or(&host)) {
        let found = format!("{}/{}", image.config.os, image.config.architecture);
        match wanted {
            Some(wanted) => bail!("the image is for {found} and not for {}", platform::text(wanted)),
            None => display.say(&format!("rl: the image is for {found}, and this host is {}", platform::text(&host))),
        }
    }
    Ok((repository, target, manifest, scratch))
}

/// From what the registry gave first to the manifest for one platform. Beside it, the index that led there.
fn manifest_for(
    repository: &Repository,
    first: Fetched,
    wanted: Option<&Platform>,
) -> Result<(Fetched, Manifest, Option<Descriptor>)> {
    const LEVELS: usize = 4;
    let platform = wanted.cloned().unwrap_or_else(platform::host);
    let (mut fetched, mut top) = (first, None);
    for _ in 0..LEVELS {
        let Descriptor { digest, media_type, .. } = &fetched.descriptor;
        match Document::parse(&fetched.bytes, media_type).with_context(|| format!("cannot use {digest}"))? {
            Document::Manifest(manifest) => return Ok((fetched, manifest, top)),
            Document::Index(index) => {
                let chosen = platform::choose_or_say(&index.manifests, &platform)?.clone();
                let mut next = repository.manifest_by_digest(&chosen.digest)?;
                if next.descriptor.size != chosen.size {
                    bail!("{} has {} bytes and not {}, as its index says", chosen.digest, next.descriptor.size, chosen.size);
                }
                next.descriptor.platform = chosen.platform;
                if next.descriptor.media_type.is_empty() {
                    next.descriptor.media_type = chosen.media_type;
                }
                top = top.or(Some(fetched.descriptor));
                fetched = next;
            }
        }
    }
    bail!("indexes within indexes, more than {LEVELS} deep: refused")
}

/// Between two tries. There is nothing to wait for but the time itself.
fn wait(delay: Duration, error: &Error) {
    if delay >= Duration::from_secs(2) {
        eprintln!("rl: {}; trying again in {} s", Failure::from(error), delay.as_secs());
    }
    thread::sleep(delay);
}

/// What a person wrote for `--platform`.
pub fn parse_platform(text: &str) -> Result<Platform> {
    platform::parse(text).hint(|| "linux/amd64, linux/arm64/v8, …")
}
