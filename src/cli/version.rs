//! `rl version`.

use anyhow::Result;
use serde_json::json;

use super::template::Template;
use super::{Context, output};
use crate::host::facts;
use crate::image;

/// Show the version
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template, or `json`
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// As Docker's, with a client and nothing else: no daemon is asked.
pub fn run(args: &Args, _: &Context) -> Result<u8> {
    let platform = image::host_platform();
    let (major, minor) = facts::kernel();
    let version = json!({ "Client": {
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": platform.os,
        "Arch": platform.architecture,
        "KernelVersion": format!("{major}.{minor}"),
    }});
    match args.format.as_deref().filter(|format| !format.is_empty()) {
        Some("json") => output::line(serde_json::to_string(&version)?)?,
        Some(format) => output::line(Template::parse(format)?.render(&version)?)?,
        None => {
            let of = |name: &str| version["Client"][name].as_str().unwrap_or_default().to_string();
            let lines = [
                ("Version", of("Version")),
                ("OS/Arch", format!("{}/{}", of("Os"), of("Arch"))),
                ("Kernel", of("KernelVersion")),
            ];
            output::line("Client: rl")?;
            lines.iter().try_for_each(|(name, value)| output::line(format!(" {:<10} {value}", format!("{name}:"))))?;
        }
    }
    Ok(0)
}
