//! The handle of a call.

/// Names a call; never reused. The upper bits are the space of its user agent, so that the calls of several user agents
/// have different ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

impl CallId {
    const SPACE_SHIFT: u32 = 48;

    /// The id before the first one of a space.
    pub(crate) const fn before(space: u16) -> Self {
        Self((space as u64) << Self::SPACE_SHIFT)
    }

    #[must_use]
    pub const fn space(self) -> u16 {
        (self.0 >> Self::SPACE_SHIFT) as u16
    }

    /// Its number within the space.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << Self::SPACE_SHIFT) - 1)
    }
}

/// A live call's handle. It is given back to the user agent by `hang_up`, `reject`, or, after `Event::Ended`,
/// [`Call::ended`]; dropping it otherwise would orphan a call that costs money and is a broken invariant.
#[derive(Debug)]
#[must_use = "a call costs money until it is hung up, rejected or ended"]
pub struct Call {
    id: CallId,
    live: bool,
}

impl Call {
    pub(crate) const fn new(id: CallId) -> Self {
        Self { id, live: true }
    }

    #[must_use]
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// After `Event::Ended` (or `Failed`): SIP is through with it.
    pub fn ended(mut self) {
        self.live = false;
    }

    pub(crate) fn consume(mut self) -> CallId {
        self.live = false;
        self.id
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        debug_assert!(!self.live, "call {:?} dropped while live", self.id);
    }
}
