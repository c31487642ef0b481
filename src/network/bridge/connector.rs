//! Connector: holds one container's places on its networks.
//!
//! Started by Monitor as a Carrier (carrier.rs), a fork without exec. Namespaces: user U, the rest the host's; a thread that lives for the
//! moment enters a hub's network namespace and the container's, to make the link between them. Owns a conversation with Monitor and one
//! with the hub of each network (wire.rs), which it starts where there is none; until it is connected also one with Init, and the
//! container's network namespace for networks that are joined later. Waits for all of these. Ends with Monitor or with a hub: Monitor
//! starts another then, which joins again. No packet ever comes here, so it keeps the capabilities of U.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::join::mac;
use super::leases::{self, Attachment};
use super::pin;
use super::wire::{self, FromHub, Member, Named, ToHub};
use crate::error::Advise;
use crate::network::carrier::{self, Carrier, Order};
use crate::network::egress::Egress;
use crate::network::embedded::hub;
use crate::network::embedded::topology::{self, BRIDGE};
use crate::network::netlink::route::End;
use crate::network::netlink::{Batch, Netlink, Subsystem};
use crate::network::ports::{PortMapping, Published};
use crate::role::Role;
use crate::sys::failpoint::milestone;
use crate::sys::process::{self, Child, Fork, ns};
use crate::sys::{fs, net, sock};

/// The container, as its networks know it.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub hostname: &'a str,
    /// In the order of their interfaces: eth0, eth1, …
    pub attachments: &'a [Attachment],
    /// How it calls others.
    pub links: &'a [(String, String)],
    /// Name servers to ask instead of the host's.
    pub servers: &'a [IpAddr],
    /// What it takes for a name server, whatever networks it has left since.
    pub resolvers: &'a [IpAddr],
    pub host_loopback: bool,
    /// What it may reach beyond its networks; None: everything.
    pub egress: Option<&'a Egress>,
}

/// Forks the connector of a container. The caller is a member of U with one thread.
pub fn start(places: Places, published: &mut Vec<Published>) -> Result<Carrier> {
    let live = |monitor, init| live(places, std::mem::take(published), monitor, init);
    Carrier::start("container's connector", live)
}

fn live(places: Places, published: Vec<Published>, monitor: OwnedFd, init: OwnedFd) -> ! {
    let sockets = published.iter().map(|published| published.socket.as_raw_fd());
    let own = [places.store, monitor.as_fd(), init.as_fd()].map(|fd| fd.as_raw_fd());
    let keep: Vec<i32> =
        sockets.chain(own).chain(places.log.iter().chain(&places.abode.cgroup).map(AsRawFd::as_raw_fd)).collect();
    let _ = process::close_all_but(&keep);
    process::set_title(&Role::Connector.title(places.party.name), &Role::Connector.comm());
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = nix::unistd::chdir(c"/");
    let begun = Connector::begin(places, published, &init);
    carrier::report(init.as_fd(), &begun);
    drop(init);
    if let Ok(mut connector) = begun {
        let _ = connector.stay(&monitor);
    }
    process::exit_now(1)
}

/// What it takes to join a network.
pub struct Places<'a> {
    pub party: Party<'a>,
    /// The store's directory.
    pub store: BorrowedFd<'a>,
    /// Where hubs are to tell of what the container reaches.
    pub log: Option<OwnedFd>,
    pub abode: Abode,
}

/// Where hubs live that a container starts: not with it, for they may outlive it.
#[derive(Default)]
pub struct Abode {
    /// The cgroup they are born in.
    pub cgroup: Option<OwnedFd>,
    pub settle: Option<Settle>,
}

/// Finds a place for the hub of the network of this name; in a process of its own, beside both.
pub type Settle = Box<dyn Fn(&str, &Child) + Sync>;

/// See the module.
struct Connector<'a> {
    places: Places<'a>,
    container: OwnedFd,
    joined: Vec<Joined>,
    /// Its name, where that is another by now.
    renamed: Option<String>,
}

/// A network that the container is on.
struct Joined {
    attachment: Attachment,
    hub: OwnedFd,
    /// The names there, where there are other networks that want to know.
    names: Vec<Named>,
}

