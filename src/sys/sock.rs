//! Conversations between our own processes: SEQPACKET pairs, descriptors along with messages (unix(7), cmsg(3)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, recv,
    recvmsg, sendmsg, socketpair,
};

/// Descriptors that one message may carry.
const MAX_FDS: usize = 8;

/// Both ends of a new conversation (SOCK_SEQPACKET: messages keep their bounds, and EOF says that the peer has died).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The address of the socket `name` in a directory: by descriptor, since a path may be longer than an address (unix(7): 108 bytes).
fn address(directory: BorrowedFd, name: &str) -> io::Result<UnixAddr> {
    Ok(UnixAddr::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).as_str())?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?)
}

/// A socket to be found under `name` in a directory; what was there before is replaced.
pub fn listen(directory: BorrowedFd, name: &str) -> io::Result<OwnedFd> {
    use nix::unistd::{UnlinkatFlags, unlinkat};
    let (listener, address) = (socket()?, address(directory, name)?);
    match bind(listener.as_raw_fd(), &address) {
        Err(nix::errno::Errno::EADDRINUSE) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            bind(listener.as_raw_fd(), &address)?;
        }
        bound => bound?,
    }
    nix::sys::socket::listen(&listener, Backlog::MAXCONN)?;
    Ok(listener)
}

/// The next conversation that somebody begins with a listener.
pub fn accept(listener: BorrowedFd) -> io::Result<OwnedFd> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Begins a conversation with whoever listens under `name` in a directory.
pub fn connect(directory: BorrowedFd, name: &str) -> io::Result<OwnedFd> {
    let socket = socket()?;
    nix::sys::socket::connect(socket.as_raw_fd(), &address(directory, name)?)?;
    Ok(socket)
}

/// Sends one message, with descriptors (SCM_RIGHTS). EPIPE when the peer is gone, never SIGPIPE.
pub fn send(socket: BorrowedFd, message: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
    send_with(socket, message, fds, MsgFlags::empty())
}

/// The same, but where the peer has not read what was sent before, it fails instead of waiting.
pub fn send_now(socket: BorrowedFd, message: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
    send_with(socket, message, fds, MsgFlags::MSG_DONTWAIT)
}

fn send_with(socket: BorrowedFd, message: &[u8], fds: &[BorrowedFd], flags: MsgFlags) -> io::Result<()> {
    let raw: Vec<i32> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage] = if raw.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[io::IoSlice::new(message)], control, flags | MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// Receives one message of at most `longest` bytes and what descriptors came along. An empty one is EOF: the peer is gone.
pub fn receive_message(socket: BorrowedFd, longest: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    // Asked for first: a process that has just been forked pays for each page of a buffer.
    let length = loop {
        match recv(socket.as_raw_fd(), &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => {}
            other => break other?,
        }
    };
    if length > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is too long")));
    }
    let mut message = vec![0; length];
    let (length, fds) = receive(socket, &mut message)?;
    message.truncate(length);
    Ok((message, fds))
}

/// Receives one message into `buffer` and what descriptors came along (CLOEXEC). A length of 0 is EOF: the peer is gone.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([i32; MAX_FDS]);
    loop {
        let mut parts = [io::IoSliceMut::new(buffer)];
        let result = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = match result {
            // A peer that died with our messages unread: told once, and after that comes what it had still said.
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => continue,
            other => other?,
        };
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: the kernel has just installed these descriptors for us; nobody else owns them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        return Ok((message.bytes, fds));
    }
}

/// Waits until there is something to read; of a pidfd, until its process has ended (pidfd_open(2)).
pub fn wait_readable(fd: impl AsFd) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut set = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut set, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

/// True when the peer of a conversation has gone (poll(2), POLLHUP).
pub fn hung_up(socket: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut set = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    poll(&mut set, PollTimeout::ZERO).is_ok_and(|n| n > 0) && set[0].any().unwrap_or(false)
}
