//! Networks that a running container is joined to, or leaves.

use std::os::fd::AsFd;

use anyhow::{Result, anyhow, bail};

use super::{Payload, Server};
use crate::container::record;
use crate::network::bridge::leases::Attachment;
use crate::network::bridge::primary;
use crate::network::{NetworkMode, Order};
use crate::sys::failpoint::milestone;

impl Server<'_> {
    /// One more network, from now on and in the record.
    pub(super) fn join_network(&mut self, attachment: Attachment, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        if !matches!(self.config.network, NetworkMode::User(_)) {
            bail!("has the network {}", self.config.network);
        }
        payload.uplink.order(&Order::Join(Box::new(attachment.clone())), None)?;
        milestone("network-joined");
        let mut networks = self.config.networks.clone();
        networks.push(attachment);
        self.change_networks(networks, payload)
    }

    /// One less.
    pub(super) fn leave_network(&mut self, id: &str, payload: Option<&Payload>) -> Result<()> {
        let payload = payload.ok_or_else(|| anyhow!("is not running"))?;
        payload.uplink.order(&Order::Leave(id.to_string()), None)?;
        milestone("network-left");
        let networks = self.config.networks.iter().filter(|known| known.network_id != id).cloned().collect();
        self.change_networks(networks, payload)
    }

    /// The published ports are served on the network that leads out, whichever that is by now.
    fn change_networks(&mut self, networks: Vec<Attachment>, payload: &Payload) -> Result<()> {
        let way_out =
            |networks: &[Attachment]| primary(networks).filter(|first| !first.internal).map(|first| first.network_id.clone());
        let (before, after) = (way_out(&self.config.networks), way_out(&networks));
        let former = std::mem::replace(&mut self.config.networks, networks);
        if let Err(error) = record::write_json(&self.directory, "config.json", &self.config) {
            self.config.networks = former;
            return Err(error);
        }
        milestone("network-noted");
        if after.is_some() && before != after {
            for published in &self.published {
                payload.uplink.order(&Order::Publish(published.mapping.clone()), Some(published.socket.as_fd()))?;
            }
        }
        Ok(())
    }
}
