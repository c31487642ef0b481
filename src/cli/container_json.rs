//! A container in the shape of Docker's API (Engine API, "Inspect a container"), members in its order. What `rl` has and Docker has not is at
//! the end: `Spec`, the runtime-spec itself.

use serde_json::{Map, Value, json};

use crate::container::config::Config;
use crate::container::health;
use crate::container::networks;
use crate::container::record::Record;
use crate::container::state::Status;
use crate::network::bridge::connector;
use crate::network::bridge::leases::Attachment;
use crate::network::egress::Egress;
use crate::network::ports::PortMapping;
use crate::oci::runtime::Mount;

/// Everything known of a container.
pub fn container(record: &Record) -> Value {
    let (config, state) = (&record.config, &record.state);
    let process = &config.spec.process;
    let log_path = config.log.file_name(&config.id).map(|name| record.directory.join(name)).filter(|path| path.exists());
    json!({
        "Id": config.id,
        "Created": config.created,
        "Path": process.args.first().map_or("", String::as_str),
        "Args": process.args.get(1..).unwrap_or_default(),
        "State": shown_state(record),
        "Image": config.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path.unwrap_or_default(),
        "Name": format!("/{}", config.name),
        "RestartCount": state.restart_count,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(config),
        "GraphDriver": { "Name": "overlay", "Data": { "UpperDir": record.directory.join("upper.root") } },
        "Mounts": config.spec.mounts.iter().filter(|mount| mount.kind == "bind").map(mount).collect::<Vec<_>>(),
        "Config": container_config(config),
        "NetworkSettings": network_settings(config),
        "ImageName": config.image,
        "ImageDigest": config.image_digest,
        "Spec": config.spec,
    })
}

/// Go's zero time, which Docker shows for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn shown_state(record: &Record) -> Value {
    let state = &record.state;
    let word = state.status.word();
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| NEVER.into());
    // As Docker, 0 for what has none yet; but nobody knows how a lost one ended.
    let code = state.exit_code.or(if state.status == Status::Lost { None } else { Some(0) });
    let mut shown = json!({
        "Status": word,
        // As Docker: a paused container runs too.
        "Running": matches!(word, "running" | "paused" | "restarting"),
        "Paused": word == "paused",
        "Restarting": word == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": false,
        "Pid": state.pid.unwrap_or(0),
        "ExitCode": code,
        "Error": state.error.clone().unwrap_or_default(),
        "StartedAt": time(&state.started_at),
        "FinishedAt": time(&state.finished_at),
    });
    // As Docker: only there where there is a check.
    if let Ok(Some(health)) = health::of(record) {
        shown["Health"] = json!(health);
    }
    shown
}

fn host_config(config: &Config) -> Value {
    let linux = &config.spec.linux;
    let binds = config.spec.mounts.iter().filter(|mount| mount.kind == "bind").map(|mount| {
        let source = mount.volume.clone().unwrap_or_else(|| mount.source.display().to_string());
        format!("{source}:{}{}", mount.destination.display(), if is_read_only(mount) { ":ro" } else { "" })
    });
    let tmpfs = config.spec.mounts.iter().filter(|mount| mount.kind == "tmpfs");
    let tmpfs: Map<String, Value> =
        tmpfs.map(|mount| (mount.destination.display().to_string(), mount.options.join(",").into())).collect();
    let restart = config.restart.to_string();
    let (policy, most) = restart.split_once(':').unwrap_or((&restart, "0"));
    let own = |kind: &str| if linux.has(kind) { "private" } else { "host" };
    let mut shown = json!({
        "Binds": binds.collect::<Vec<_>>(),
        "ContainerIDFile": "",
        "LogConfig": { "Type": config.log.driver.to_string(), "Config": config.log.options },
        "NetworkMode": config.network,
        "PortBindings": ports(&config.ports, &[]),
        "RestartPolicy": { "Name": policy, "MaximumRetryCount": most.parse::<u32>().unwrap_or(0) },
        "AutoRemove": config.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": null,
        "CapDrop": null,
        "CgroupnsMode": own("cgroup"),
        "Dns": config.dns,
        "DnsOptions": config.dns_options,
        "DnsSearch": config.dns_search,
        "ExtraHosts": config.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        "GroupAdd": config.spec.process.user.additional_groups,
        "IpcMode": own("ipc"),
        "PidMode": if linux.has("pid") { "" } else { "host" },
        "Privileged": config.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": config.spec.root.readonly,
        "SecurityOpt": if config.spec.process.no_new_privileges { json!(["no-new-privileges"]) } else { Value::Null },
        "Tmpfs": tmpfs,
        "UTSMode": if linux.has("uts") { "" } else { "host" },
        "UsernsMode": config.keep_id.map_or(String::new(), |(uid, gid)| format!("keep-id:uid={uid},gid={gid}")),
        "ShmSize": linux.shm_size,
        "Runtime": "rl",
        "Init": config.init,
        "MaskedPaths": linux.masked_paths,
        "ReadonlyPaths": linux.readonly_paths,
        "CgroupParent": config.cgroup.parent.as_deref().unwrap_or_default(),
    });
    if let (Value::Object(shown), Value::Object(limits)) = (&mut shown, limits(config)) {
        shown.extend(limits);
        // Nobody else has it.
        shown.extend(config.egress.as_ref().map(|egress| ("Egress".to_string(), egress_json(egress))));
    }
    shown
}

