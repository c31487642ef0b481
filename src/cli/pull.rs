//! `rl pull`.

use anyhow::Result;

use super::{Context, output};
use crate::container::events;
use crate::host::config::Config;
use crate::image::Reference;
use crate::image::pull::{self, Order};
use crate::oci::image::Platform;

/// Download images from registries
///
/// Layers are downloaded and unpacked at the same time; what is here already is not downloaded again. An interrupted pull goes on where
/// it was. Mirrors, certificates and aliases are read from /etc/rl/config.toml and ~/.config/rl/config.toml; logins are those of
/// docker, podman and skopeo.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print only the image's id
    #[arg(short, long)]
    quiet: bool,
    /// The platform of the image (default: this host's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = pull::parse_platform)]
    platform: Option<Platform>,
    /// The image, such as alpine, debian:13 or ghcr.io/ann/tool@sha256:…
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Pulls each; the first failure ends it.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let references = args.names.iter().map(|name| name.strip_prefix("docker://").unwrap_or(name).parse::<Reference>());
    let references = references.collect::<Result<Vec<_>>>()?;
    let config = Config::load()?;
    let store = context.store();
    context.make_store()?;
    for (name, reference) in args.names.iter().zip(references) {
        if !args.quiet && reference.tag() == Some("latest") && !name.ends_with(":latest") {
            output::line("Using default tag: latest")?;
        }
        let reference = pull::aliased(&reference, &config)?;
        let order = Order { reference: &reference, config: &config, platform: args.platform.as_ref(), quiet: args.quiet };
        let pulled = pull::pull(&store, &order, &mut context.userns()?, None)?;
        events::of_image(&context.paths.store, "pull", &reference.familiar(), &reference.familiar_name());
        pulled.warnings.iter().for_each(|warning| eprintln!("rl: {warning}"));
        if args.quiet {
            output::line(pulled.target.id.to_string())?;
            continue;
        }
        pulled.summary(&reference).iter().try_for_each(output::line)?;
        output::line(reference.to_string())?;
    }
    Ok(0)
}
