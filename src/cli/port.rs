//! `rl port`.

use anyhow::{Result, bail};

use super::{Context, output};
use crate::container::record;
use crate::network::ports::{PortMapping, Protocol};

/// Show the published ports of a container
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only what this port of the container is published as
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = private_port)]
    port: Option<(u16, Protocol)>,
}

fn private_port(text: &str) -> Result<(u16, Protocol), String> {
    let (port, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((port, "udp")) => (port, Protocol::Udp),
        Some((_, other)) => return Err(format!("unknown protocol \"{other}\"")),
    };
    Ok((port.parse().map_err(|_| format!("\"{port}\" is no port number"))?, protocol))
}

/// As Docker prints it: `80/tcp -> 0.0.0.0:8080`, of one port the host's side alone.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let record = record::find(&context.paths, &args.container)?;
    let of_port = |mapping: &&PortMapping| args.port.is_none_or(|port| port == (mapping.container_port, mapping.protocol));
    let mut found: Vec<&PortMapping> = record.config.ports.iter().filter(of_port).collect();
    found.sort();
    if let (Some((port, protocol)), true) = (args.port, found.is_empty()) {
        bail!("no public port {port}/{protocol} published for \"{}\"", record.config.name);
    }
    found.sort_by_key(|mapping| (mapping.container_port, mapping.protocol));
    for mapping in found {
        match args.port {
            Some(_) => output::line(mapping.host().to_string())?,
            None => output::line(format!("{}/{} -> {}", mapping.container_port, mapping.protocol, mapping.host()))?,
        }
    }
    Ok(0)
}