fn egress_json(egress: &Egress) -> Value {
    json!({ "Policy": if egress.deny { "deny" } else { "allow" }, "Allow": egress.allow, "Log": egress.log })
}

/// Docker's `Resources`; 0 or empty: no limit.
fn limits(config: &Config) -> Value {
    let rlimits = config.spec.process.rlimits.iter();
    let resources = &config.spec.linux.resources;
    let (memory, cpu, block) = (&resources.memory, &resources.cpu, &resources.block_io);
    json!({
        "Memory": memory.limit.unwrap_or(0),
        "MemoryReservation": memory.reservation.unwrap_or(0),
        "MemorySwap": memory.swap.unwrap_or(0),
        "CpuShares": cpu.shares.unwrap_or(0),
        "CpuPeriod": cpu.period.unwrap_or(0),
        "CpuQuota": cpu.quota.unwrap_or(0),
        "CpusetCpus": cpu.cpus.as_deref().unwrap_or_default(),
        "CpusetMems": cpu.mems.as_deref().unwrap_or_default(),
        "BlkioWeight": block.weight.unwrap_or(0),
        "PidsLimit": resources.pids.as_ref().map(|pids| pids.limit),
        "Devices": config.spec.linux.devices.iter().map(|device| json!({
            "PathOnHost": device.source, "PathInContainer": device.path, "CgroupPermissions": "rwm",
        })).collect::<Vec<_>>(),
        "Ulimits": rlimits.map(|limit| json!({
            "Name": limit.kind.trim_start_matches("RLIMIT_").to_ascii_lowercase(), "Hard": limit.hard, "Soft": limit.soft,
        })).collect::<Vec<_>>(),
        "OomScoreAdj": config.spec.process.oom_score_adj.unwrap_or(0),
    })
}

fn container_config(config: &Config) -> Value {
    let process = &config.spec.process;
    let exposed: Map<String, Value> = config.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let mut shown = json!({
        "Hostname": config.spec.hostname,
        "Domainname": "",
        "User": process.user.username,
        "AttachStdin": config.interactive,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": exposed,
        "Tty": process.terminal,
        "OpenStdin": config.interactive,
        "StdinOnce": config.interactive,
        "Env": process.env,
        "Cmd": process.args,
        "Image": config.image,
        "Volumes": null,
        "WorkingDir": process.cwd,
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": config.labels,
        "StopSignal": signal(config.stop_signal),
    });
    shown["CreateCommand"] = json!(config.create_command);
    shown["sdNotifyMode"] = json!(config.sdnotify.map_or("container", |mode| mode.word()));
    if let Some(health) = &config.health {
        shown["Healthcheck"] = json!(health.check);
        shown["HealthcheckOnFailureAction"] = json!(health.on_failure.word());
    }
    shown
}

/// `SIGTERM`; a real-time signal is a number.
fn signal(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.as_str().to_string())
}

fn network_settings(config: &Config) -> Value {
    let mut networks: Map<String, Value> =
        config.networks.iter().map(|place| (place.network.clone(), place_on(config, place))).collect();
    let mode = serde_json::to_value(&config.network).ok().and_then(|mode| mode.as_str().map(String::from)).unwrap_or_default();
    if networks.is_empty() {
        let nothing =
            json!({ "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "MacAddress": "" });
        networks.insert(mode, nothing);
    }
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": ports(&config.ports, &config.exposed_ports),
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "MacAddress": "",
        "Networks": networks,
    })
}

/// A container's place on a user-defined network.
fn place_on(config: &Config, place: &Attachment) -> Value {
    let links: Vec<String> = config.links.iter().map(|(own, other)| format!("{other}:{own}")).collect();
    let v6 = place.v6.as_ref();
    json!({
        "IPAMConfig": {},
        "Links": if links.is_empty() { Value::Null } else { json!(links) },
        "Aliases": place.aliases,
        "MacAddress": place.mac,
        "DriverOpts": null,
        "NetworkID": place.network_id,
        "EndpointID": "",
        "Gateway": place.v4.gateway,
        "IPAddress": place.v4.address,
        "IPPrefixLen": place.v4.prefix,
        "IPv6Gateway": v6.map_or(String::new(), |v6| v6.gateway.to_string()),
        "GlobalIPv6Address": v6.map_or(String::new(), |v6| v6.address.to_string()),
        "GlobalIPv6PrefixLen": v6.map_or(0, |v6| v6.prefix),
        "DNSNames": connector::names(&networks::party(config, &[]), place),
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

fn is_read_only(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == "ro" || option == "readonly")
}

fn mount(mount: &Mount) -> Value {
    let propagation = ["rprivate", "rslave", "rshared", "private", "slave", "shared"];
    let propagation = propagation.into_iter().find(|word| mount.options.iter().any(|option| option == word));
    let mut shown = Map::new();
    shown.insert("Type".into(), if mount.volume.is_some() { "volume" } else { "bind" }.into());
    if let Some(volume) = &mount.volume {
        shown.insert("Name".into(), volume.clone().into());
    }
    shown.insert("Source".into(), mount.source.display().to_string().into());
    shown.insert("Destination".into(), mount.destination.display().to_string().into());
    if mount.volume.is_some() {
        shown.insert("Driver".into(), "local".into());
    }
    shown.insert("Mode".into(), mount.options.join(",").into());
    shown.insert("RW".into(), (!is_read_only(mount)).into());
    shown.insert("Propagation".into(), propagation.unwrap_or("rprivate").into());
    Value::Object(shown)
}
