//! `rl images`.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::listing::{Listing, Row};
use super::{Context, glob, output};
use crate::container::uses::Uses;
use crate::error::Advise;
use crate::image::local::Stored;
use crate::image::{Image, Reference, Store};
use crate::oci::digest::Digest;
use crate::oci::time;

/// List images
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show those without a name and a tag too that only others are built on (here there are none)
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those for which it is so: dangling=true, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Only this repository, or this tag of it; with * and ? as in a shell
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pattern: Option<String>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

const IMAGES: Listing =
    Listing { columns: COLUMNS, table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", id: "ID" };

const WITH_DIGESTS: Listing = Listing {
    columns: COLUMNS,
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    id: "ID",
};

/// Prints the list, newest first.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let store = context.store();
    let filters = Filters::read(args, &store)?;
    let all = listed(&store)?;
    let uses = Uses::now(&context.paths).unwrap_or_default();
    let shares = Shares::of(&store, &all);
    let layout = if args.digests { WITH_DIGESTS } else { IMAGES }.layout(args.format.as_deref(), args.quiet)?;
    let with_digests = layout.shows("Digest");
    let mut rows = Vec::new();
    for image in all.iter().filter(|image| filters.fit(image)) {
        for place in places(&image.stored, &filters, with_digests) {
            rows.push(row(image, place, args.no_trunc, &uses, &shares));
        }
    }
    layout.print(rows)?;
    Ok(0)
}

/// The images' part of `rl system df -v`.
pub fn print_usage(store: &Store, all: &[Listed], uses: &Uses) -> Result<()> {
    const USAGE: Listing = Listing {
        columns: COLUMNS,
        table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
        id: "ID",
    };
    let shares = Shares::of(store, all);
    let rows = all.iter().flat_map(|image| {
        let places = places(&image.stored, &Filters::default(), false);
        places.into_iter().map(|place| row(image, place, false, uses, &shares)).collect::<Vec<_>>()
    });
    USAGE.print(None, false, rows)
}

/// An image with what is read of it.
pub struct Listed {
    pub stored: Stored,
    pub image: Image,
    pub created: Option<SystemTime>,
    /// Bytes of its layers' files.
    pub size: u64,
}

/// All images, newest first. One that cannot be read is named and left out.
pub fn listed(store: &Store) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for stored in store.images()? {
        match read(store, stored) {
            Ok(listed) => all.push(listed),
            Err((stored, error)) => {
                eprintln!("rl: skipping image {}: {error:#} (try: rl system check)", stored.id.short());
            }
        }
    }
    all.sort_by_key(|listed| std::cmp::Reverse(listed.created));
    Ok(all)
}

fn read(store: &Store, stored: Stored) -> Result<Listed, (Stored, anyhow::Error)> {
    match store.open_target(stored.target()) {
        Err(error) => Err((stored, error)),
        Ok(image) => {
            let created = image.config.created.as_deref().and_then(time::parse);
            let size = image.layers.iter().map(|layer| store.size_of(layer)).sum();
            Ok(Listed { stored, image, created, size })
        }
    }
}

/// Reads one image by what a person calls it.
pub fn find(store: &Store, wanted: &str) -> Result<Listed> {
    let (stored, _) = store.find(wanted)?;
    read(store, stored).map_err(|(_, error)| error).with_context(|| format!("cannot read image \"{wanted}\""))
}

/// How many images share each layer.
struct Shares(HashMap<Digest, (usize, u64)>);

impl Shares {
    fn of(store: &Store, all: &[Listed]) -> Shares {
        let mut shares: HashMap<Digest, (usize, u64)> = HashMap::new();
        for layer in all.iter().flat_map(|listed| &listed.image.layers) {
            shares.entry(layer.chain_id.clone()).or_insert_with(|| (0, store.size_of(layer))).0 += 1;
        }
        Shares(shares)
    }

    /// Bytes of an image's layers that others have too.
    fn shared(&self, listed: &Listed) -> u64 {
        let layers = listed.image.layers.iter().filter_map(|layer| self.0.get(&layer.chain_id));
        layers.filter(|(images, _)| *images > 1).map(|(_, size)| size).sum()
    }
}

/// One line: repository, tag and digest.
type Place = (String, String, String);

/// As Docker: a line for each tag; what has only digests is a line for each repository; what has no name at all is one line.
fn places(stored: &Stored, filters: &Filters, with_digests: bool) -> Vec<Place> {
    const NONE: &str = "<none>";
    let fits = |reference: &&Reference| filters.names(reference);
    let digests: Vec<&Reference> = stored.digests().filter(fits).collect();
    let of_repository = |name: &str| -> Vec<String> {
        let here = digests.iter().filter(|reference| reference.familiar_name() == name);
        here.filter_map(|reference| reference.digest()).map(ToString::to_string).collect()
    };
    let mut places: Vec<Place> = Vec::new();
    let mut tagged = Vec::new();
    for tag in stored.tags().filter(fits) {
        let (name, tag) = (tag.familiar_name(), tag.tag().unwrap_or(NONE).to_string());
        let mut found = if with_digests { of_repository(&name) } else { Vec::new() };
        if found.is_empty() {
            found.push(NONE.into());
        }
        places.extend(found.into_iter().map(|digest| (name.clone(), tag.clone(), digest)));
        tagged.push(name);
    }
    for digest in &digests {
        let name = digest.familiar_name();
        let told = !with_digests && places.iter().any(|(known, _, _)| *known == name);
        if !tagged.contains(&name) && !told {
            let text = digest.digest().map(ToString::to_string).filter(|_| with_digests);
            places.push((name, NONE.into(), text.unwrap_or_else(|| NONE.into())));
        }
    }
    if stored.tags().next().is_none() && stored.digests().next().is_none() && filters.references.is_empty() {
        places.push((NONE.into(), NONE.into(), NONE.into()));
    }
    places
}

