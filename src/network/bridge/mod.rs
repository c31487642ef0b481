//! User-defined networks: bridges that containers share, and on which they find one another by name.
//!
//! ```text
//! networks/<name>/config.json        what it is (store.rs); written once
//! networks/<name>/leases/<address>   a symlink to the id of the container that has the address (leases.rs)
//! networks/<name>/hub                where its hub listens, while somebody is on it (connector.rs, embedded/hub.rs)
//! ```

pub mod connector;
pub mod join;
pub mod leases;
mod pin;
pub mod store;
pub mod wire;

use self::leases::Attachment;

/// Names that end in this are looked for among containers alone.
pub const DOMAIN: &str = "rl.internal";

/// Those that lead anywhere, then the others.
pub fn in_turn(attachments: &[Attachment]) -> impl Iterator<Item = &Attachment> {
    let (out, closed): (Vec<&Attachment>, Vec<&Attachment>) = attachments.iter().partition(|attachment| !attachment.internal);
    out.into_iter().chain(closed)
}

/// The network by which a container reaches the rest of the world, and asks for names: the first that leads anywhere.
pub fn primary(attachments: &[Attachment]) -> Option<&Attachment> {
    in_turn(attachments).next()
}