impl<'a> Connector<'a> {
    fn begin(places: Places<'a>, published: Vec<Published>, init: &OwnedFd) -> Result<Connector<'a>> {
        let party = places.party;
        // While Init still makes its namespace.
        let mut hubs = Vec::new();
        for attachment in party.attachments {
            hubs.push(places.enter(&party, attachment).with_context(|| refused(attachment))?);
        }
        let (_, fds) = sock::receive(init.as_fd(), &mut [0; 8]).context("cannot hear the container's first process")?;
        let container = fds.into_iter().next().context("the container's first process gave up")?;
        let mut connector = Connector { places, container, joined: Vec::new(), renamed: None };
        let mut strays = left_by_an_earlier(party.attachments);
        for ((hub, network), attachment) in hubs.into_iter().zip(party.attachments) {
            let leads_out = !attachment.internal && connector.primary().is_none();
            connector.link(network, attachment, leads_out, &strays).with_context(|| refused(attachment))?;
            strays.clear();
            connector.joined.push(Joined { attachment: attachment.clone(), hub, names: Vec::new() });
        }
        for Published { socket, mapping } in published {
            connector.publish(&mapping, Some(socket.as_fd()))?;
        }
        connector.watch()?;
        Ok(connector)
    }

    /// Makes the interface by which the container is on a network.
    fn link(&self, network: OwnedFd, attachment: &Attachment, leads_out: bool, strays: &[String]) -> Result<()> {
        let Party { id, resolvers, egress, .. } = self.places.party;
        let plug = Plug {
            network: network.as_fd(),
            container: self.container.as_fd(),
            attachment,
            port: format!("v{}", &id[..id.len().min(12)]),
            strays,
            pinned: egress.is_some(),
            leads_out,
            resolvers,
        };
        elsewhere(|| plug.make())?;
        milestone("connector-linked");
        Ok(())
    }

    /// One network more, or none.
    fn join(&mut self, attachment: &Attachment) -> Result<()> {
        self.begin_to_join(attachment).inspect_err(|_| {
            let _ = self.leave(&attachment.network_id).and_then(|()| self.change_links(Some(attachment), None));
        })
    }

    fn begin_to_join(&mut self, attachment: &Attachment) -> Result<()> {
        let party = Party { name: self.renamed.as_deref().unwrap_or(self.places.party.name), ..self.places.party };
        let (hub, network) = self.places.enter(&party, attachment).with_context(|| refused(attachment))?;
        let leads_out = !attachment.internal && self.primary().is_none();
        self.link(network, attachment, false, &[]).with_context(|| refused(attachment))?;
        self.joined.push(Joined { attachment: attachment.clone(), hub, names: Vec::new() });
        self.watch()?;
        milestone("connector-joined");
        // Now that it knows the names of the others.
        if leads_out { self.change_links(None, Some(attachment)) } else { Ok(()) }
    }

    /// The interface goes, and with the conversation the membership. Another network leads out then, where there is one.
    fn leave(&mut self, id: &str) -> Result<()> {
        let Some(at) = self.joined.iter().position(|joined| joined.attachment.network_id == id) else { return Ok(()) };
        let led_out = self.primary().is_some_and(|primary| primary.attachment.network_id == id);
        let left = self.joined.remove(at).attachment;
        let next = self.primary().filter(|_| led_out).map(|next| &next.attachment);
        self.change_links(Some(&left), next)?;
        milestone("connector-left");
        (0..self.joined.len()).try_for_each(|index| self.tell_peers(index))
    }

    /// An interface goes, and a network leads out.
    fn change_links(&self, gone: Option<&Attachment>, leads_out: Option<&Attachment>) -> Result<()> {
        elsewhere(|| {
            process::setns(self.container.as_fd(), ns::NET).context("cannot enter the container's network namespace")?;
            let netlink = Netlink::open(Subsystem::Route)?;
            gone.map_or(Ok(()), |gone| remove(&netlink, &gone.interface))?;
            leads_out.map_or(Ok(()), |next| lead_out(&netlink, next, self.places.party.resolvers))
        })
    }

    /// The hub that the container reaches the world by.
    fn primary(&self) -> Option<&Joined> {
        self.joined.iter().find(|joined| !joined.attachment.internal)
    }

    fn publish(&self, mapping: &PortMapping, socket: Option<BorrowedFd>) -> Result<()> {
        let joined = self.primary().context("its networks are internal: nobody comes in from outside")?;
        let sockets: Vec<BorrowedFd> = socket.into_iter().collect();
        self.ask(joined, &ToHub::Publish(mapping.clone()), &sockets)
    }

    fn withdraw(&self, mapping: &PortMapping) -> Result<()> {
        self.primary().map_or(Ok(()), |joined| self.ask(joined, &ToHub::Withdraw(mapping.clone()), &[]))
    }

    /// Asks a hub and waits for the answer. Names that come in between are asked for anew.
    fn ask(&self, joined: &Joined, request: &ToHub, fds: &[BorrowedFd]) -> Result<()> {
        wire::send(&joined.hub, request, fds).context("cannot reach the network")?;
        loop {
            match wire::receive::<FromHub>(&joined.hub)? {
                Some((FromHub::Names(_), _)) => {
                    wire::send(&joined.hub, &ToHub::Watch, &[]).context("cannot reach the network")?
                }
                Some((FromHub::Refused(failure), _)) => return Err(failure.into()),
                Some(_) => return Ok(()),
                None => bail!("the network is gone"),
            }
        }
    }

    /// On several networks the names of each are to be known on the others, and are before this returns: the payload may ask at once.
    fn watch(&mut self) -> Result<()> {
        if self.joined.len() < 2 {
            return Ok(());
        }
        for joined in &mut self.joined {
            wire::send(&joined.hub, &ToHub::Watch, &[]).context("cannot reach the network")?;
            joined.names = loop {
                match wire::receive::<FromHub>(&joined.hub)? {
                    Some((FromHub::Names(names), _)) => break names,
                    Some(_) => {}
                    None => bail!("the network \"{}\" is gone", joined.attachment.network),
                }
            };
        }
        (0..self.joined.len()).try_for_each(|index| self.tell_peers(index))
    }

    /// Until Monitor or a hub ends.
    fn stay(&mut self, monitor: &OwnedFd) -> Result<()> {
        fn reads(fd: BorrowedFd<'_>) -> PollFd<'_> {
            PollFd::new(fd, PollFlags::POLLIN)
        }
        loop {
            let hubs = self.joined.iter().map(|joined| reads(joined.hub.as_fd()));
            let mut set: Vec<PollFd> = std::iter::once(reads(monitor.as_fd())).chain(hubs).collect();
            match poll(&mut set, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.context("cannot wait")?,
            };
            let ready: Vec<bool> = set.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            for index in (1..ready.len()).filter(|&index| ready[index]) {
                self.hear(index - 1)?;
            }
            if ready[0] {
                let Some((order, socket)) = carrier::next_order(monitor.as_fd())? else { return Ok(()) };
                if matches!(order, Order::Finish) {
                    // What the container had sent is the hubs' to deliver.
                    return Ok(());
                }
                carrier::report(monitor.as_fd(), &self.obey(&order, socket));
            }
        }
    }

    /// Names have changed on a network: the other hubs hear of it.
    fn hear(&mut self, index: usize) -> Result<()> {
        match wire::receive::<FromHub>(&self.joined[index].hub)? {
            Some((FromHub::Names(names), _)) => self.joined[index].names = names,
            Some(_) => return Ok(()),
            None => bail!("the network \"{}\" is gone", self.joined[index].attachment.network),
        }
        (0..self.joined.len()).filter(|other| *other != index).try_for_each(|other| self.tell_peers(other))
    }

    /// A hub hears the names on the other networks.
    fn tell_peers(&self, index: usize) -> Result<()> {
        let others = self.joined.iter().enumerate().filter(|(other, _)| *other != index);
        let peers = others.flat_map(|(_, joined)| joined.names.clone()).collect();
        wire::send(&self.joined[index].hub, &ToHub::Peers(peers), &[]).context("cannot reach the network")
    }

    fn obey(&mut self, order: &Order, socket: Option<OwnedFd>) -> Result<()> {
        match order {
            Order::Publish(mapping) => self.publish(mapping, socket.as_ref().map(|socket| socket.as_fd())),
            Order::Withdraw(mapping) => self.withdraw(mapping),
            Order::Join(attachment) => self.join(attachment),
            Order::Leave(id) => self.leave(id),
            Order::Rename(name) => {
                let party = Party { name, ..self.places.party };
                let again = |joined: &Joined| self.ask(joined, &ToHub::Join(Box::new(member(&party, &joined.attachment)?)), &[]);
                self.joined.iter().try_for_each(again)?;
                self.renamed = Some(name.clone());
                Ok(())
            }
            Order::Finish => Ok(()),
        }
    }
}

/// The interfaces that an earlier connector may have left in the container, before any is made: one that died while it joined or left a network
/// had changed them, and the way out, and that is not to be. A network that is joined gets the first name that is free.
fn left_by_an_earlier(attachments: &[Attachment]) -> Vec<String> {
    let joining = (0..=attachments.len()).map(|number| format!("eth{number}"));
    attachments.iter().map(|known| known.interface.clone()).chain(joining).collect()
}

fn refused(attachment: &Attachment) -> String {
    format!("cannot join network \"{}\"", attachment.network)
}

/// Name of a hub's socket in the network's directory.
const SOCKET: &str = "hub";
/// How long a hub of another user namespace may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Places<'_> {
    /// Becomes a member: returns the conversation with the network's hub, which is started where there is none, and its network namespace.
    fn enter(&self, party: &Party, attachment: &Attachment) -> Result<(OwnedFd, OwnedFd)> {
        let path = CString::new(format!("networks/{}", attachment.network))?;
        let open = |directory: BorrowedFd, path: &CStr| fs::open_beneath(directory, path, libc::O_RDONLY | libc::O_DIRECTORY, 0);
        let directory = open(self.store, &path).context("cannot open its directory")?;
        // The directory's own lock is about its leases as a whole (leases.rs).
        let lock = File::from(open(directory.as_fd(), &CString::new(leases::DIRECTORY)?).context("cannot open its leases")?);
        let member = member(party, attachment)?;
        let log: Vec<BorrowedFd> = self.log.iter().map(AsFd::as_fd).collect();
        loop {
            let (conversation, is_ours) = match sock::connect(directory.as_fd(), SOCKET) {
                Ok(conversation) => (conversation, false),
                Err(_) => match begin_hub(attachment, directory.as_fd(), &lock, &self.abode)? {
                    Some(conversation) => {
                        milestone("connector-began-hub");
                        (conversation, true)
                    }
                    None => continue,
                },
            };
            match wire::send(&conversation, &ToHub::Join(Box::new(member.clone())), &log) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Err(error).context("there is too much to say of it");
                }
                // Of one that has ended already the answer tells.
                _ => milestone("connector-asked"),
            }
            match wire::receive::<FromHub>(&conversation) {
                Ok(Some((FromHub::Joined, fds))) => {
                    let network = fds.into_iter().next().context("the network's namespace did not come along")?;
                    milestone("connector-entered");
                    return Ok((conversation, network));
                }
                Ok(Some((FromHub::Refused(failure), _))) => return Err(failure.into()),
                Ok(Some(_)) => await_end(&conversation)?,
                Ok(None) | Err(_) if is_ours => bail!("its hub died"),
                // It ended between our connecting and its hearing of it.
                Ok(None) | Err(_) => {}
            }
        }
    }
}