fn row(listed: &Listed, (repository, tag, digest): Place, no_trunc: bool, uses: &Uses, shares: &Shares) -> Row {
    let id = &listed.stored.id;
    let shared = shares.shared(listed);
    let since = listed.created.map(|created| format!("{} ago", output::since(created)));
    let at = listed.created.map_or_else(|| "N/A".into(), time::shown);
    let text = |bytes| Value::from(output::size(bytes));
    Row::new([
        ("Repository", repository.into()),
        ("Tag", tag.into()),
        ("Digest", digest.into()),
        ("ID", if no_trunc { id.to_string() } else { id.short().to_string() }.into()),
        ("CreatedSince", since.unwrap_or_else(|| "N/A".into()).into()),
        ("CreatedAt", at.into()),
        ("Size", text(listed.size)),
        ("Containers", uses.of(&id.to_string()).len().to_string().into()),
        ("SharedSize", text(shared)),
        ("UniqueSize", text(listed.size - shared)),
        ("VirtualSize", text(listed.size)),
    ])
}

/// `--filter`, and the pattern.
#[derive(Default)]
pub struct Filters {
    dangling: Option<bool>,
    /// One of them.
    references: Vec<String>,
    /// All of them: key, and value where it matters.
    labels: Vec<(String, Option<String>)>,
    without_labels: Vec<(String, Option<String>)>,
    before: Option<SystemTime>,
    since: Option<SystemTime>,
}

impl Filters {
    fn read(args: &Args, store: &Store) -> Result<Filters> {
        let mut filters = Filters::default();
        filters.references.extend(args.pattern.clone());
        for filter in &args.filter {
            let (key, value) = split(filter)?;
            match key {
                "dangling" => filters.dangling = Some(boolean(value)?),
                "reference" => filters.references.push(value.into()),
                "before" => filters.before = earliest(filters.before, find(store, value)?.created),
                "since" => filters.since = find(store, value)?.created.max(filters.since),
                _ if filters.common(key, value)? => {}
                _ => return Err(anyhow!("there is no filter {key:?}")).hint(|| "dangling reference label before since until"),
            }
        }
        if let Some(bad) = filters.references.iter().find(|pattern| glob::matches(pattern, "").is_none()) {
            bail!("{bad:?} is not a pattern");
        }
        Ok(filters)
    }

    /// Those of `rl image prune` and `rl system prune`.
    pub fn for_prune(given: &[String]) -> Result<Filters> {
        let mut filters = Filters::default();
        for filter in given {
            let (key, value) = split(filter)?;
            match key {
                "label!" => filters.without_labels.push(label(value)),
                _ if filters.common(key, value)? => {}
                _ => return Err(anyhow!("there is no filter {key:?}")).hint(|| "until label label!"),
            }
        }
        Ok(filters)
    }

    fn common(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "label" => self.labels.push(label(value)),
            "until" => self.before = earliest(self.before, Some(until(value)?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The same question about a container.
    pub fn fit_container(&self, created: &str, labels: &BTreeMap<String, String>) -> bool {
        let created = time::parse(created).unwrap_or(SystemTime::UNIX_EPOCH);
        self.labels_fit(Some(labels)) && self.before.is_none_or(|before| created < before)
    }

    fn labels_fit(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            labels.and_then(|labels| labels.get(key)).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.labels.iter().all(has) && !self.without_labels.iter().any(has)
    }

    fn names(&self, reference: &Reference) -> bool {
        let fits = |pattern: &String| {
            let whole = [reference.familiar(), reference.familiar_name(), reference.to_string(), reference.name()];
            whole.iter().any(|text| glob::matches(pattern, text) == Some(true))
        };
        self.references.is_empty() || self.references.iter().any(fits)
    }

    /// Whether the image itself is meant; which of its names are is another matter.
    pub fn fit(&self, listed: &Listed) -> bool {
        let created = listed.created.unwrap_or(SystemTime::UNIX_EPOCH);
        self.dangling.is_none_or(|wanted| wanted == listed.stored.tags().next().is_none())
            && self.labels_fit(listed.image.config.config.as_ref().map(|config| &config.labels))
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
    }
}

fn split(filter: &str) -> Result<(&str, &str)> {
    filter.split_once('=').ok_or_else(|| anyhow!("filter {filter:?} has no '='")).hint(|| "--filter KEY=VALUE")
}

fn boolean(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => bail!("{value:?} is neither true nor false"),
    }
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.into(), Some(value.into())),
        None => (text.into(), None),
    }
}

fn earliest(a: Option<SystemTime>, b: Option<SystemTime>) -> Option<SystemTime> {
    a.into_iter().chain(b).min()
}

/// A time, seconds since 1970, or how long ago: `24h`, `10m`.
fn until(value: &str) -> Result<SystemTime> {
    let past = humantime::parse_duration(value).ok().and_then(|past| SystemTime::now().checked_sub(past));
    let seconds =
        value.parse().ok().and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds)));
    let day = || humantime::parse_rfc3339_weak(&format!("{value} 00:00:00")).ok();
    let found =
        seconds.or(past).or_else(|| time::parse(value)).or_else(|| humantime::parse_rfc3339_weak(value).ok()).or_else(day);
    found
        .ok_or_else(|| anyhow!("{value:?} is not a time"))
        .hint(|| "24h, 2026-05-22, 2026-05-22T18:18:12Z, or seconds since 1970")
}
