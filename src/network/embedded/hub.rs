//! The hub: the gateway of a user-defined network. Its G has a bridge, which every container on the network has a link to; what leaves the
//! bridge goes the same way as from a container that is alone, and the names of all are known to all.
//!
//! ```text
//!  host netns            hub's netns G                        containers' netns
//!  sockets  <- splice ->  listeners  <- nft <-  br0 ====== eth0 of one
//!                                                   \\===== eth0 of another
//! ```
//!
//! Started by the first connector that needs it (bridge/connector.rs), a fork without exec that is nobody's child. Namespaces, threads and
//! confinement as the gateway's (mod.rs): links are made by the connectors, who get G's descriptor, so that nothing here needs a
//! capability. Owns the socket on which connectors find it, and a conversation with each. Ends with the last of them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};

use super::addresses::{DNS_PORT, Destination, Inner, Network, Networks, destination};
use super::engine::{Engine, Service, Source};
use super::guard::Guard;
use super::names::{self, Known, Question};
use super::slab::{Key, Slab};
use super::{Beginning, set_up};
use crate::error::Failure;
use crate::network::bridge::DOMAIN;
use crate::network::bridge::leases::{Attachment, Place};
use crate::network::bridge::wire::{self, FromHub, Member, Named, ToHub};
use crate::network::subnet::Subnet;
use crate::role::Role;
use crate::sys::failpoint::milestone;
use crate::sys::{process, sock};

/// See the module.
pub struct Hub {
    listener: OwnedFd,
    internal: bool,
    /// Inode of the user namespace.
    userns: u64,
    namespace: OwnedFd,
    subnets: Vec<Subnet>,
    connected: Slab<Connected>,
    /// Members by address.
    at: HashMap<IpAddr, Key>,
    /// Somebody has been a member.
    lived: bool,
}

/// A connector, and the container it has made a member.
struct Connected {
    conversation: OwnedFd,
    member: Option<Member>,
    /// It is of another user namespace, and waits for our end.
    foreign: bool,
    watches: bool,
    /// Names on its other networks.
    peers: Vec<Named>,
    /// What it may reach beyond the network; None: everything.
    guard: Option<Guard>,
}

/// Lives the hub's life: of the network of `attachment`, found at `listener`; `first` is the conversation with who started it.
pub fn live(attachment: &Attachment, listener: OwnedFd, first: OwnedFd) -> ! {
    let _ = process::close_all_but(&[listener.as_raw_fd(), first.as_raw_fd()]);
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir(c"/");
    process::set_title(&Role::Hub.title(&attachment.network), &Role::Hub.comm());
    milestone("hub-forked");
    let told = first.try_clone();
    let begun = begin(attachment, listener, first);
    milestone("hub-begun");
    let ended = begun.and_then(|mut engine| engine.run());
    if let (Err(error), Ok(first)) = (&ended, told) {
        let _ = wire::send(first, &FromHub::Refused(Failure::from(error)), &[]);
    }
    process::exit_now(ended.is_err().into())
}

/// The inode of this process's user namespace.
pub fn own_userns() -> Result<u64> {
    nix::sys::stat::stat("/proc/self/ns/user").map(|found| found.st_ino).context("cannot read the user namespace")
}

fn begin(attachment: &Attachment, listener: OwnedFd, first: OwnedFd) -> Result<Engine> {
    let userns = own_userns()?;
    let network = |place: &Place| Network { gateway: place.gateway, host: place.gateway, prefix: place.prefix };
    let networks = Networks { v4: network(&attachment.v4), v6: attachment.v6.as_ref().map(network) };
    let subnets = attachment.places().map(|place| Subnet::around(place.gateway, place.prefix)).collect();
    let (mtu, internal) = (attachment.mtu, attachment.internal);
    let mut connected = Slab::new();
    connected.insert(Connected::new(first));
    set_up(
        (networks, attachment.method),
        move |begun| begun.bridge(mtu),
        |mut beginning: Beginning| {
            let hub = beginning.inside.namespace.take().map(|namespace| Hub {
                listener,
                internal,
                userns,
                namespace,
                subnets,
                connected,
                at: HashMap::new(),
                lived: false,
            });
            Beginning { hub, ..beginning }
        },
    )
}

impl Connected {
    fn new(conversation: OwnedFd) -> Connected {
        Connected { conversation, member: None, foreign: false, watches: false, peers: Vec::new(), guard: None }
    }
}

impl Hub {
    /// What to wait for at the beginning.
    pub fn conversations(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Source)> {
        let connected = self.connected.iter().map(|(key, connected)| (connected.conversation.as_fd(), Source::Member(key)));
        std::iter::once((self.listener.as_fd(), Source::Newcomer)).chain(connected)
    }

