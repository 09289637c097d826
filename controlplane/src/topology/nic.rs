//! What a device's driver says of itself.

use super::files::Tree;
use crate::api::model::{CoalescingView, NicRings};
use sipsec_abi::ethtool;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    pub driver: Option<String>,
    /// PCI address.
    pub bus: Option<String>,
    pub rings: Option<NicRings>,
    pub coalescing: Option<CoalescingView>,
}

/// How often and how long the device's interrupts are put off while a worker polls it; none if the kernel does not say.
pub fn defers_interrupts(device: &str, tree: &impl Tree) -> Option<bool> {
    let number = |name| tree.text(&format!("/sys/class/net/{device}/{name}"))?.trim().parse::<u64>().ok();
    Some(number("napi_defer_hard_irqs")? > 0 && number("gro_flush_timeout")? > 0)
}

/// Of a device in this network namespace.
#[must_use]
pub fn nic(device: &str) -> Nic {
    let info = ethtool::driver_info(device).ok();
    Nic {
        driver: info.as_ref().and_then(|words| text(words, 1)),
        // Behind driver, version and firmware of 32 bytes each.
        bus: info.as_ref().and_then(|words| text(words, 25)).filter(|bus| is_pci_address(bus)),
        rings: ethtool::ring_parameters(device).ok().map(rings),
        coalescing: ethtool::coalescing(device).ok().map(coalescing),
    }
}

/// Fields of `struct ethtool_ringparam`: the limits come first.
const fn rings(words: [u32; 9]) -> NicRings {
    let [_, rx_max, _, _, tx_max, rx, _, _, tx] = words;
    NicRings { rx, rx_max, tx, tx_max }
}

/// Fields of `struct ethtool_coalesce`.
const fn coalescing(words: [u32; 23]) -> CoalescingView {
    let [_, rx_usecs, rx_frames, _, _, tx_usecs, _, _, _, _, adaptive_rx, ..] = words;
    CoalescingView { rx_usecs, rx_frames, tx_usecs, adaptive_rx: adaptive_rx != 0 }
}

/// 32 bytes from a word on, up to the first zero.
fn text(words: &[u32; 49], from: usize) -> Option<String> {
    let bytes: Vec<u8> = words.get(from..from + 8)?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// It becomes a part of a path.
fn is_pci_address(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_ethtool_h() {
        let put = |words: &mut [u32; 49], from: usize, text: &str| {
            for (word, bytes) in words[from..].iter_mut().zip(text.as_bytes().chunks(4)) {
                let mut four = [0; 4];
                four[..bytes.len()].copy_from_slice(bytes);
                *word = u32::from_ne_bytes(four);
            }
        };
        let mut words = [0; 49];
        put(&mut words, 1, "mlx5_core");
        put(&mut words, 25, "0000:3b:00.0");
        assert_eq!(text(&words, 1).as_deref(), Some("mlx5_core"));
        assert_eq!(text(&words, 25).as_deref(), Some("0000:3b:00.0"));
        assert_eq!(text(&words, 33), None);
        let mut words = [0; 23];
        (words[1], words[2], words[5], words[10]) = (8, 128, 16, 1);
        let expected = CoalescingView { rx_usecs: 8, rx_frames: 128, tx_usecs: 16, adaptive_rx: true };
        assert_eq!(coalescing(words), expected);
        assert_eq!(
            rings([0x10, 8192, 0, 0, 4096, 1024, 0, 0, 512]),
            NicRings { rx: 1024, rx_max: 8192, tx: 512, tx_max: 4096 }
        );
    }

    #[test]
    fn only_an_address_becomes_a_path() {
        for (text, is) in
            [("0000:3b:00.0", true), ("virtio0", false), ("../../x", false), ("", false), ("usb:1/2", false)]
        {
            assert_eq!(is_pci_address(text), is, "{text}");
        }
    }

    #[test]
    fn the_loopback_and_a_missing_device_are_no_error() {
        assert_eq!(nic("lo").bus, None);
        assert_eq!(nic("no-such-device0"), Nic::default());
        assert_eq!(nic("a-name-longer-than-fifteen-bytes"), Nic::default());
    }
}
