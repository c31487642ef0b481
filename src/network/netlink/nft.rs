//! nftables: a table with its chains and rules as one transaction (linux/netfilter/nf_tables.h).
//!
//! A rule is a list of expressions over registers; a value is loaded into register 1 and compared, and where the comparison fails
//! the rule ends. [`Expression`] has those we use, in the words of nft(8).

use super::{APPEND, Attributes, Batch, CREATE};

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
const NFT_MSG_DELTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 2;
const NFT_MSG_NEWCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
const NFT_MSG_NEWRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
/// `inet`: IPv4 and IPv6 in one table.
const NFPROTO_INET: u8 = 1;
/// `netdev`: frames of one link.
const NFPROTO_NETDEV: u8 = 5;

/// The register that values go through.
const REGISTER: u32 = 1;
const NFT_REG_VERDICT: u32 = 0;

/// Where in a packet (NFT_PAYLOAD_*_HEADER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// How [`Expression::Reject`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    TcpReset,
    NoRoute,
    PortUnreachable,
    HostUnreachable,
    AdminProhibited,
}

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `meta l4proto`: go on when it is this one.
    Protocol(u8),
    /// Go on when these bytes are there.
    Bytes {
        header: Header,
        offset: u32,
        value: Vec<u8>,
    },
    /// Go on when the byte there, masked, has this value.
    Masked {
        header: Header,
        offset: u32,
        mask: u8,
        value: u8,
    },
    /// `meta mark set`.
    SetMark(u32),
    /// `tproxy to :PORT`, at whatever address the family has.
    Tproxy(u16),
    Reject(Reject),
    Accept,
    Drop,
}

/// A transaction under way.
pub struct Transaction<'a> {
    batch: Batch,
    family: u8,
    table: &'a str,
}

