//! Sockets of the internet protocols as the gateway uses them: transparent, spliced, and with the address a datagram was
//! really sent to (ip(7), ipv6(7), tcp(7), splice(2)). All are CLOEXEC and never block.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cvt;

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Tcp,
    Udp,
    /// The kernel's ping socket (icmp(7)).
    Icmp,
}

/// A socket of the family of `like` in this thread's network namespace.
pub fn socket(transport: Transport, like: IpAddr) -> io::Result<OwnedFd> {
    let (kind, protocol) = match (transport, like) {
        (Transport::Tcp, _) => (libc::SOCK_STREAM, 0),
        (Transport::Udp, _) => (libc::SOCK_DGRAM, 0),
        (Transport::Icmp, IpAddr::V4(_)) => (libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        (Transport::Icmp, IpAddr::V6(_)) => (libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
    };
    let socket = raw_socket(family(like), kind, protocol)?;
    if like.is_ipv6() {
        // An IPv4-mapped address would be a way around every rule about IPv4.
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    Ok(socket)
}

fn family(address: IpAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

pub(super) fn raw_socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the result is a new descriptor.
    let fd = cvt(unsafe { libc::socket(family, kind, protocol) }.into())?;
    // SAFETY: nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn set(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_bytes(socket.as_raw_fd(), level, name, &value.to_ne_bytes())
}

pub(super) fn set_bytes(fd: RawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`.
    cvt(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as u32) }.into())?;
    Ok(())
}

/// Lets a socket be bound to addresses that are not this host's, and accept for them (IP_TRANSPARENT; needs CAP_NET_RAW).
pub fn set_transparent(socket: &OwnedFd, like: IpAddr) -> io::Result<()> {
    match like {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
    }
}

/// SO_REUSEADDR.
pub fn set_reuse_address(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// Each datagram tells the address it was sent to, whoever it was redirected to ([`receive_from`]).
pub fn set_original_destination(socket: &OwnedFd, like: IpAddr) -> io::Result<()> {
    match like {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR, 1),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR, 1),
    }
}

/// Each datagram tells the address of this host that it came to ([`receive_from`]; the port is that of the socket, given as 0).
pub fn set_packet_info(socket: &OwnedFd, like: IpAddr) -> io::Result<()> {
    match like {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// What a relayed stream needs: no waiting for more to send, and urgent bytes in their place among the others.
pub fn set_relayed(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)
}

/// Has a TCP socket send without regard to a network's ways, by the one congestion control that every kernel has (tcp(7), TCP_CONGESTION):
/// for a peer on this host, to whom a paced one (BBR) only wakes up more often.
pub fn set_unpaced(socket: &OwnedFd) -> io::Result<()> {
    set_bytes(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"reno")
}

/// Makes the coming close of a TCP socket a reset (SO_LINGER with no time).
pub fn set_reset_on_close(socket: &OwnedFd) -> io::Result<()> {
    set_bytes(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &[1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat())
}

/// Asks for a receive buffer of so many bytes; the kernel gives at most net.core.rmem_max.
pub fn set_receive_buffer(socket: &OwnedFd, size: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, size)
}

/// A socket address as the kernel has it.
#[repr(C)]
union Address {
    storage: libc::sockaddr_storage,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

fn to_raw(address: SocketAddr) -> (Address, u32) {
    // SAFETY: sockaddr_storage is plain data for which zero is valid.
    let mut raw = Address { storage: unsafe { std::mem::zeroed() } };
    match address {
        SocketAddr::V4(v4) => {
            raw.v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            (raw, size_of::<libc::sockaddr_in>() as u32)
        }
        SocketAddr::V6(v6) => {
            raw.v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (raw, size_of::<libc::sockaddr_in6>() as u32)
        }
    }
}

fn from_raw(raw: &Address) -> io::Result<SocketAddr> {
    // SAFETY: every variant begins with the family, and each is plain data within the zeroed storage.
    unsafe {
        match i32::from(raw.storage.ss_family) {
            libc::AF_INET => Ok(v4(&raw.v4).into()),
            libc::AF_INET6 => Ok(v6(&raw.v6).into()),
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }
}

fn v4(raw: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes()), u16::from_be(raw.sin_port))
}

fn v6(raw: &libc::sockaddr_in6) -> SocketAddrV6 {
    SocketAddrV6::new(raw.sin6_addr.s6_addr.into(), u16::from_be(raw.sin6_port), raw.sin6_flowinfo, raw.sin6_scope_id)
}

/// bind(2).
pub fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (raw, length) = to_raw(address);
    // SAFETY: pointer and length describe a valid address.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), length) }.into())?;
    Ok(())
}

/// connect(2); EINPROGRESS is success: [`take_error`] tells more when the socket is writable.
pub fn connect(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (raw, length) = to_raw(address);
    // SAFETY: pointer and length describe a valid address.
    match cvt(unsafe { libc::connect(socket.as_raw_fd(), (&raw const raw).cast(), length) }.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other.map(drop),
    }
}

/// listen(2) with the longest queue the kernel allows.
pub fn listen(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::listen(socket.as_raw_fd(), i32::MAX) }.into())?;
    Ok(())
}

/// accept4(2): the connection and its peer.
pub fn accept(socket: &OwnedFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let (mut raw, mut length) = (Address { storage: zeroed_storage() }, size_of::<Address>() as u32);
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the kernel writes at most `length` bytes of address.
    let fd = cvt(unsafe { libc::accept4(socket.as_raw_fd(), (&raw mut raw).cast(), &raw mut length, flags) }.into())?;
    // SAFETY: nobody else owns the new descriptor.
    let connection = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    Ok((connection, from_raw(&raw)?))
}

fn zeroed_storage() -> libc::sockaddr_storage {
    // SAFETY: plain data for which zero is valid.
    unsafe { std::mem::zeroed() }
}

/// The address a socket is bound to (getsockname(2)); under TPROXY the one the client wanted.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let (mut raw, mut length) = (Address { storage: zeroed_storage() }, size_of::<Address>() as u32);
    // SAFETY: the kernel writes at most `length` bytes of address.
    cvt(unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut raw).cast(), &raw mut length) }.into())?;
    from_raw(&raw)
}

/// The address of who a socket is connected to (getpeername(2)).
pub fn peer_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let (mut raw, mut length) = (Address { storage: zeroed_storage() }, size_of::<Address>() as u32);
    // SAFETY: the kernel writes at most `length` bytes of address.
    cvt(unsafe { libc::getpeername(socket.as_raw_fd(), (&raw mut raw).cast(), &raw mut length) }.into())?;
    from_raw(&raw)
}

/// The pending error of a socket, cleared (SO_ERROR): how a connect ended.
pub fn take_error(socket: &OwnedFd) -> io::Result<()> {
    let (mut error, mut length) = (0i32, 4u32);
    let place = (&raw mut error).cast();
    // SAFETY: the kernel writes at most 4 bytes.
    cvt(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, place, &raw mut length) }.into())?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// No more will be sent (shutdown(2), SHUT_WR).
pub fn shutdown_write(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }.into())?;
    Ok(())
}

/// Moves up to `length` bytes between a socket and a pipe without copying (splice(2)).
pub fn splice(from: &OwnedFd, to: &OwnedFd, length: usize) -> io::Result<usize> {
    let (none, flags) = (std::ptr::null_mut(), libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK);
    // SAFETY: no offsets; both descriptors are open for the call.
    cvt(unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, length, flags) } as libc::c_long).map(|n| n as usize)
}

/// Makes a pipe hold so many bytes; EPERM where the user's quota is spent (F_SETPIPE_SZ).
pub fn resize_pipe(pipe: &OwnedFd, size: usize) -> io::Result<usize> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, size as i32) }.into()).map(|n| n as usize)
}

/// The size of a pipe in bytes (F_GETPIPE_SZ).
pub fn pipe_size(pipe: &OwnedFd) -> io::Result<usize> {
    // SAFETY: no pointers.
    cvt(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) }.into()).map(|n| n as usize)
}

/// The bytes that wait, without taking them (MSG_PEEK). 0 is the end of the stream.
pub fn peek(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, libc::MSG_PEEK)
}

/// Takes up to `length` bytes of a TCP stream away unseen (tcp(7), MSG_TRUNC).
pub fn discard(socket: &OwnedFd, length: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the buffer, which may then be null.
    let taken = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), length, flags) };
    cvt(taken as libc::c_long).map(|n| n as usize)
}

/// recv(2).
pub fn receive(socket: &OwnedFd, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length describe `buffer`.
    let length = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    cvt(length as libc::c_long).map(|n| n as usize)
}

/// send(2), EPIPE instead of SIGPIPE.
pub fn send(socket: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length describe `bytes`.
    cvt(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) } as libc::c_long).map(|n| n as usize)
}

/// sendto(2).
pub fn send_to(socket: BorrowedFd, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
    let (raw, size) = to_raw(to);
    let (flags, place) = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL, (&raw const raw).cast());
    // SAFETY: pointers and lengths describe `bytes` and a valid address.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags, place, size) };
    cvt(sent as libc::c_long).map(|n| n as usize)
}

/// A datagram that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    pub length: usize,
    pub from: SocketAddr,
    /// What the socket was asked to tell: [`set_original_destination`] or [`set_packet_info`].
    pub to: Option<SocketAddr>,
}

/// Room for the control messages of one datagram, aligned as cmsghdr wants it.
#[repr(C, align(8))]
struct Control([u8; 128]);

fn header(name: &mut Address, length: u32, part: &mut libc::iovec, control: &mut Control, used: usize) -> libc::msghdr {
    // SAFETY: msghdr is plain data for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut *name).cast();
    header.msg_namelen = length;
    header.msg_iov = part;
    header.msg_iovlen = 1;
    if used > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = used as _;
    }
    header
}

/// Receives one datagram (recvmsg(2)).
pub fn receive_from(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut name = Address { storage: zeroed_storage() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 128]);
    let mut message = header(&mut name, size_of::<Address>() as u32, &mut part, &mut control, 128);
    // SAFETY: the header describes memory that outlives the call.
    let length = cvt(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) } as libc::c_long)?;
    let mut to = None;
    // SAFETY: the kernel has filled the control buffer, aligned, and msg_controllen bounds the walk; each payload is read unaligned
    // and has the type that its level and type say (ip(7), ipv6(7)).
    unsafe {
        let mut part = libc::CMSG_FIRSTHDR(&raw const message);
        while !part.is_null() {
            let data = libc::CMSG_DATA(part);
            to = match ((*part).cmsg_level, (*part).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) => Some(v4(&data.cast::<libc::sockaddr_in>().read_unaligned()).into()),
                (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                    Some(v6(&data.cast::<libc::sockaddr_in6>().read_unaligned()).into())
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    Some(SocketAddr::new(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into(), 0))
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let scope = info.ipi6_ifindex as u32;
                    Some(SocketAddrV6::new(info.ipi6_addr.s6_addr.into(), 0, 0, scope).into())
                }
                _ => to,
            };
            part = libc::CMSG_NXTHDR(&raw const message, part);
        }
    }
    Ok(Datagram { length: length as usize, from: from_raw(&name)?, to })
}

/// Sends one datagram to `to`, from the address `from` of this host (IP_PKTINFO).
pub fn send_from(socket: BorrowedFd, bytes: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<usize> {
    let (mut name, length) = to_raw(to);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control([0; 128]);
    let size = match from {
        IpAddr::V4(_) => size_of::<libc::in_pktinfo>(),
        IpAddr::V6(_) => size_of::<libc::in6_pktinfo>(),
    } as u32;
    // SAFETY: no pointers.
    let used = unsafe { libc::CMSG_SPACE(size) } as usize;
    let message = header(&mut name, length, &mut part, &mut control, used);
    // SAFETY: the control buffer has room for one message of `size`, aligned; the kernel only reads the header and what it points to.
    let sent = unsafe {
        let part = libc::CMSG_FIRSTHDR(&raw const message);
        (*part).cmsg_len = libc::CMSG_LEN(size) as _;
        match from {
            IpAddr::V4(from) => {
                (*part).cmsg_level = libc::IPPROTO_IP;
                (*part).cmsg_type = libc::IP_PKTINFO;
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
                libc::CMSG_DATA(part).cast::<libc::in_pktinfo>().write_unaligned(info);
            }
            IpAddr::V6(from) => {
                (*part).cmsg_level = libc::IPPROTO_IPV6;
                (*part).cmsg_type = libc::IPV6_PKTINFO;
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
                libc::CMSG_DATA(part).cast::<libc::in6_pktinfo>().write_unaligned(info);
            }
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    cvt(sent as libc::c_long).map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use std::os::fd::AsFd;

    fn wait(socket: &OwnedFd) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(10_000u16)).unwrap();
    }

    #[test]
    fn a_datagram_tells_where_it_was_sent_and_can_be_answered_from_there() {
        for (home, like) in [("127.0.0.1:0", "127.7.7.7"), ("[::1]:0", "::1")] {
            let (home, like): (SocketAddr, IpAddr) = (home.parse().unwrap(), like.parse().unwrap());
            let server = socket(Transport::Udp, like).unwrap();
            set_packet_info(&server, like).unwrap();
            let wildcard: IpAddr = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            bind(&server, SocketAddr::new(wildcard, 0)).unwrap();
            let port = local_address(&server).unwrap().port();
            let client = socket(Transport::Udp, like).unwrap();
            bind(&client, home).unwrap();
            connect(&client, SocketAddr::new(like, port)).unwrap();
            send(client.as_fd(), b"question").unwrap();
            wait(&server);
            let mut buffer = [0; 100];
            let got = receive_from(&server, &mut buffer).unwrap();
            assert_eq!((&buffer[..got.length], got.to.unwrap().ip()), (&b"question"[..], like));
            send_from(server.as_fd(), b"answer", got.from, like).unwrap();
            wait(&client);
            // The client is connected: it hears only the address it asked.
            assert_eq!(receive(&client, &mut buffer, 0).unwrap(), 6);
        }
    }

    #[test]
    fn a_refused_connect_says_so() {
        let like: IpAddr = Ipv4Addr::LOCALHOST.into();
        let listener = socket(Transport::Tcp, like).unwrap();
        bind(&listener, SocketAddr::new(like, 0)).unwrap();
        let client = socket(Transport::Tcp, like).unwrap();
        let refused = connect(&client, local_address(&listener).unwrap()).and_then(|()| take_error(&client));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
