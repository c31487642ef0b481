//! Whole frames of one network interface: AF_PACKET sockets with a filter (packet(7), socket filters: linux/filter.h).

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use super::inet::{self, raw_socket, set_bytes};
use super::{cvt, net};

/// One instruction of classic BPF (linux/filter.h, `struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub k: u32,
}

const ETH_P_ALL: u16 = 3;
/// `struct virtio_net_hdr`: type of offload in byte 1, length of a segment in bytes 4 and 5 (linux/virtio_net.h).
const OFFLOAD: usize = 10;

/// A socket that gets the frames which come in by `interface` of this thread's network namespace and which `filter` lets through; what
/// is sent on it goes out there. With an empty filter it gets none.
pub fn open(interface: &str, filter: &[Instruction]) -> io::Result<OwnedFd> {
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    let index = net::interface_index(interface)?;
    // Protocol 0: nothing arrives before the filter is there and the address bound.
    let socket = raw_socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    if !filter.is_empty() {
        let fd = socket.as_raw_fd();
        set_bytes(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32.to_ne_bytes())?;
        let mut program: Vec<libc::sock_filter> =
            filter.iter().map(|i| libc::sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.k }).collect();
        let whole = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the kernel reads one sock_fprog and the instructions that it points to.
        let done = unsafe {
            let size = size_of::<libc::sock_fprog>() as u32;
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const whole).cast(), size)
        };
        cvt(done.into())?;
    }
    // SAFETY: sockaddr_ll is plain data for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = if filter.is_empty() { 0 } else { ETH_P_ALL.to_be() };
    address.sll_ifindex = index as i32;
    let size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: pointer and size describe a valid address.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) }.into())?;
    Ok(socket)
}

/// A frame that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it is in the buffer.
    pub bytes: Range<usize>,
    /// Its payload is that of several datagrams, each but the last of this length (udp(7), UDP_SEGMENT).
    pub segment: Option<u16>,
}

/// Has the kernel put IPv4's fragments together, and tell of frames with several datagrams: [`receive`] is for such a socket.
pub fn set_whole(socket: &OwnedFd) -> io::Result<()> {
    const PACKET_VNET_HDR: i32 = 15;
    const PACKET_FANOUT: i32 = 18;
    const PACKET_FANOUT_FLAG_DEFRAG: u32 = 0x8000;
    set_bytes(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, &1i32.to_ne_bytes())?;
    // A group of one, whose number is any: it is for the putting together alone.
    let group = PACKET_FANOUT_FLAG_DEFRAG << 16 | 1;
    set_bytes(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_FANOUT, &group.to_ne_bytes())
}

/// Receives one frame. EINVAL: it had several datagrams, and the kernel (before Linux 6.2) cannot say so; it is lost.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Frame> {
    const VIRTIO_NET_HDR_GSO_UDP_L4: u8 = 5;
    let length = inet::receive(socket, buffer, 0)?;
    let segment = match buffer.get(..OFFLOAD) {
        Some(header) if header[1] & 0x7f == VIRTIO_NET_HDR_GSO_UDP_L4 => Some(u16::from_ne_bytes([header[4], header[5]])),
        _ => None,
    };
    Ok(Frame { bytes: OFFLOAD.min(length)..length, segment: segment.filter(|length| *length > 0) })
}
