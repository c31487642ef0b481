//! Asking systemd for a scope: connect, send everything at once, and much later wait for the answer (org.freedesktop.systemd1(5)).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::dbus::{self, Address, Body, Call, Connection, Value};
use super::delegate::{Base, ROOT, Wish, cgroup_of, check_controllers};
use super::tree;

/// How long systemd may take. On a busy machine a scope takes some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request for a scope: connected, then sent, then answered.
pub struct ScopeRequest {
    uid: u32,
    wish: Wish,
    candidates: Vec<(Address, bool)>,
    connection: Option<(Connection, bool)>,
    unit: String,
    call: u32,
}

/// The first PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO).
const HOSTS_PIDS: &str = "pid:[4026531836]";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const SYSTEMD_MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

impl ScopeRequest {
    /// Connects to the first server that is there: systemd's own socket, the session's bus, the user's bus. By uid, since after `su`
    /// and under cron the environment is somebody else's or nobody's.
    pub fn connect(uid: u32, wish: &Wish) -> Option<ScopeRequest> {
        // In another PID namespace our numbers mean other processes to systemd.
        if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != HOSTS_PIDS) {
            return None;
        }
        let mut candidates = Vec::new();
        let path = |path: String| Address::Path(path);
        if uid == 0 {
            candidates.push((path("/run/systemd/private".into()), true));
            candidates.push((path("/run/dbus/system_bus_socket".into()), false));
        } else {
            let runtime = format!("/run/user/{uid}");
            let has_session = std::path::Path::new(&runtime).exists();
            let session = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
            candidates.extend(has_session.then(|| (path(format!("{runtime}/systemd/private")), true)));
            candidates.extend(dbus::addresses(&session).into_iter().map(|address| (address, false)));
            candidates.extend(has_session.then(|| (path(format!("{runtime}/bus")), false)));
        }
        candidates.reverse();
        let (unit, wish) = (format!("{}.scope", wish.unit()), wish.clone());
        let mut request = ScopeRequest { uid, wish, candidates, connection: None, unit, call: 0 };
        request.connect_next().then_some(request)
    }

    /// What the answer is to be.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Who was found, for people.
    pub fn server(&self) -> &'static str {
        match self.connection {
            Some((_, true)) => "the session's own socket",
            _ => "the session's bus",
        }
    }

    fn connect_next(&mut self) -> bool {
        self.connection = None;
        let deadline = Instant::now() + PATIENCE;
        while let Some((address, private)) = self.candidates.pop() {
            if let Ok(connection) = Connection::open(&address, deadline) {
                self.connection = Some((connection, private));
                return true;
            }
        }
        false
    }

    /// Sends everything at once. A server that is already gone is noticed by [`wait`](Self::wait).
    pub fn send(&mut self, pid: i32) {
        let (unit, wish, uid) = (self.unit.clone(), self.wish.clone(), self.uid);
        let Some((connection, private)) = &mut self.connection else { return };
        let mut messages = Vec::new();
        if !*private {
            let hello = Call {
                destination: BUS,
                path: "/org/freedesktop/DBus",
                interface: BUS,
                member: "Hello",
                signature: "",
                flags: 0,
            };
            messages.push(hello.message(connection.next_serial(), &Body::default()));
            let mut rule = Body::default();
            rule.string(&format!("type='signal',interface='{SYSTEMD_MANAGER}',member='JobRemoved',path='{SYSTEMD_PATH}'"));
            let add = Call { member: "AddMatch", signature: "s", flags: dbus::NO_REPLY, ..hello };
            messages.push(add.message(connection.next_serial(), &rule));
            let subscribe = systemd_call("Subscribe", "", dbus::NO_REPLY);
            messages.push(subscribe.message(connection.next_serial(), &Body::default()));
        }
        self.call = connection.next_serial();
        let start = systemd_call("StartTransientUnit", "ssa(sv)a(sa(sv))", 0);
        messages.push(start.message(self.call, &transient_scope(&unit, &wish, pid)));
        let _ = connection.begin(uid, &messages);
    }

    /// Until the job is done. The next server is tried where one does not accept us, another name where this one is taken.
    pub fn wait(&mut self, pid: i32) -> Result<Base> {
        loop {
            match self.outcome() {
                Ok(Outcome::Done) => break,
                Ok(Outcome::NameTaken) if !self.unit.contains("-again-") => {
                    // By another store's container, or by what is left of an earlier life of this one.
                    self.unit = format!("{}-again-{}.scope", self.wish.unit(), random()?);
                    let mut again = ScopeRequest::connect(self.uid, &self.wish).context("systemd is gone")?;
                    again.unit = std::mem::take(&mut self.unit);
                    *self = again;
                    self.send(pid);
                }
                Ok(Outcome::NameTaken) => bail!("systemd has a unit {} already", self.unit),
                Ok(Outcome::Failed(why)) => {
                    return Err(anyhow!("{why}")).with_context(|| format!("systemd cannot start {}", self.unit));
                }
                Err(error) => {
                    if !self.connect_next() {
                        return Err(error).context("cannot talk to the systemd session");
                    }
                    self.send(pid);
                }
            }
        }
        self.open(pid)
    }

    fn outcome(&mut self) -> Result<Outcome> {
        let (call, unit) = (self.call, self.unit.clone());
        let (connection, _) = self.connection.as_mut().context("no connection")?;
        let mut job = None;
        let mut removed = Vec::new();
        loop {
            let message = connection.receive()?;
            match message.kind {
                dbus::RETURN if message.reply_serial == Some(call) => job = Some(message.body().string()?),
                dbus::ERROR if message.reply_serial == Some(call) => {
                    let why = message.body().string().unwrap_or_default();
                    let taken = message.error_name == "org.freedesktop.systemd1.UnitExists";
                    return Ok(if taken {
                        Outcome::NameTaken
                    } else {
                        Outcome::Failed(format!("{why} ({})", message.error_name))
                    });
                }
                dbus::ERROR => bail!("{}: {}", message.error_name, message.body().string().unwrap_or_default()),
                dbus::SIGNAL if message.interface == SYSTEMD_MANAGER && message.member == "JobRemoved" => {
                    let mut body = message.body();
                    let (_, path, name, result) = (body.u32()?, body.string()?, body.string()?, body.string()?);
                    if name == unit {
                        removed.push((path, result));
                    }
                }
                _ => {}
            }
            // The call succeeds when the job is queued; whether there is a scope is known when the job has ended.
            let ended = removed.iter().find(|(path, _)| Some(path) == job.as_ref());
            match ended.map(|(_, result)| result.as_str()) {
                Some("done") => return Ok(Outcome::Done),
                Some(result) => return Ok(Outcome::Failed(format!("its job ended as \"{result}\""))),
                None => {}
            }
        }
    }

    /// The scope's directory: where process `pid` is now.
    fn open(&self, pid: i32) -> Result<Base> {
        let path = cgroup_of(&pid.to_string())?;
        if !path.ends_with(&self.unit) {
            bail!("systemd says that process {pid} is in {}, and it is in {path}", self.unit);
        }
        let directory: OwnedFd =
            File::open(format!("{ROOT}{path}")).with_context(|| format!("cannot open the cgroup {path}"))?.into();
        check_controllers(&tree::words(directory.as_fd(), "cgroup.controllers"), &self.wish.settings)?;
        Ok(Base { path, directory, parent: None })
    }
}

enum Outcome {
    Done,
    NameTaken,
    Failed(String),
}

fn systemd_call<'a>(member: &'a str, signature: &'a str, flags: u8) -> Call<'a> {
    Call { destination: SYSTEMD, path: SYSTEMD_PATH, interface: SYSTEMD_MANAGER, member, signature, flags }
}

/// The arguments of StartTransientUnit. Collected when it has failed too, so that its name is free again.
fn transient_scope(unit: &str, wish: &Wish, pid: i32) -> Body {
    let text = |text: &str| Value::Text(text.into());
    let mut properties = vec![
        ("Description", text(&wish.description())),
        ("PIDs", Value::U32s(vec![pid as u32])),
        ("Delegate", Value::Bool(true)),
        ("CollectMode", text("inactive-or-failed")),
        ("TasksMax", Value::U64(wish.tasks_max.unwrap_or(u64::MAX))),
    ];
    properties.extend(wish.parent.as_ref().map(|slice| ("Slice", text(slice))));
    let mut body = Body::default();
    body.string(unit).string("fail");
    body.array(8, |body| {
        properties.iter().for_each(|(name, value)| {
            body.property(name, value);
        })
    });
    body.array(8, |_| {});
    body
}

fn random() -> Result<String> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
