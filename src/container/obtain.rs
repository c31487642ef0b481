//! The image of a new container: as it lies in the store, or first pulled from its registry.
//!
//! What is at hand is found by one small file, without a socket and without the configuration: registries are only thought of when
//! nothing has the name.

use anyhow::{Result, anyhow};
use clap::ValueEnum;

use super::events;
use super::options::Options;
use crate::error::{Advise, Failure};
use crate::host::config::Config;
use crate::image::pull::{self, Order};
use crate::image::{self, Hold, Image, Reference, Source, Store};
use crate::userns::shared::Pending;

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Policy {
    /// Every time; only what has changed is downloaded
    Always,
    /// When the image is not at hand
    #[default]
    Missing,
    /// Never
    Never,
    /// Every time, but what is at hand will do where the registry cannot be reached
    Newer,
}

/// The image that the options name, its layers perhaps not unpacked yet, and held from being removed. Pulling needs U, which is waited for
/// then.
pub fn image(
    store: &Store,
    source: &Source,
    options: &Options,
    pending: Pending,
    kept: Option<(u32, u32)>,
) -> Result<(Image, Pending, Hold)> {
    let hold = store.hold()?;
    let Source::Registry(reference) = source else {
        return Ok((image::open(store, source)?, pending, hold));
    };
    let asks = matches!(options.more.pull, Policy::Always | Policy::Newer);
    let here = at_hand(store, reference, options);
    if let (false, Some(image)) = (asks, &here) {
        return Ok((image.clone(), pending, hold));
    }
    if options.more.pull == Policy::Never {
        return Err(anyhow!("no such image: {}", reference.familiar())).hint(|| format!("rl pull {}", reference.familiar()));
    }
    let config = Config::load()?;
    let reference = &pull::aliased(reference, &config)?;
    if let (false, Some(image)) = (asks, at_hand(store, reference, options)) {
        return Ok((image, pending, hold));
    }
    // What is pulled is leased meanwhile, and naming it needs the store for itself.
    drop(hold);
    if here.is_none() && !options.usual.quiet {
        eprintln!("Unable to find image '{}' locally", reference.familiar());
    }
    let mut userns = pending.finish()?;
    let order = Order { reference, config: &config, platform: options.more.platform.as_ref(), quiet: options.usual.quiet };
    match pull::pull(store, &order, &mut userns, kept) {
        Ok(pulled) => {
            events::of_image(store.root(), "pull", &reference.familiar(), &reference.familiar_name());
            pulled.warnings.iter().for_each(|warning| eprintln!("rl: {warning}"));
            if !options.usual.quiet {
                pulled.summary(reference).iter().for_each(|line| eprintln!("{line}"));
            }
        }
        Err(error) if options.more.pull == Policy::Newer && here.is_some() => {
            eprintln!("rl: {}; going on with the one at hand", Failure::from(&error));
        }
        Err(error) => return Err(error),
    }
    let hold = store.hold()?;
    Ok((image::open(store, &Source::Registry(reference.clone()))?, Pending::Ready(userns), hold))
}

/// What the name leads to, if all of it can be read and it is for the platform that was asked for. What cannot is pulled again.
fn at_hand(store: &Store, reference: &Reference, options: &Options) -> Option<Image> {
    let source = Source::Registry(reference.clone());
    let image = image::open(store, &source).ok()?;
    let wanted = options.more.platform.as_ref();
    wanted.is_none_or(|platform| image.is_for(platform)).then_some(image)
}
