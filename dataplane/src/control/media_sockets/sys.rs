//! `recvmsg` with control messages: the error queue of a socket.
#![expect(unsafe_code, reason = "recvmsg with control messages has no safe wrapper")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

/// Room for control messages, in words: an extended error with its address.
const CONTROL_WORDS: usize = 32;
/// RFC 792: destination unreachable, fragmentation needed. RFC 4443 §3.2: packet too big.
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;

#[derive(Debug)]
pub struct ReceivedError {
    /// To whom the quoted packet went, and the MTU of the link that it did not fit; `None` for other errors.
    pub too_big: Option<(SocketAddr, u32)>,
    /// Of what is quoted behind the UDP header.
    pub len: usize,
}

fn set(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value outlives the call and has the length given.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// ICMP errors are queued, path MTUs among them.
pub fn ask_for_errors(socket: &UdpSocket, v6: bool) -> io::Result<()> {
    let options = if v6 {
        [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
        ]
    } else {
        [
            (libc::IPPROTO_IP, libc::IP_RECVERR, 1),
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        ]
    };
    options.into_iter().try_for_each(|(level, name, value)| set(socket, level, name, value))
}

/// What came with a message.
#[derive(Default)]
struct Message {
    len: usize,
    address: Option<SocketAddr>,
    /// Origin, type, code and info of an extended error.
    error: Option<(u8, u8, u8, u32)>,
}

pub fn receive_error(socket: &UdpSocket, quoted: &mut [u8]) -> io::Result<ReceivedError> {
    let message = recvmsg(socket, quoted, libc::MSG_ERRQUEUE)?;
    let too_big = message.error.filter(|(origin, kind, code, _)| {
        (*origin, *kind, *code) == (libc::SO_EE_ORIGIN_ICMP, UNREACHABLE, FRAGMENTATION_NEEDED)
            || (*origin, *kind) == (libc::SO_EE_ORIGIN_ICMP6, PACKET_TOO_BIG)
    });
    let too_big = message.address.zip(too_big).map(|(to, (_, _, _, mtu))| (to, mtu));
    Ok(ReceivedError { too_big, len: message.len })
}

fn recvmsg(socket: &UdpSocket, bytes: &mut [u8], flags: libc::c_int) -> io::Result<Message> {
    let mut control = [0_u64; CONTROL_WORDS];
    // SAFETY: all-zero is a valid sockaddr_storage, and a valid msghdr.
    let (mut address, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: every pointer in the header is to memory of the length given with it, which outlives the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut message = Message { len: len.unsigned_abs().min(bytes.len()), ..Message::default() };
    message.address = socket_address(&address);
    // SAFETY: the kernel has written whole control messages and their total length; the macros stay within it.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const header);
        while !at.is_null() {
            read_control(at, &mut message);
            at = libc::CMSG_NXTHDR(&raw const header, at);
        }
    }
    // A datagram that is cut is none.
    if header.msg_flags & libc::MSG_TRUNC != 0 && message.error.is_none() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(message)
}

/// # Safety
/// `at` is a whole control message that the kernel wrote.
unsafe fn read_control(at: *const libc::cmsghdr, message: &mut Message) {
    // SAFETY: by the caller; the data of each type has at least the length read, and any alignment is right.
    unsafe {
        let data = libc::CMSG_DATA(at);
        match ((*at).cmsg_level, (*at).cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                let error = data.cast::<libc::sock_extended_err>().read_unaligned();
                message.error = Some((error.ee_origin, error.ee_type, error.ee_code, error.ee_info));
            }
            _ => {}
        }
    }
}

fn socket_address(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let at = &raw const *address;
    match libc::c_int::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the storage is large enough for each.
            let v4 = unsafe { at.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { at.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from_octets(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