/// The container as a hub is to know it.
fn member(party: &Party, attachment: &Attachment) -> Result<Member> {
    let addresses = attachment.places().map(|place| place.address).collect();
    Ok(Member {
        userns: hub::own_userns()?,
        named: Named { names: names(party, attachment), addresses },
        links: party.links.to_vec(),
        servers: party.servers.to_vec(),
        resolvers: party.resolvers.to_vec(),
        host_loopback: party.host_loopback,
        egress: party.egress.cloned(),
    })
}

/// What is left of a hub in another user namespace is ending, and ends this conversation.
fn await_end(conversation: &OwnedFd) -> Result<()> {
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(conversation.as_fd(), PollFlags::POLLIN)], patience) {
        Ok(0) => bail!("it is in use by containers of another user namespace"),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait for the network's hub"),
    }
}

/// The container's name, what else it is called, and its short id.
pub fn names(party: &Party, attachment: &Attachment) -> Vec<String> {
    let short = &party.id[..party.id.len().min(12)];
    let mut names = vec![party.name.to_string()];
    let others = attachment.aliases.iter().map(String::as_str).chain([party.hostname, short]);
    for name in others.filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    names
}

/// Starts a network's hub; None where another has done so meanwhile. The conversation with it is there from its beginning.
fn begin_hub(attachment: &Attachment, directory: BorrowedFd, lock: &File, abode: &Abode) -> Result<Option<OwnedFd>> {
    lock.lock().context("cannot lock the network")?;
    if sock::connect(directory, SOCKET).is_ok() {
        lock.unlock().context("cannot unlock the network")?;
        return Ok(None);
    }
    let listener = sock::listen(directory, SOCKET).context("cannot listen for the network")?;
    let (ours, theirs) = sock::pair().context("cannot create a socket pair")?;
    // By way of a child that ends at once, for the hub may outlive us and is nobody's to wait for.
    match process::fork(0).context("cannot start the network's hub")? {
        Fork::Child => match process::fork_into(0, abode.cgroup.as_ref().map(AsFd::as_fd)).or_else(|_| process::fork(0)) {
            Ok(Fork::Child) => hub::live(attachment, listener, theirs),
            Ok(Fork::Parent(hub)) => settle(&hub, &attachment.network, abode),
            Err(_) => process::exit_now(1),
        },
        Fork::Parent(child) => drop(child.wait().context("cannot start the network's hub")?),
    }
    // Unlocked and not merely closed: whoever was forked meanwhile has copies.
    lock.unlock().context("cannot unlock the network")?;
    Ok(Some(ours))
}

