//! `rl inspect`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, output};
use crate::container::record::{self, Record};
use crate::container::state::Status;

/// Show everything about containers, as JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints one array, in the order asked for.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let records = args.containers.iter().map(|wanted| record::find(&context.paths, wanted));
    let shown = records.map(|record| record.map(|record| container(&record))).collect::<Result<Vec<Value>>>()?;
    output::json(&shown)?;
    Ok(0)
}

/// Docker's names for what we know; the runtime-spec itself under `Spec`.
fn container(record: &Record) -> Value {
    let (config, state) = (&record.config, &record.state);
    let process = &config.spec.process;
    json!({
        "Id": config.id,
        "Name": config.name,
        "Created": config.created,
        "Path": process.args.first(),
        "Args": process.args.iter().skip(1).collect::<Vec<_>>(),
        "State": {
            "Status": state.status.word(),
            "Running": state.status == Status::Running,
            "Pid": state.pid.unwrap_or(0),
            "ExitCode": state.exit_code,
            "Error": state.error.clone().unwrap_or_default(),
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
        },
        "Image": config.image_id,
        "ImageName": config.image,
        "ImageDigest": config.image_digest,
        "HostConfig": {
            "AutoRemove": config.auto_remove,
            "Privileged": config.privileged,
            "ReadonlyRootfs": config.spec.root.readonly,
            "NetworkMode": config.network,
            "Init": config.init,
            "ShmSize": config.spec.linux.shm_size,
        },
        "Mounts": config.spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": {
            "Hostname": config.spec.hostname,
            "User": process.user.username,
            "Tty": process.terminal,
            "OpenStdin": config.interactive,
            "Env": process.env,
            "Cmd": process.args,
            "WorkingDir": process.cwd,
            "Labels": config.labels,
            "StopSignal": config.stop_signal,
            "ExposedPorts": config.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect::<serde_json::Map<_, _>>(),
        },
        "Spec": config.spec,
    })
}

fn mount(mount: &crate::oci::runtime::Mount) -> Value {
    let read_only = mount.options.iter().any(|option| option == "ro" || option == "readonly");
    json!({
        "Type": if mount.volume.is_some() { "volume" } else { mount.kind.as_str() },
        "Name": mount.volume,
        "Source": mount.source,
        "Destination": mount.destination,
        "Options": mount.options,
        "RW": !read_only,
    })
}
