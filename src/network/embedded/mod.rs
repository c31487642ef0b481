//! The gateway: a container's whole network in one process, with kernel TCP on both sides of it.
//!
//! ```text
//!  host netns            gateway's netns G                   container's netns C
//!  sockets  <- splice ->  listeners  <- nft <-  gw0 ====== eth0
//!  (the mover)            (the maker)                        (payload; cannot touch G)
//! ```
//!
//! Started by Monitor, a fork without exec, one for each container. Namespaces: user U, mount the host's; network: the main thread, which
//! moves every byte, has the host's, the other made G and lives in it, to make sockets there. Owns all sockets, the published ports
//! and one end of a conversation with Monitor; until it is connected also one with Init, over which C comes in and readiness goes out.
//! Waits in epoll. Ends with the conversation with Monitor, or when told of the container's end, once what that had sent is delivered
//! (drain.rs). Confined before the first packet (sandbox.rs).

pub mod addresses;
mod answers;
mod dns;
mod drain;
mod echo;
mod engine;
mod guard;
pub mod hub;
mod listeners;
mod names;
mod packet;
mod pipes;
mod relay;
mod resolver;
mod sandbox;
mod sessions;
mod slab;
mod stock;
mod tcp;
pub mod topology;
mod udp;

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};

use self::addresses::Networks;
use self::engine::{Beginning, Engine};
use self::guard::Guard;
use self::resolver::Resolver;
use self::stock::Stock;
use self::topology::{Begun, Inside};
use super::carrier::{self, Carrier};
use super::egress::Egress;
use super::ports::Published;
use super::{Gateway, Method};
use crate::role::Role;
use crate::sys::process;
use crate::sys::sock;

/// What makes one gateway another than the next.
pub struct Given<'a> {
    /// The container's name.
    pub name: &'a str,
    pub gateway: Gateway,
    /// What the container may reach; None: everything.
    pub egress: Option<&'a Egress>,
    /// Where to tell of it.
    pub log: Option<OwnedFd>,
}

/// Forks the gateway of a container. The caller is a member of U with one thread.
pub fn start(given: Given, published: &mut Vec<Published>) -> Result<Carrier> {
    Carrier::start("gateway", |monitor, init| live(given, std::mem::take(published), monitor, init))
}

/// Whether a gateway could be made here in this way: its first step, for a process in a user namespace that may be lost, as its network
/// will be.
pub fn probe(method: Method) -> Result<()> {
    topology::begin(packet::secret([0; 4]), Networks::of_one(), Some(method)).map(drop)
}

/// Lives the gateway's life.
fn live(given: Given, published: Vec<Published>, monitor: OwnedFd, init: OwnedFd) -> ! {
    let sockets = published.iter().map(|published| published.socket.as_raw_fd());
    let own = [monitor.as_raw_fd(), init.as_raw_fd()];
    let keep: Vec<i32> = sockets.chain(own).chain(given.log.as_ref().map(AsRawFd::as_raw_fd)).collect();
    let _ = process::close_all_but(&keep);
    process::set_title(&Role::Gateway.title(given.name), &Role::Gateway.comm());
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = nix::unistd::chdir(c"/");
    let begun = begin(given, published, monitor, &init);
    carrier::report(init.as_fd(), &begun);
    drop(init);
    let ended = begun.and_then(|mut engine| engine.run());
    process::exit_now(ended.is_err().into())
}

/// Sets everything up for one container.
fn begin(given: Given, published: Vec<Published>, monitor: OwnedFd, init: &OwnedFd) -> Result<Engine> {
    let (networks, inits) = (Networks::of_one(), init.try_clone()?);
    let join = move |begun: Begun| {
        let mut buffer = [0; 8];
        let (_, fds) = sock::receive(inits.as_fd(), &mut buffer).context("cannot hear the container's first process")?;
        begun.connect(fds.into_iter().next().context("the container's first process gave up")?)
    };
    let Given { gateway: Gateway { host_loopback, method }, egress, log, .. } = given;
    let guard = egress.map(|egress| Guard::new(egress.clone(), log));
    let of_one = |inside| Beginning { published, host_loopback, guard, monitor: Some(monitor), ..inside };
    set_up((networks, method), join, of_one)
}

/// Sets everything up, and gives up what was needed for that. `join` completes G in the thread that stays there; `rest` says for whom it
/// all is.
fn set_up(
    (networks, method): (Networks, Option<Method>),
    join: impl FnOnce(Begun) -> Result<Inside> + Send + 'static,
    rest: impl FnOnce(Beginning) -> Beginning,
) -> Result<Engine> {
    let mut random = [0; 4];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).context("cannot read /dev/urandom")?;
    let secret = packet::secret(random);
    let stock = Stock::default();
    let (send, receive) = mpsc::channel();
    let makers = stock.clone();
    let maker = thread::Builder::new().name("rl:gateway-g".into()).stack_size(256 << 10);
    maker
        .spawn(move || make(|| topology::begin(secret, networks, method).and_then(join), &makers, &send))
        .context("cannot start a thread")?;
    let resolver = Resolver::open();
    let readable = Resolver::directories();
    let inside = receive.recv().context("the gateway's other thread died")??;
    let (published, host_loopback, guard, monitor, hub) = (Vec::new(), false, None, None, None);
    let beginning = Beginning { inside, stock, resolver, published, networks, host_loopback, guard, secret, monitor, hub };
    let engine = Engine::new(rest(beginning))?;
    // From outside nobody of the same user may look into it either.
    process::set_dumpable(false)?;
    sandbox::restrict_mover(&readable)?;
    Ok(engine)
}

/// The thread in G: makes what is there, then sockets for as long as the process lives.
fn make(g: impl FnOnce() -> Result<Inside>, stock: &Stock, to: &mpsc::Sender<Result<Inside>>) {
    let made = g().and_then(|inside| sandbox::restrict_maker().map(|()| inside));
    let keep_on = made.is_ok();
    if to.send(made).is_ok() && keep_on {
        stock.keep();
    }
}
