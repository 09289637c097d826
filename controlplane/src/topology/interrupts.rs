//! `/proc/interrupts`, and which queue of which device an interrupt serves.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    pub irq: u32,
    /// What is registered for it; several if it is shared.
    pub names: Vec<String>,
}

/// Hardware interrupts with a number; the kernel's own (`NMI`, `LOC`) are passed over.
#[must_use]
pub fn interrupts(text: &str) -> Vec<Interrupt> {
    let mut lines = text.lines();
    let cores = lines.next().map_or(0, |head| head.split_ascii_whitespace().count());
    lines.filter_map(|line| interrupt(line, cores)).collect()
}

fn interrupt(line: &str, cores: usize) -> Option<Interrupt> {
    let (irq, rest) = line.split_once(':')?;
    let irq = irq.trim().parse().ok()?;
    let words: Vec<_> = rest.split_ascii_whitespace().skip(cores).collect();
    // Chip, line and trigger (`IR-PCI-MSIX-0000:3b:00.0 1-edge`, `ITS-MSI 524288 Edge`), then the names.
    let trigger = |word: &&str| {
        let word = word.to_ascii_lowercase();
        ["edge", "level", "fasteoi"].iter().any(|end| word.ends_with(end))
    };
    let from = words.iter().position(trigger).map_or(words.len().saturating_sub(1), |at| at + 1);
    let names = words.iter().skip(from).map(|name| name.trim_end_matches(',').to_owned()).collect();
    Some(Interrupt { irq, names })
}

/// Interrupts of a device that are not for a queue.
const NOT_QUEUES: [&str; 9] = ["config", "mgmnt", "mgmt", "misc", "async", "fdir", "ctrl", "pages", "cmd"];

/// The receive queue that an interrupt of this name serves. Drivers name them `eth0-TxRx-3` (ixgbe, igb), `i40e-eth0-TxRx-3`,
/// `mlx5_comp3@pci:0000:3b:00.0`, `eth0-Tx-Rx-3` (ena), `virtio0-input.3`, `eth0-q3-rx` (xen), `eth0-rx-3` (e1000e).
#[must_use]
pub fn receive_queue(name: &str, device: &str) -> Option<u32> {
    let own = name.split('@').next().unwrap_or(name);
    let own = own.strip_prefix(device).unwrap_or(own);
    let lower = own.to_ascii_lowercase();
    if NOT_QUEUES.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let sends_only = lower.contains("output") || (lower.contains("tx") && !lower.contains("rx"));
    if sends_only {
        return None;
    }
    let end = own.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits = own.get(..end)?;
    let start = digits.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    digits.get(start..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_stands_in_the_name_of_every_driver() {
        for (name, device, queue) in [
            ("eth0-TxRx-3", "eth0", Some(3)),
            ("i40e-enp1s0f0-TxRx-12", "enp1s0f0", Some(12)),
            ("mlx5_comp7@pci:0000:3b:00.0", "wan0", Some(7)),
            ("enp59s0f0-3", "enp59s0f0", Some(3)),
            ("ens5-Tx-Rx-1", "ens5", Some(1)),
            ("virtio2-input.1", "wan0", Some(1)),
            ("eth0-q0-rx", "eth0", Some(0)),
            ("eth0-rx-2", "eth0", Some(2)),
            ("virtio2-output.1", "wan0", None),
            ("virtio2-config", "wan0", None),
            ("eth0-q0-tx", "eth0", None),
            ("mlx5_async0@pci:0000:3b:00.0", "wan0", None),
            ("ena-mgmnt@pci:0000:00:05.0", "ens5", None),
            ("i40e-0000:3b:00.0:misc", "eth0", None),
            ("eth0", "eth0", None),
        ] {
            assert_eq!(receive_queue(name, device), queue, "{name}");
        }
    }

    #[test]
    fn lines_of_old_and_new_kernels_and_of_other_processors_are_read() {
        let text = "\
            \x20          CPU0       CPU1\n\
            \x20 16:         10          0   IO-APIC  16-fasteoi   eth0, ehci_hcd:usb1\n\
            \x20 45:        123          0  IR-PCI-MSI 30408704-edge      eth0-TxRx-0\n\
            \x20 46:          0         99  IR-PCI-MSIX-0000:3b:00.0    1-edge      mlx5_comp0@pci:0000:3b:00.0\n\
            \x20 50:          5          0   ITS-MSI 524288 Edge      ens5-Tx-Rx-0\n\
            NMI:          0          0   Non-maskable interrupts\n\
            ERR:          0\n";
        let found: Vec<_> = interrupts(text).into_iter().map(|i| (i.irq, i.names.join("|"))).collect();
        let expected = [
            (16, "eth0|ehci_hcd:usb1"),
            (45, "eth0-TxRx-0"),
            (46, "mlx5_comp0@pci:0000:3b:00.0"),
            (50, "ens5-Tx-Rx-0"),
        ];
        assert_eq!(found, expected.map(|(irq, names)| (irq, names.to_owned())));
        assert!(interrupts("").is_empty() && interrupts("x\n12\n13: y").len() <= 1);
    }
}
