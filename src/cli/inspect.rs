//! `rl inspect`.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::template::Template;
use super::{Context, image, output};
use crate::container::record::{self, Record};
use crate::container::state::Status;
use crate::container::volume;
use crate::error::{Advise, Failure};
use crate::network::ports::PortMapping;

/// Show everything about containers, images and volumes, as JSON
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only objects of this kind (without it: a container, else an image, else a volume)
    #[arg(long = "type", value_enum, value_name = "KIND")]
    kind: Option<Kind>,
    #[command(flatten)]
    objects: OneKind,
}

/// What `rl image inspect` and its like take.
#[derive(Debug, clap::Args)]
pub struct OneKind {
    /// Print by a Go template, or `json` for JSON in one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Container,
    Image,
    Volume,
}

/// Prints what is found, in the order asked for; exits 1 when something is not there.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    show(&args.objects, |name| match args.kind {
        Some(kind) => object(kind, name, context),
        None => any(name, context),
    })
}

/// `rl image inspect`.
pub fn images(args: &OneKind, context: &Context) -> Result<u8> {
    show(args, |name| object(Kind::Image, name, context))
}

fn object(kind: Kind, name: &str, context: &Context) -> Result<Value> {
    match kind {
        Kind::Container => record::find(&context.paths, name).map(|record| container(&record)),
        Kind::Image => image::inspected(context, name),
        Kind::Volume => Ok(serde_json::to_value(volume::find(&context.paths, name)?)?),
    }
}

fn any(name: &str, context: &Context) -> Result<Value> {
    let mut found = [Kind::Container, Kind::Image, Kind::Volume].into_iter().map(|kind| object(kind, name, context));
    found
        .find(Result::is_ok)
        .unwrap_or_else(|| Err(anyhow!("no such object: {name}")).hint(|| "rl ps -a, rl images, or rl volume ls"))
}

fn show(args: &OneKind, find: impl Fn(&str) -> Result<Value>) -> Result<u8> {
    let format = args.format.as_deref().filter(|format| !format.is_empty());
    let template = format.filter(|&format| format != "json").map(Template::parse).transpose()?;
    let mut code = 0;
    let mut found = Vec::new();
    for name in &args.names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(error) => {
                Failure::from(&error).print();
                code = 1;
            }
        }
    }
    match (template, format) {
        (Some(template), _) => found.iter().try_for_each(|value| output::line(template.render(value)?))?,
        (None, Some(_)) => output::line(serde_json::to_string(&found)?)?,
        (None, None) => output::json(&found)?,
    }
    Ok(code)
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
        "NetworkSettings": { "Ports": ports(&config.ports, &config.exposed_ports) },
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

/// Every exposed or published port; null where it is not published.
fn ports(published: &[PortMapping], exposed: &[String]) -> Value {
    let mut ports: serde_json::Map<String, Value> = exposed.iter().map(|port| (port.clone(), Value::Null)).collect();
    for mapping in published {
        let host = json!({"HostIp": mapping.host().ip().to_string(), "HostPort": mapping.host_port.to_string()});
        let port = ports.entry(format!("{}/{}", mapping.container_port, mapping.protocol)).or_insert(Value::Null);
        match port {
            Value::Array(hosts) => hosts.push(host),
            other => *other = json!([host]),
        }
    }
    ports.into()
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
