//! Decides what the container may reach, where that is not simply everything, and tells Monitor's log of it (network/egress.rs has the
//! rules). A host's name stands for the addresses that its question was answered with here; who asks a server of his own has none.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::answers;
use super::engine::Engine;
use crate::network::egress::{self, Egress};

/// Addresses whose names are remembered, and names of each; the oldest are forgotten.
const ADDRESSES: usize = 4096;
const NAMES: usize = 16;

/// See the module.
pub struct Guard {
    egress: Egress,
    /// A pipe that does not block.
    log: Option<OwnedFd>,
    /// Lines that it did not take.
    lost: usize,
    names: HashMap<IpAddr, Vec<Box<str>>>,
    order: VecDeque<IpAddr>,
}

impl Guard {
    /// Refuses everything, and tells nobody.
    pub fn closed() -> Guard {
        Guard::new(Egress { deny: true, ..Egress::default() }, None)
    }

    pub fn new(egress: Egress, log: Option<OwnedFd>) -> Guard {
        Guard { egress, log, lost: 0, names: HashMap::new(), order: VecDeque::new() }
    }

    /// Whether anything is refused at all.
    pub fn denies(&self) -> bool {
        self.egress.deny
    }

    /// Whether this address, as the container calls it, may be reached.
    pub fn admits(&mut self, protocol: &str, address: IpAddr, port: Option<u16>) -> bool {
        let names = self.names.get(&address).map_or(&[][..], Vec::as_slice);
        let admitted = self.egress.admits(address, port, names.iter().map(|name| &**name));
        if self.is_told(admitted) {
            let name = names.last().map(|name| &**name);
            let line = egress::line(admitted, protocol, egress::shown(address, port), name);
            self.tell(&line);
        }
        admitted
    }

    /// Whether this question may be asked.
    pub fn admits_question(&mut self, message: &[u8]) -> bool {
        let question = answers::question(message);
        let admitted = question.as_ref().map_or(!self.egress.deny, |name| self.egress.admits_name(name));
        if self.is_told(admitted) {
            let line = egress::line(admitted, "dns", question.as_deref().unwrap_or("?"), None);
            self.tell(&line);
        }
        admitted
    }

    /// Remembers what a question was answered with.
    pub fn learn(&mut self, question: &[u8], answer: &[u8]) {
        let Some(name) = answers::question(question) else { return };
        for address in answers::addresses(&name, answer) {
            let names = self.names.entry(address).or_insert_with(|| {
                self.order.push_back(address);
                Vec::new()
            });
            names.retain(|known| **known != *name);
            names.push(name.as_str().into());
            if names.len() > NAMES {
                names.remove(0);
            }
        }
        while self.order.len() > ADDRESSES {
            self.order.pop_front().and_then(|address| self.names.remove(&address));
        }
    }

    fn is_told(&self, admitted: bool) -> bool {
        self.log.is_some() && (self.egress.log || !admitted)
    }

    fn tell(&mut self, line: &str) {
        let Some(log) = &self.log else { return };
        if self.lost > 0 && nix::unistd::write(log, format!("… {} lines lost\n", self.lost).as_bytes()).is_ok() {
            self.lost = 0;
        }
        if self.lost > 0 || nix::unistd::write(log, line.as_bytes()).is_err() {
            self.lost += 1;
        }
    }
}

impl Engine {
    /// Who decides for this container; None: it may reach everything.
    pub(super) fn guard(&mut self, client: IpAddr) -> Option<&mut Guard> {
        match &mut self.hub {
            Some(hub) => hub.guard(client),
            None => self.guard.as_mut(),
        }
    }

    /// Whether a container may reach this address, as it calls it; port None: by ICMP echo.
    pub(super) fn admits(&mut self, client: IpAddr, protocol: &str, address: IpAddr, port: Option<u16>) -> bool {
        self.guard(client).is_none_or(|guard| guard.admits(protocol, address, port))
    }

    /// Whether a container may ask this.
    pub(super) fn admits_question(&mut self, client: IpAddr, question: &[u8]) -> bool {
        self.guard(client).is_none_or(|guard| guard.admits_question(question))
    }

    /// A container is about to hear this answer.
    pub(super) fn learn(&mut self, client: IpAddr, question: &[u8], answer: &[u8]) {
        self.guard(client).into_iter().for_each(|guard| guard.learn(question, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str]) -> Guard {
        let rules: Vec<egress::Rule> = allow.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(Egress::new(Some(true), &rules, false, &[]).unwrap().unwrap(), None)
    }

    #[test]
    fn a_name_admits_what_it_was_answered_with() {
        let mut guard = guard(&["a.test:80"]);
        let (address, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(!guard.admits("tcp", address, Some(80)));
        let asked = answers::tests::question("A.test");
        assert!(guard.admits_question(&asked) && !guard.admits_question(&answers::tests::question("b.test")));
        guard.learn(&asked, &answers::tests::answer("a.test", &[("a.test", address)]));
        assert!(guard.admits("tcp", address, Some(80)) && !guard.admits("tcp", address, Some(81)));
        assert!(!guard.admits("tcp", other, Some(80)) && !guard.admits("icmp", address, None));
        assert!(!guard.admits_question(&asked[..14]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = guard(&["*.test"]);
        let asked = answers::tests::question("a.test");
        for n in 0..ADDRESSES as u32 + 10 {
            guard.learn(&asked, &answers::tests::answer("a.test", &[("a.test", IpAddr::V4(n.into()))]));
        }
        assert_eq!((guard.names.len(), guard.order.len()), (ADDRESSES, ADDRESSES));
        assert!(!guard.admits("tcp", IpAddr::V4(3.into()), Some(1)) && guard.admits("tcp", IpAddr::V4(99.into()), Some(1)));
        for n in 0..2 * NAMES {
            let name = format!("n{n}.test");
            guard.learn(&answers::tests::question(&name), &answers::tests::answer(&name, &[(&name, IpAddr::V4(99.into()))]));
        }
        assert_eq!(guard.names[&IpAddr::V4(99.into())].len(), NAMES);
    }
}
