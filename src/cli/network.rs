//! `rl network`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};

use super::filters::{Filters, name_fits};
use super::listing::{Listing, Row};
use super::{Context, attempt, images, inspect, network_json, output};
use crate::container::{events, launch, networks, parse, record};
use crate::error::Advise;
use crate::network::bridge::join::{self, Join, Mac};
use crate::network::bridge::leases;
use crate::network::bridge::store::{self, Definition, Wanted};
use crate::network::subnet::Subnet;
use crate::userns::plan::Plan;

/// Manage networks: containers on the same one reach each other by name
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Create a network
    Create(Box<Create>),
    /// Exit with 0 where there is such a network, else with 1
    Exists {
        #[arg(value_name = "NETWORK")]
        name: String,
    },
    /// List networks
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show networks, as JSON
    Inspect(inspect::OneKind),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm {
        /// No error where there is none
        #[arg(short, long)]
        force: bool,
        #[arg(required = true, value_name = "NETWORK")]
        names: Vec<String>,
    },
    /// Put a container on one more network
    Connect(Connect),
    /// Take a container off a network
    Disconnect {
        /// No error where it is not on it
        #[arg(short, long)]
        force: bool,
        #[arg(value_name = "NETWORK")]
        network: String,
        /// Name, id, or beginning of an id
        #[arg(value_name = "CONTAINER")]
        container: String,
    },
    /// Remove networks that no container uses
    Prune {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
        /// Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
        #[arg(long, value_name = "KEY=VALUE")]
        filter: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Its addresses, one for each family (default: the first free of 10.89.0.0/24, 10.89.1.0/24, …)
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<Subnet>,
    /// Where the rest of the world is reached and names are asked for (default: the first address of the subnet)
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// Give containers addresses of this part of the subnet only
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<Subnet>,
    /// Let containers reach only one another
    #[arg(long)]
    internal: bool,
    /// IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Attach a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// mtu=BYTES for the links; method=tproxy or anyip for its gateway, instead of the first that works
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// What makes it: bridge
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge", value_parser = driver)]
    driver: String,
    /// No error where there is one of that name
    #[arg(long)]
    ignore: bool,
    #[arg(value_name = "NETWORK")]
    name: String,
}

