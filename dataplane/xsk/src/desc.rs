//! Descriptors at any address.
//!
//! xsk-rs has no way to choose the address of a [`FrameDesc`], but encapsulation moves the start of a packet into the
//! headroom, and a descriptor with the old address would send the old bytes. Moving the whole packet instead would cost
//! a copy each. So the places of the two fields we write are found once, by asking the type itself.

use std::mem::size_of;
use xsk_rs::FrameDesc;

/// Where `FrameDesc` keeps its address and data length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DescLayout {
    addr: usize,
    len: usize,
}

impl DescLayout {
    /// `None` if this release of xsk-rs keeps them in a form this cannot write.
    pub(crate) fn probe() -> Option<Self> {
        let addr = find(FrameDesc::addr)?;
        let len = find(|d| d.lengths().data())?;
        (addr != len).then_some(Self { addr, len })
    }

    pub(crate) fn make(self, addr: usize, len: usize) -> FrameDesc {
        let mut desc = FrameDesc::default();
        put(&mut desc, self.addr, addr);
        put(&mut desc, self.len, len);
        desc
    }
}

/// The offset at which writing a `usize` is what `read` reads back.
fn find(read: impl Fn(&FrameDesc) -> usize) -> Option<usize> {
    const MARK: usize = 0x0123_4567_89ab_cdef;
    (0..=size_of::<FrameDesc>() - size_of::<usize>()).step_by(size_of::<u32>()).find(|&at| {
        let mut desc = FrameDesc::default();
        put(&mut desc, at, MARK);
        read(&desc) == MARK && read(&FrameDesc::default()) == 0
    })
}

fn put(desc: &mut FrameDesc, at: usize, value: usize) {
    assert!(at + size_of::<usize>() <= size_of::<FrameDesc>(), "inside the descriptor");
    // SAFETY: `at` lies inside `*desc` (checked above), which we borrow exclusively. `FrameDesc` is made of integers
    // alone, for which every bit pattern is valid.
    unsafe { std::ptr::from_mut(desc).cast::<u8>().add(at).cast::<usize>().write_unaligned(value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_and_independent() {
        let layout = DescLayout::probe().expect("xsk-rs keeps both as usize");
        let d = layout.make(0x1_2345, 1400);
        assert_eq!(
            (d.addr(), d.lengths().data(), d.lengths().headroom(), d.options()),
            (0x1_2345, 1400, 0, 0)
        );
    }
}
