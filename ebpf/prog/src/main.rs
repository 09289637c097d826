//! Steers tunnel traffic to AF_XDP and leaves everything else to the kernel.
#![no_std]
#![no_main]

mod maps;
mod parse;

/// The same file that the loader compiles.
#[path = "../../../dataplane/abi/src/bpf.rs"]
#[expect(dead_code, reason = "names and accessors for the loader's side")]
mod layout;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::macros::xdp;
use aya_ebpf::maps::XskMap;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::XdpContext;
use layout::{Counter, MediaPortKey, OWNER_KERNEL};
use maps::{MEDIA_PORTS, PREFIXES_V4, PREFIXES_V6, XSKS_INSIDE, XSKS_OUTSIDE, count};
use parse::{Destination, Other};

/// WAN: UDP to a live media port goes to the dataplane.
#[xdp(frags)]
pub fn outside(ctx: XdpContext) -> u32 {
    let (destination, port) = match parse::udp_destination(&ctx) {
        Ok(found) => found,
        Err(other) => {
            return pass(match other {
                Other::Pass => Counter::OutsidePass,
                Other::Fragment => Counter::OutsideFragment,
                Other::Truncated => Counter::OutsideTruncated,
            });
        }
    };
    let addr = match destination {
        // RFC 4291 §2.5.5.2: the IPv4-mapped form.
        Destination::V4([a, b, c, d]) => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d],
        Destination::V6(addr) => addr,
    };
    // SAFETY: the value is not read; only its presence counts.
    if unsafe { MEDIA_PORTS.get(&MediaPortKey { addr, port, zero: [0; 2] }) }.is_none() {
        return pass(Counter::OutsidePass);
    }
    redirect(&ctx, &XSKS_OUTSIDE, Counter::OutsideRedirect, Counter::OutsideNoSocket)
}

/// Host mode: the far end of the sVTI's veth pair. Every packet that the kernel routed into the device is ours.
#[xdp(frags)]
pub fn inside_all(ctx: XdpContext) -> u32 {
    redirect(&ctx, &XSKS_INSIDE, Counter::InsideRedirect, Counter::InsideNoSocket)
}

/// Router mode: packets for a tunnel's prefixes, unless a longer one is the host's own.
#[xdp(frags)]
pub fn inside_lpm(ctx: XdpContext) -> u32 {
    let owner = match parse::forward_destination(&ctx) {
        Ok(Destination::V4(addr)) => PREFIXES_V4.get(Key::new(32, addr)),
        Ok(Destination::V6(addr)) => PREFIXES_V6.get(Key::new(128, addr)),
        Err(Other::Pass | Other::Fragment) => None,
        Err(Other::Truncated) => return pass(Counter::InsideTruncated),
    };
    if owner.is_none_or(|owner| *owner == OWNER_KERNEL) {
        return pass(Counter::InsidePass);
    }
    redirect(&ctx, &XSKS_INSIDE, Counter::InsideRedirect, Counter::InsideNoSocket)
}

#[inline(always)]
fn pass(counter: Counter) -> u32 {
    count(counter);
    XDP_PASS
}

#[inline(always)]
fn redirect(ctx: &XdpContext, sockets: &XskMap, done: Counter, no_socket: Counter) -> u32 {
    // The flags are what the helper returns when the queue has no socket.
    let queue = ctx.rx_queue_index();
    match sockets.redirect(queue, u64::from(XDP_DROP)) {
        Ok(action) if action == XDP_REDIRECT => {
            count(done);
            action
        }
        _ => {
            count(no_socket);
            XDP_DROP
        }
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
