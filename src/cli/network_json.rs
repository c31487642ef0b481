//! A network in the shape of Docker's API (Engine API, "Inspect a network"), members in its order.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::container::record::Record;
use crate::host::paths::Paths;
use crate::network::bridge::leases;
use crate::network::bridge::store::{Definition, Pool};

/// Everything known of a network; of the containers on it those that run.
pub fn network(paths: &Paths, network: &Definition) -> Result<Value> {
    let pool = |pool: &Pool| {
        let mut shown = Map::new();
        shown.insert("Subnet".into(), pool.subnet.to_string().into());
        shown.extend(pool.range.map(|range| ("IPRange".to_string(), Value::from(range.to_string()))));
        shown.insert("Gateway".into(), pool.gateway.to_string().into());
        Value::Object(shown)
    };
    let mut containers = Map::new();
    for (id, addresses) in leases::holders(paths, network)? {
        let Some(record) = Record::load(&paths.containers().join(&id))?.filter(|record| record.state.status.is_up()) else {
            continue;
        };
        let of_pool = |pool: Option<&Pool>| {
            let address = pool.and_then(|pool| addresses.iter().find(|address| pool.subnet.contains(**address)));
            pool.zip(address).map_or(String::new(), |(pool, address)| format!("{address}/{}", pool.subnet.prefix()))
        };
        let place = record.config.networks.iter().find(|place| place.network_id == network.id);
        let shown = json!({
            "Name": record.config.name,
            "EndpointID": "",
            "MacAddress": place.map_or("", |place| &place.mac),
            "IPv4Address": of_pool(Some(&network.v4)),
            "IPv6Address": of_pool(network.v6.as_ref()),
        });
        containers.insert(id, shown);
    }
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": true,
        "EnableIPv6": network.v6.is_some(),
        "IPAM": { "Driver": "default", "Options": {}, "Config": network.pools().map(pool).collect::<Vec<_>>() },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    }))
}