impl<'a> Transaction<'a> {
    /// Begins with a new table of family inet.
    pub fn new(table: &'a str) -> Transaction<'a> {
        Transaction::begin(NFPROTO_INET, table, &[(NFT_MSG_NEWTABLE, CREATE)])
    }

    /// Begins with a table of family netdev, in place of what there may be.
    pub fn of_link(table: &'a str) -> Transaction<'a> {
        const EITHER: u16 = 0x400;
        let anew = [(NFT_MSG_NEWTABLE, EITHER), (NFT_MSG_DELTABLE, 0), (NFT_MSG_NEWTABLE, CREATE)];
        Transaction::begin(NFPROTO_NETDEV, table, &anew)
    }

    /// Begins with these requests about the table: kinds and flags.
    fn begin(family: u8, table: &'a str, requests: &[(u16, u16)]) -> Transaction<'a> {
        let mut batch = Batch::default();
        batch.message("begin", NFNL_MSG_BATCH_BEGIN, 0, &generic(0, NFNL_SUBSYS_NFTABLES), |_| ());
        for (kind, flags) in requests {
            batch.request("create an nftables table", *kind, *flags, &generic(family, 0), |a| a.string(1, table));
        }
        Transaction { batch, family, table }
    }

    /// Adds a chain of `type filter hook ingress`: what comes in by the link, before anybody else has it.
    pub fn ingress(&mut self, name: &str, link: &str) {
        self.chain(name, 0, Some(link));
    }

    /// Adds a chain of `type filter hook prerouting priority mangle`; packets, once its rules are through, go on.
    pub fn prerouting(&mut self, name: &str) {
        const NF_IP_PRI_MANGLE: i32 = -150;
        self.chain(name, NF_IP_PRI_MANGLE, None);
    }

    /// Adds a chain at the family's first hook: prerouting, or the ingress of `link`.
    fn chain(&mut self, name: &str, priority: i32, link: Option<&str>) {
        let table = self.table;
        self.batch.request("create an nftables chain", NFT_MSG_NEWCHAIN, CREATE, &generic(self.family, 0), |a| {
            a.string(1, table);
            a.string(3, name);
            a.nest(4, &[], |a| {
                a.network_number(1, 0);
                a.network_number(2, priority as u32);
                link.into_iter().for_each(|link| a.string(3, link));
            });
            a.string(7, "filter");
        });
    }

    /// Adds a rule at the end of a chain.
    pub fn rule(&mut self, label: &'static str, chain: &str, expressions: &[Expression]) {
        let table = self.table;
        self.batch.request(label, NFT_MSG_NEWRULE, APPEND, &generic(self.family, 0), |a| {
            a.string(1, table);
            a.string(2, chain);
            a.nest(4, &[], |a| expressions.iter().for_each(|e| e.write(a)));
        });
    }

    /// The whole, to be committed at once.
    pub fn finish(mut self) -> Batch {
        self.batch.message("end", NFNL_MSG_BATCH_END, 0, &generic(0, NFNL_SUBSYS_NFTABLES), |_| ());
        self.batch
    }
}

/// `struct nfgenmsg`.
fn generic(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// One entry of a list of expressions: its name and data.
fn expression(a: &mut Attributes, name: &str, data: impl FnOnce(&mut Attributes)) {
    a.nest(1, &[], |a| {
        a.string(1, name);
        a.nest(2, &[], data);
    });
}

fn compare(a: &mut Attributes, value: &[u8]) {
    expression(a, "cmp", |a| {
        a.network_number(1, REGISTER);
        a.network_number(2, 0);
        a.nest(3, &[], |a| a.bytes(1, value));
    });
}

fn load(a: &mut Attributes, header: Header, offset: u32, length: u32) {
    expression(a, "payload", |a| {
        a.network_number(1, REGISTER);
        a.network_number(2, header as u32);
        a.network_number(3, offset);
        a.network_number(4, length);
    });
}

fn immediate(a: &mut Attributes, value: &[u8]) {
    expression(a, "immediate", |a| {
        a.network_number(1, REGISTER);
        a.nest(2, &[], |a| a.bytes(1, value));
    });
}

fn verdict(a: &mut Attributes, code: u32) {
    expression(a, "immediate", |a| {
        a.network_number(1, NFT_REG_VERDICT);
        a.nest(2, &[], |a| a.nest(2, &[], |a| a.network_number(1, code)));
    });
}

impl Expression {
    fn write(&self, a: &mut Attributes) {
        const NFT_META_MARK: u32 = 3;
        const NFT_META_L4PROTO: u32 = 16;
        match self {
            Expression::Protocol(protocol) => {
                expression(a, "meta", |a| {
                    a.network_number(1, REGISTER);
                    a.network_number(2, NFT_META_L4PROTO);
                });
                compare(a, &[*protocol]);
            }
            Expression::Bytes { header, offset, value } => {
                load(a, *header, *offset, value.len() as u32);
                compare(a, value);
            }
            Expression::Masked { header, offset, mask, value } => {
                load(a, *header, *offset, 1);
                expression(a, "bitwise", |a| {
                    a.network_number(1, REGISTER);
                    a.network_number(2, REGISTER);
                    a.network_number(3, 1);
                    a.nest(4, &[], |a| a.bytes(1, &[*mask]));
                    a.nest(5, &[], |a| a.bytes(1, &[0]));
                });
                compare(a, &[*value]);
            }
            Expression::SetMark(mark) => {
                immediate(a, &mark.to_ne_bytes());
                expression(a, "meta", |a| {
                    a.network_number(2, NFT_META_MARK);
                    a.network_number(3, REGISTER);
                });
            }
            Expression::Tproxy(port) => {
                immediate(a, &port.to_be_bytes());
                expression(a, "tproxy", |a| {
                    // NFPROTO_UNSPEC: both families, to the port of whatever address the interface has.
                    a.network_number(1, 0);
                    a.network_number(3, REGISTER);
                });
            }
            Expression::Reject(how) => {
                let (kind, code) = how.codes();
                expression(a, "reject", |a| {
                    a.network_number(1, kind);
                    a.bytes(2, &[code]);
                });
            }
            Expression::Accept => verdict(a, 1),
            Expression::Drop => verdict(a, 0),
        }
    }
}

impl Reject {
    /// NFT_REJECT_* and, for ICMPX, NFT_REJECT_ICMPX_*.
    fn codes(self) -> (u32, u8) {
        match self {
            Reject::TcpReset => (1, 0),
            Reject::NoRoute => (2, 0),
            Reject::PortUnreachable => (2, 1),
            Reject::HostUnreachable => (2, 2),
            Reject::AdminProhibited => (2, 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_bounded_and_names_its_table_in_every_request() {
        let mut transaction = Transaction::new("rl");
        transaction.prerouting("capture");
        transaction.rule("add a rule", "capture", &[Expression::Protocol(6), Expression::Drop]);
        let mut batch = transaction.finish();
        let (bytes, last) = batch.finish();
        assert_eq!(last, 3);
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let kind = u16::from_ne_bytes([bytes[at + 4], bytes[at + 5]]);
            if kind > 0xff {
                assert_eq!(bytes[at + 20..at + 27], *b"\x07\0\x01\0rl\0");
            }
            kinds.push(kind);
            at += length;
        }
        assert_eq!(kinds, [16, 0xa00, 0xa03, 0xa06, 17]);
    }
}