/// Has a place found for a hub, by a child that nobody waits for: it may take as long as a whole start. Until there is one it ends with this
/// container, and another takes its place.
fn settle(hub: &Child, network: &str, abode: &Abode) -> ! {
    if let Some(settle) = &abode.settle
        && matches!(process::fork(0), Ok(Fork::Child))
    {
        let _ = process::close_all_but(&[hub.pidfd.as_raw_fd()]);
        let _ = nix::unistd::setsid();
        process::set_title(&Role::Settler.title(network), &Role::Settler.comm());
        settle(network, hub);
    }
    process::exit_now(0)
}

/// A link between a hub's network namespace and a container's.
struct Plug<'a> {
    network: BorrowedFd<'a>,
    container: BorrowedFd<'a>,
    attachment: &'a Attachment,
    /// At the bridge.
    port: String,
    /// In the container, and to be removed.
    strays: &'a [String],
    /// It speaks from its own addresses only, by which the hub knows what it may reach.
    pinned: bool,
    /// The container's way to everywhere else.
    leads_out: bool,
    resolvers: &'a [IpAddr],
}

/// In a thread of its own: namespaces are a thread's, and from the container's there is no way back to the host's.
fn elsewhere(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("the connecting thread died"))?
}

/// Everything is reached by way of this network from now on, and so is whatever the container takes for a name server: who leads out knows
/// the names of all its networks, those of an internal one would be denied by it that lead out, and what a name was answered with may be
/// reached only where it was answered.
fn lead_out(netlink: &Netlink, attachment: &Attachment, resolvers: &[IpAddr]) -> Result<()> {
    let mut batch = Batch::default();
    for place in attachment.places() {
        batch.default_route(place.gateway);
        for other in resolvers.iter().filter(|other| other.is_ipv4() == place.gateway.is_ipv4() && **other != place.gateway) {
            batch.route(*other, place.gateway);
        }
    }
    netlink.commit(batch).context("cannot set up the container's routes")
}