    /// Nobody is on the network any more, or is still to come.
    pub fn is_deserted(&self) -> bool {
        self.members().next().is_none() && (self.lived || self.connected.iter().all(|(_, connected)| connected.foreign))
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.connected.iter().filter_map(|(_, connected)| connected.member.as_ref())
    }

    fn at(&self, address: IpAddr) -> Option<&Connected> {
        self.connected.get(*self.at.get(&address)?)
    }

    fn member_at(&self, address: IpAddr) -> Option<&Member> {
        self.at(address)?.member.as_ref()
    }

    /// What decides what a container may reach.
    pub fn guard(&mut self, client: IpAddr) -> Option<&mut Guard> {
        self.connected.get_mut(*self.at.get(&client)?)?.guard.as_mut()
    }

    /// At most so many are open.
    pub fn descriptors(&self) -> usize {
        2 * self.connected.len()
    }

    /// Whether the gateway's address stands for the host's loopback for this container.
    pub fn opens_host(&self, client: IpAddr) -> bool {
        self.member_at(client).is_some_and(|member| member.host_loopback)
    }

    /// The name servers that a container wants asked.
    pub fn servers(&self, client: IpAddr) -> &[IpAddr] {
        self.member_at(client).map_or(&[], |member| &member.servers)
    }

    /// The answer to a question of a container about containers. None: it is about something else.
    pub fn answer(&self, client: IpAddr, message: &[u8]) -> Option<Vec<u8>> {
        let question = names::question(message)?;
        let known = self.known(client, &question).or_else(|| self.internal.then_some(Known::Nothing))?;
        Some(question.answer(message, &known))
    }

    fn known(&self, client: IpAddr, question: &Question) -> Option<Known> {
        let asker = self.at(client);
        if let Some(address) = question.reverse() {
            let peers = asker.iter().flat_map(|connected| &connected.peers);
            let mut all = self.members().map(|member| &member.named).chain(peers);
            let name = all.find(|named| named.addresses.contains(&address)).and_then(|named| named.names.first());
            let ours = || self.subnets.iter().any(|subnet| subnet.contains(address)).then_some(Known::Nothing);
            return name.map(|name| Known::Name(name.clone())).or_else(ours);
        }
        let suffix = question.name.strip_suffix(DOMAIN).and_then(|name| name.strip_suffix('.'));
        let name = suffix.unwrap_or(&question.name);
        let links = asker.iter().filter_map(|connected| connected.member.as_ref()).flat_map(|member| &member.links);
        let linked: Vec<&str> =
            links.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, other)| other.as_str()).collect();
        let wanted = if linked.is_empty() { vec![name] } else { linked };
        let is_meant = |named: &&Named| named.names.iter().any(|name| wanted.iter().any(|w| w.eq_ignore_ascii_case(name)));
        let mut found: Vec<IpAddr> =
            self.members().map(|member| &member.named).filter(is_meant).flat_map(|named| named.addresses.clone()).collect();
        let peers = asker.iter().flat_map(|connected| &connected.peers).filter(is_meant);
        for address in peers.flat_map(|named| &named.addresses) {
            if !found.contains(address) {
                found.push(*address);
            }
        }
        match found.is_empty() {
            false => Some(Known::Addresses(found)),
            true => suffix.map(|_| Known::Nothing),
        }
    }
}

impl Engine {
    /// What a container's packet to an address means.
    pub(super) fn destination(&self, client: IpAddr, wanted: SocketAddr) -> Destination {
        let meant = destination(wanted, &self.networks, self.opens_host(client));
        let Some(hub) = self.hub.as_ref().filter(|_| meant != Destination::Ignored) else { return meant };
        match hub.member_at(client) {
            // An address that it was not given: whatever is said of what it may reach is said of those that it was.
            None => Destination::Refused,
            Some(member) if !member.resolvers.contains(&wanted.ip()) => meant,
            Some(_) if wanted.port() == DNS_PORT => Destination::Dns,
            // The gateway of another of its networks is not to be taken for somebody outside.
            Some(_) if wanted.ip() != self.networks.of(wanted.ip()).gateway => Destination::Refused,
            Some(_) => meant,
        }
    }

    /// Whether nothing leaves the network.
    pub(super) fn is_closed(&self) -> bool {
        self.hub.as_ref().is_some_and(|hub| hub.internal)
    }

