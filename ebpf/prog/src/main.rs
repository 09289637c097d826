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
use layout::{Counter, FragmentKey, MediaPortKey, OWNER_KERNEL};
use maps::{
    KERNEL_FRAGMENTS, MEDIA_PEERS, MEDIA_PORTS, PREFIXES_V4, PREFIXES_V6, XSKS_INSIDE, XSKS_OUTSIDE, count,
};
use parse::{Destination, Other, Udp};

/// WAN: UDP to a live media port goes to the dataplane, whole or in fragments.
#[xdp(frags)]
pub fn outside(ctx: XdpContext) -> u32 {
    match parse::udp(&ctx) {
        Ok(Udp::Whole(to)) if is_live(&to) => {
            redirect(&ctx, &XSKS_OUTSIDE, Counter::OutsideRedirect, Counter::OutsideNoSocket)
        }
        Ok(Udp::Fragment(fragment, port)) => outside_fragment(&ctx, &fragment, port),
        Ok(Udp::Whole(_)) | Err(Other::Pass) => pass(Counter::OutsidePass),
        Err(Other::Truncated) => pass(Counter::OutsideTruncated),
    }
}

#[inline(always)]
fn is_live(to: &MediaPortKey) -> bool {
    // SAFETY: the value is not read; only its presence counts.
    unsafe { MEDIA_PORTS.get(to) }.is_some()
}

/// The dataplane puts together what comes from a live call's peer. A first fragment for another port is the kernel's, and so
/// are those that follow it; one that comes before its first is taken for the call's.
#[inline(always)]
fn outside_fragment(ctx: &XdpContext, fragment: &FragmentKey, port: Option<[u8; 2]>) -> u32 {
    // SAFETY: as above.
    if unsafe { MEDIA_PEERS.get(&fragment.between) }.is_none() {
        return pass(Counter::OutsideFragment);
    }
    let is_kernels = match port {
        Some(port) if is_live(&MediaPortKey { addr: fragment.between.local, port, zero: [0; 2] }) => {
            // The identification may have been that of a datagram for the kernel, some time ago.
            let _ = KERNEL_FRAGMENTS.remove(fragment);
            false
        }
        Some(_) => {
            // Without room its other fragments are lost, and SIP sends it again.
            let _ = KERNEL_FRAGMENTS.insert(fragment, &0, 0);
            true
        }
        // SAFETY: as above.
        None => unsafe { KERNEL_FRAGMENTS.get(fragment) }.is_some(),
    };
    if is_kernels {
        return pass(Counter::OutsideFragment);
    }
    redirect(ctx, &XSKS_OUTSIDE, Counter::OutsideFragmentRedirect, Counter::OutsideNoSocket)
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
        Err(Other::Pass) => None,
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
