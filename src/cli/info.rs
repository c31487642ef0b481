//! `rl info`.

use anyhow::Result;
use serde_json::json;

use super::{Context, output};
use crate::cgroup::delegate::{self, Manager, Survey};
use crate::container::record;
use crate::container::state::Status;
use crate::host::{facts, paths};
use crate::network::ladder::{self, Rung};
use crate::userns::idmap::IdMapping;
use crate::userns::plan::Plan;

/// Show what this host has and what was chosen
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the facts, and for each lack its cure.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let plan = Plan::of(&context.caller);
    let records = record::list(&context.paths)?;
    let running = records.iter().filter(|r| r.state.status == Status::Running).count();
    let (major, minor) = facts::kernel();
    paths::make_private_dir(&context.paths.runtime, context.caller.uid)?;
    let networks = ladder::survey(&context.paths.runtime)?;
    let cgroups = delegate::survey(context.caller.uid);
    if args.json {
        output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": format!("{major}.{minor}"),
            "store": context.paths.store,
            "runtime": context.paths.runtime,
            "uidMappings": plan.maps.uid,
            "gidMappings": plan.maps.gid,
            "containers": records.len(),
            "running": running,
            "network": networks.iter().find(|rung| rung.usable).map(|rung| rung.network),
            "networks": networks,
            "cgroupV2": facts::has_cgroup2(),
            "cgroupManager": cgroups.as_ref().map_or(Manager::None, |survey| survey.manager),
            "cgroupControllers": cgroups.as_ref().map(|survey| survey.controllers.clone()).unwrap_or_default(),
        }))?;
        return Ok(0);
    }
    let ids = |lines: &[IdMapping]| {
        let line =
            |l: &IdMapping| format!("{}-{} are {}-{}", l.container_id, end(l.container_id, l), l.host_id, end(l.host_id, l));
        lines.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    let lines = [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("kernel", format!("{major}.{minor}")),
        ("store", context.paths.store.display().to_string()),
        ("runtime", context.paths.runtime.display().to_string()),
        ("containers", format!("{} ({running} running)", records.len())),
        ("user ids", ids(&plan.maps.uid)),
        ("group ids", ids(&plan.maps.gid)),
        ("network", default_network(&networks)),
        ("cgroups", cgroups.as_ref().map_or_else(|lack| format!("none: {}", lack.why), Survey::words)),
    ];
    for (name, value) in lines {
        output::line(format!("{name:<12}{value}"))?;
    }
    if let Err(lack) = &cgroups {
        output::line(format!("{:<12}limits of memory, CPU and processes\n{:<12}try: {}", "lacking", "", lack.cure))?;
    }
    if let Some((lacking, cure)) = plan.warning {
        output::line(format!("{:<12}{lacking}\n{:<12}try: {cure}", "lacking", ""))?;
    }
    Ok(0)
}

/// The default, and why nothing better is.
fn default_network(rungs: &[Rung]) -> String {
    let better: Vec<String> = rungs
        .iter()
        .take_while(|rung| !rung.usable)
        .map(|rung| format!("\n{:<12}no {}: {}", "", rung.network, rung.why))
        .collect();
    let default = rungs.iter().find(|rung| rung.usable);
    let default = default.map_or("none can be made".to_string(), |rung| format!("{} by default ({})", rung.network, rung.why));
    default + &better.concat()
}

fn end(first: u32, line: &IdMapping) -> u32 {
    first + (line.size - 1)
}