    /// Another connector.
    pub(super) fn welcome(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let Ok(conversation) = sock::accept(hub.listener.as_fd()) else { return };
        let key = hub.connected.insert(Connected::new(conversation));
        let watched = self.hub.as_ref().and_then(|hub| hub.connected.get(key)).map(|connected| {
            let conversation = connected.conversation.as_fd();
            self.watch(conversation, Source::Member(key))
        });
        if !matches!(watched, Some(Ok(()))) {
            self.hub.iter_mut().for_each(|hub| drop(hub.connected.remove(key)));
        }
    }

    /// A connector says something, or is gone.
    pub(super) fn member(&mut self, key: Key) {
        let Some(connected) = self.hub.as_ref().and_then(|hub| hub.connected.get(key)) else { return };
        let Ok(Some((message, fds))) = wire::receive::<ToHub>(&connected.conversation) else { return self.part(key) };
        let done = match message {
            ToHub::Join(member) => return self.join(key, *member, fds.into_iter().next()),
            ToHub::Publish(mapping) => {
                let addresses = connected.member.as_ref().map(|member| member.named.addresses.clone()).unwrap_or_default();
                let v4 = addresses.iter().copied().find(IpAddr::is_ipv4).context("it is no member yet");
                let v6 = addresses.iter().copied().find(IpAddr::is_ipv6);
                v4.and_then(|v4| {
                    let socket = fds.into_iter().next().context("no socket came along")?;
                    self.publish(Service { socket, mapping, container: Inner { v4, v6 }, member: Some(key) })
                })
            }
            ToHub::Withdraw(mapping) => {
                self.withdraw(|service| service.member == Some(key) && service.mapping == mapping);
                Ok(())
            }
            ToHub::Watch => {
                self.hub.iter_mut().for_each(|hub| hub.connected.get_mut(key).into_iter().for_each(|c| c.watches = true));
                return self.tell_names(Some(key));
            }
            ToHub::Peers(peers) => {
                let connected = self.hub.as_mut().and_then(|hub| hub.connected.get_mut(key));
                return connected.into_iter().for_each(|connected| connected.peers = peers.clone());
            }
        };
        let answer = done.map_or_else(|error| FromHub::Refused(Failure::from(&error)), |()| FromHub::Done);
        self.tell(key, &answer, false);
    }

    /// `log`: where to tell of what it reaches. Who joins again, for it has another name, keeps what there is.
    fn join(&mut self, key: Key, member: Member, log: Option<OwnedFd>) {
        let Some(hub) = &mut self.hub else { return };
        if member.userns != hub.userns {
            hub.connected.get_mut(key).into_iter().for_each(|connected| connected.foreign = true);
            return self.tell(key, &FromHub::Foreign, false);
        }
        hub.lived = true;
        hub.at.extend(member.named.addresses.iter().map(|address| (*address, key)));
        if let Some(connected) = hub.connected.get_mut(key) {
            if connected.member.is_none() {
                connected.guard = member.egress.clone().map(|egress| Guard::new(egress, log));
            }
            connected.member = Some(member);
        }
        milestone("hub-joined");
        self.tell(key, &FromHub::Joined, true);
        self.tell_names(None);
    }

    /// What a connector hears; one that does not read is none.
    fn tell(&mut self, key: Key, message: &FromHub, with_namespace: bool) {
        let Some(hub) = &self.hub else { return };
        let Some(connected) = hub.connected.get(key) else { return };
        let fds = [hub.namespace.as_fd()];
        if wire::send(&connected.conversation, message, &fds[..usize::from(with_namespace)]).is_err() {
            self.part(key);
        }
    }

    /// The names have changed; or `only` this one is to know them.
    fn tell_names(&mut self, only: Option<Key>) {
        let Some(hub) = &self.hub else { return };
        let watchers: Vec<Key> = match only {
            Some(key) => vec![key],
            None => hub.connected.iter().filter(|(_, connected)| connected.watches).map(|(key, _)| key).collect(),
        };
        if !watchers.is_empty() {
            let names = FromHub::Names(hub.members().map(|member| member.named.clone()).collect());
            watchers.into_iter().for_each(|key| self.tell(key, &names, false));
        }
    }

    /// A container is no member any more: nobody comes in to it, and what it had open ends.
    fn part(&mut self, key: Key) {
        let Some(connected) = self.hub.as_mut().and_then(|hub| hub.connected.remove(key)) else { return };
        let _ = self.epoll.delete(&connected.conversation);
        milestone("hub-parted");
        let Some(member) = connected.member else { return };
        self.hub.iter_mut().for_each(|hub| hub.at.retain(|_, at| *at != key));
        self.withdraw(|service| service.member == Some(key));
        self.end_traffic(&member.named.addresses);
        self.tell_names(None);
    }
}
