//! What `rl rmi` takes away: decided purely, by Docker's rules.
//!
//! A name goes alone while the image has others; with the last name the image goes. Digests of a repository that has no tag of the image
//! left go with its last tag. Asked for by id, an image goes with all its names, unless they are in several repositories.

use anyhow::{Result, anyhow};

use super::Reference;
use super::local::{Asked, Stored};
use crate::error::Advise;

/// A container that was made from the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Twelve digits of its id.
    pub container: String,
    pub running: bool,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    pub untag: Vec<Reference>,
    /// The image has lost its names, and a container still needs it.
    pub nameless: bool,
    /// The image itself goes.
    pub delete: bool,
}

/// Decides what becomes of `image` when it is removed as `asked`.
pub fn decide(image: &Stored, asked: &Asked, users: &[User], force: bool) -> Result<Removal> {
    let all: Vec<&Reference> = image.names.iter().filter_map(|named| named.reference.as_ref()).collect();
    let by_name = matches!(asked, Asked::Name(_));
    let untag = match asked {
        Asked::Name(name) => {
            if let (Some(user), false, true) = (users.first(), force, one_name(&all)) {
                return Err(in_use(user)).hint(|| format!("rl rm {}, or rl rmi -f {}", user.container, name.familiar()));
            }
            let untag = with_its_digests(name, &all);
            if untag.len() < all.len() {
                return Ok(Removal { untag, ..Removal::default() });
            }
            untag
        }
        Asked::Id => all.iter().map(|&name| name.clone()).collect(),
    };
    let running = users.iter().find(|user| user.running);
    if let Some(user) = running.or(users.first().filter(|_| !force)) {
        // By its last name and by force: the name goes, and the image stays as long as a container runs.
        if by_name {
            return Ok(Removal { untag, nameless: true, delete: false });
        }
        let cure = || match (user.running, force) {
            (true, _) => format!("rl rm -f {}", user.container),
            (false, _) => format!("rl rm {}, or rl rmi -f {}", user.container, image.id.short()),
        };
        return Err(in_use(user)).hint(cure);
    }
    if !by_name && !force && all.len() > 1 && !one_name(&all) {
        let names = all.iter().map(|name| name.familiar()).collect::<Vec<_>>().join(" ");
        return Err(anyhow!("it has several names ({names})"))
            .hint(|| format!("rl rmi NAME for one of them, rl rmi -f {} for all", image.id.short()));
    }
    Ok(Removal { untag, nameless: false, delete: true })
}

fn in_use(user: &User) -> anyhow::Error {
    anyhow!("{}container {} uses it", if user.running { "running " } else { "" }, user.container)
}

/// One tag at most, and digests of its repository only.
fn one_name(all: &[&Reference]) -> bool {
    let repositories: std::collections::BTreeSet<String> = all.iter().map(|name| name.name()).collect();
    repositories.len() == 1 && all.iter().filter(|name| name.tag().is_some()).count() <= 1
}

/// A name, and the digests of its repository when it was the last tag there.
fn with_its_digests(name: &Reference, all: &[&Reference]) -> Vec<Reference> {
    let here = |other: &&&Reference| other.name() == name.name();
    let is_digest = name.digest().is_some();
    let wanted = |other: &&Reference| match is_digest {
        true => other.digest() == name.digest(),
        false => other.tag() == name.tag() && other.digest().is_none(),
    };
    let tags_left = all.iter().filter(here).any(|other| other.tag().is_some() && !wanted(other));
    let goes = |other: &&&Reference| wanted(other) || (!is_digest && !tags_left && other.digest().is_some());
    let mut untag: Vec<Reference> = all.iter().filter(here).filter(goes).map(|&other| other.clone()).collect();
    untag.sort_by_key(|other| other.tag().is_none());
    untag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::refs::{Named, Target};
    use crate::oci::digest::Digest;
    use crate::oci::image::Descriptor;

    fn digest() -> String {
        Digest::of(b"manifest").to_string()
    }

    fn image(names: &[&str]) -> Stored {
        let id = Digest::of(b"image");
        let manifest = Descriptor {
            media_type: String::new(),
            digest: Digest::of(b"manifest"),
            size: 1,
            platform: None,
            annotations: Default::default(),
        };
        let target = Target { manifest, id: id.clone(), index: None, updated: String::new() };
        let named = |name: &&str| Named { reference: Some(reference(name)), target: target.clone() };
        Stored { id, names: names.iter().map(named).collect() }
    }

    fn reference(name: &str) -> Reference {
        match name.strip_suffix('@') {
            Some(name) => format!("{name}@{}", digest()).parse().unwrap(),
            None => name.parse().unwrap(),
        }
    }

    /// `untagged names [+ image]`, or the error.
    fn decided(names: &[&str], asked: &str, users: &[bool], force: bool) -> String {
        let asked = if asked == "ID" { Asked::Id } else { Asked::Name(reference(asked)) };
        let users: Vec<User> = users.iter().map(|&running| User { container: "c0ffee".into(), running }).collect();
        match decide(&image(names), &asked, &users, force) {
            Ok(removal) => {
                let mut words: Vec<String> =
                    removal.untag.iter().map(|name| name.familiar().replace(&format!("@{}", digest()), "@")).collect();
                words.extend(removal.nameless.then(|| "+ nameless".into()));
                words.extend(removal.delete.then(|| "+ image".into()));
                words.join(" ")
            }
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn names_go_first_and_the_image_with_the_last() {
        let cases: [(&[&str], &str, &str); 10] = [
            (&["a", "a@"], "a", "a:latest a@ + image"),
            (&["a", "a@"], "ID", "a:latest a@ + image"),
            (&["a", "a:2", "a@"], "a", "a:latest"),
            (&["a", "a:2", "a@"], "a:2", "a:2"),
            (&["a", "b"], "a", "a:latest"),
            (&["a", "a@", "b"], "a", "a:latest a@"),
            (&["a", "a@", "b"], "b", "b:latest"),
            (&["a", "a@"], "a@", "a@"),
            (&["a@"], "a@", "a@ + image"),
            (&[], "ID", "+ image"),
        ];
        for (names, asked, expected) in cases {
            assert_eq!(decided(names, asked, &[], false), expected, "{names:?} {asked}");
        }
    }

    #[test]
    fn an_id_with_names_in_several_places_needs_force() {
        assert!(decided(&["a", "b"], "ID", &[], false).contains("several names"));
        assert!(decided(&["a", "a:2"], "ID", &[], false).contains("several names"));
        assert_eq!(decided(&["a", "b"], "ID", &[], true), "a:latest b:latest + image");
    }

    #[test]
    fn what_containers_use_stays_unless_forced_and_a_running_one_s_always() {
        for (users, word) in [([false], "container c0ffee"), ([true], "running container c0ffee")] {
            assert!(decided(&["a", "a@"], "a", &users, false).starts_with(word));
            assert!(decided(&["a"], "ID", &users, false).starts_with(word));
            assert_eq!(decided(&["a", "b"], "a", &users, false), "a:latest");
        }
        assert_eq!(decided(&["a", "a@"], "a", &[false], true), "a:latest a@ + image");
        assert_eq!(decided(&["a"], "ID", &[false], true), "a:latest + image");
        assert_eq!(decided(&["a", "a@"], "a", &[true], true), "a:latest a@ + nameless");
        assert!(decided(&["a"], "ID", &[true], true).starts_with("running"));
        assert!(decided(&["a", "b"], "ID", &[false, true], true).starts_with("running"));
    }
}