impl Plug<'_> {
    /// What an earlier one has left is replaced.
    fn make(&self) -> Result<()> {
        let interface = &self.attachment.interface;
        process::setns(self.container, ns::NET).context("cannot enter the container's network namespace")?;
        let inner = Netlink::open(Subsystem::Route)?;
        self.strays.iter().chain([interface]).try_for_each(|left| remove(&inner, left))?;
        process::setns(self.network, ns::NET).context("cannot enter the network's namespace")?;
        let outer = Netlink::open(Subsystem::Route)?;
        remove(&outer, &self.port)?;
        let address = mac(&self.attachment.mac)?;
        // The other end's differs in one bit, and so is as unique.
        let [first, rest @ ..] = address;
        let [b, c, d, e, f] = rest;
        let mut batch = Batch::default();
        let here = End { name: &self.port, mac: [first ^ 0x04, b, c, d, e, f] };
        let there = End { name: interface, mac: address };
        batch.veth(here, there, self.container, self.attachment.mtu);
        outer.commit(batch)?;
        if self.pinned {
            let rules = pin::rules(&self.port, address, self.attachment.places().map(|place| place.address));
            let pinned = Netlink::open(Subsystem::Netfilter)?.commit(rules);
            pinned
                .context("cannot see to it that it uses no other's address")
                .hint(|| "--network gateway, which nobody else is on")?;
        }
        let port = net::interface_index(&self.port)?;
        let _ = topology::sysctl(&format!("ipv6/conf/{}/disable_ipv6", self.port), "1");
        let mut batch = Batch::default();
        batch.enslave(port, net::interface_index(BRIDGE)?).up(port);
        outer.commit(batch)?;
        process::setns(self.container, ns::NET).context("cannot enter the container's network namespace")?;
        let _ = topology::sysctl(&format!("ipv6/conf/{}/accept_dad", interface), "0");
        let index = net::interface_index(interface)?;
        let mut batch = Batch::default();
        batch.up(index);
        for place in self.attachment.places() {
            batch.address(index, place.address, place.prefix);
        }
        inner.commit(batch).context("cannot set up the container's addresses")?;
        if self.leads_out {
            lead_out(&inner, self.attachment, self.resolvers)?;
        }
        topology::open_ports()
    }
}

fn remove(netlink: &Netlink, interface: &str) -> Result<()> {
    let Ok(index) = net::interface_index(interface) else { return Ok(()) };
    let mut batch = Batch::default();
    batch.delete(index);
    // Its peer's namespace may be going at this moment.
    let _ = netlink.commit(batch);
    Ok(())
}