#[derive(Debug, clap::Args)]
pub struct Connect {
    /// Its address there
    #[arg(long, value_name = "IP")]
    ip: Option<Ipv4Addr>,
    /// Its IPv6 address there
    #[arg(long, value_name = "IP")]
    ip6: Option<Ipv6Addr>,
    /// Its MAC address there
    #[arg(long, value_name = "MAC", value_parser = join::mac)]
    mac_address: Option<Mac>,
    /// Another name for others there
    #[arg(long, value_name = "NAME", value_parser = join::alias)]
    alias: Vec<String>,
    /// Call another container by a name of its own; of a container that does not run
    #[arg(long, value_name = "CONTAINER[:ALIAS]", value_parser = join::link)]
    link: Vec<(String, String)>,
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Name, id, or beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

fn driver(text: &str) -> Result<String, String> {
    match text {
        "bridge" => Ok(text.into()),
        _ => Err(format!("there is no driver \"{text}\" here: want bridge")),
    }
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those for which it is so: dangling, driver, id, label, name, scope, type
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print by a Go template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const NETWORKS: Listing = Listing {
    columns: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("CreatedAt", "CREATED AT"),
        ("Labels", "LABELS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    id: "ID",
};

/// Runs one of them.
pub fn run(verb: &Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Create(args) => create(args, context),
        Verb::Exists { name } => Ok(u8::from(store::find(&context.paths, name).is_err())),
        Verb::Ls(args) => list(args, context),
        Verb::Inspect(args) => inspect::networks(args, context),
        Verb::Connect(args) => {
            let (network, aliases) = (args.network.clone(), args.alias.clone());
            let join = Join { network, v4: args.ip, v6: args.ip6, mac: args.mac_address, aliases };
            networks::connect(&context.paths, &args.container, &join, &args.link).map(|()| 0)
        }
        Verb::Disconnect { force, network, container } => {
            networks::disconnect(&context.paths, container, network, *force).map(|()| 0)
        }
        Verb::Rm { force, names } => remove(*force, names, context),
        Verb::Prune { force, filter } => prune(*force, filter, context),
    }
}

/// As Docker, prints the id.
fn create(args: &Create, context: &Context) -> Result<u8> {
    context.make_store()?;
    let wanted = Wanted {
        name: args.name.clone(),
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ranges: args.ip_range.clone(),
        ipv6: args.ipv6,
        internal: args.internal,
        options: parse::pairs(&args.opt).collect(),
        labels: parse::pairs(&args.label).collect(),
    };
    let owner = Plan::of(&context.caller).maps.root();
    match store::create(&context.paths, &wanted, launch::random_id()?, record::now(), owner)? {
        Some(network) => {
            happened(context, "create", &network);
            output::line(&network.id)?;
        }
        None if args.ignore => output::line(store::find(&context.paths, &args.name)?.id)?,
        None => {
            return Err(anyhow!("network \"{}\" exists already", args.name))
                .hint(|| format!("rl network rm {}, or --ignore to use it as it is", args.name));
        }
    }
    Ok(0)
}

fn list(args: &List, context: &Context) -> Result<u8> {
    let layout = NETWORKS.layout(args.format.as_deref(), args.quiet)?;
    let filters = Filters::read(&args.filter, &["dangling", "driver", "id", "label", "label!", "name", "scope", "type"])?;
    filters.check("dangling", &["true", "false", "1", "0"])?;
    filters.check("type", &["custom", "builtin"])?;
    let fits = |network: &Definition| {
        let unused = || leases::holders(&context.paths, network).is_ok_and(|holders| holders.is_empty());
        filters.any("dangling", |wanted| matches!(wanted, "true" | "1") == unused())
            && filters.any("driver", |wanted| wanted == "bridge")
            && filters.any("id", |wanted| network.id.starts_with(wanted))
            && filters.any("name", |wanted| name_fits(wanted, &network.name))
            && filters.any("scope", |wanted| wanted == "local")
            && filters.any("type", |wanted| wanted == "custom")
            && filters.labels(&network.labels)
    };
    let row = |network: Definition| {
        let id = if args.no_trunc { &network.id } else { network.short_id() };
        Row::new([
            ("ID", id.into()),
            ("Name", network.name.clone().into()),
            ("Driver", "bridge".into()),
            ("Scope", "local".into()),
            ("IPv4", "true".into()),
            ("IPv6", network.v6.is_some().to_string().into()),
            ("Internal", network.internal.to_string().into()),
            ("CreatedAt", network.created.clone().into()),
        ])
        .labels(&network.labels)
    };
    layout.print(store::list(&context.paths)?.into_iter().filter(fits).map(row))?;
    Ok(0)
}

fn remove(force: bool, names: &[String], context: &Context) -> Result<u8> {
    attempt(names, |name| match store::find(&context.paths, name) {
        Err(_) if force => Ok(()),
        found => found.and_then(|network| remove_one(context, &network)).and_then(|()| output::line(name)),
    })
}

fn remove_one(context: &Context, network: &Definition) -> Result<()> {
    store::remove(&context.paths, network)?;
    happened(context, "destroy", network);
    Ok(())
}

fn prune(force: bool, filters: &[String], context: &Context) -> Result<u8> {
    let filters = images::Filters::for_prune(filters)?;
    if !force && !output::confirm("WARNING! This will remove all custom networks not used by at least one container.")? {
        return Ok(1);
    }
    remove_unused(context, &filters)?;
    Ok(0)
}

/// Removes the networks that no container uses, telling of each.
pub fn remove_unused(context: &Context, filters: &images::Filters) -> Result<()> {
    let mut told = false;
    for network in store::list(&context.paths)? {
        let used = !leases::holders(&context.paths, &network)?.is_empty();
        // One that has come to be used meanwhile stays.
        if used || !filters.fit_container(&network.created, &network.labels) || remove_one(context, &network).is_err() {
            continue;
        }
        if !std::mem::replace(&mut told, true) {
            output::line("Deleted Networks:")?;
        }
        output::line(&network.name)?;
    }
    if told { output::line("") } else { Ok(()) }
}

fn happened(context: &Context, action: &str, network: &Definition) {
    let attributes = [("name", network.name.as_str()), ("type", "bridge")];
    events::of_object(&context.paths.store, "network", action, &network.id, &attributes);
}

/// `rl network inspect`'s object.
pub fn inspected(context: &Context, wanted: &str) -> Result<serde_json::Value> {
    network_json::network(&context.paths, &store::find(&context.paths, wanted)?)
}
