//! Messages of nfnetlink (`linux/netfilter/nfnetlink.h`): a netlink header, a header of netfilter, attributes that nest.

/// `NFNL_SUBSYS_NFTABLES`
pub const NFTABLES: u16 = 10;
/// Kinds of message: `NLMSG_ERROR`, `NFNL_MSG_BATCH_BEGIN`, `_END`, `NFT_MSG_DELTABLE`.
pub const ERROR: u16 = 2;
pub const BATCH_BEGIN: u16 = 0x10;
pub const BATCH_END: u16 = 0x11;
pub const DEL_TABLE: u16 = NFTABLES << 8 | 2;
/// `NLM_F_REQUEST`, `NLM_F_ACK`
pub const REQUEST: u16 = 1;
pub const ACK: u16 = 4;
/// Names of tables, in their messages and in those of rules.
pub const TABLE: u16 = 1;

/// `struct nlmsghdr`, `struct nfgenmsg`.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
/// The attribute has attributes.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;
/// `NFPROTO_IPV4`
pub const IPV4: u8 = 2;
/// Alignment of everything in a message.
const ALIGN: usize = 4;

/// A message that is being written.
#[derive(Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// `resource` is the subsystem of a batch's ends, else 0.
    #[must_use]
    pub fn new(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        Self(bytes)
    }

    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = (ALIGN + value.len()) as u16;
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self
    }

    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With the zero at its end.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        inside(self);
        let len = ((self.0.len() - at) as u16).to_ne_bytes();
        self.0[at..at + 2].copy_from_slice(&len);
        self
    }

    /// An attribute as it was received.
    pub fn copied(&mut self, attribute: &Attribute<'_>) -> &mut Self {
        let kind = attribute.kind | if attribute.is_nested { NESTED } else { 0 };
        self.bytes(kind, attribute.value)
    }

    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let len = (self.0.len() as u32).to_ne_bytes();
        self.0[..4].copy_from_slice(&len);
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    pub kind: u16,
    is_nested: bool,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    #[must_use]
    pub fn short(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }
}

/// The attributes of a message or of one of its attributes; they end where the bytes make no more.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        let value = bytes.get(ALIGN..len)?;
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(Attribute { kind: kind & TYPE_MASK, is_nested: kind & NESTED != 0, value })
    })
}

/// The attribute of this kind.
#[must_use]
pub fn find(bytes: &[u8], kind: u16) -> Option<Attribute<'_>> {
    attributes(bytes).find(|a| a.kind == kind)
}

/// A message that was received.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub kind: u16,
    pub sequence: u32,
    /// Behind the header of netlink.
    pub payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// What follows netfilter's header.
    #[must_use]
    pub fn attributes(&self) -> &'a [u8] {
        self.payload.get(FAMILY_HEADER..).unwrap_or_default()
    }

    /// The errno of an error message; 0 acknowledges.
    #[must_use]
    pub fn error(&self) -> i32 {
        self.payload.first_chunk().map_or(libc::EPROTO, |code| -i32::from_ne_bytes(*code))
    }
}

/// The messages of one datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let head = bytes.first_chunk::<HEADER>()?;
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = word(0) as usize;
        let payload = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(Received { kind: u16::from_ne_bytes([head[4], head[5]]), sequence: word(8), payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read() {
        let mut message = Message::new(0x0a06, 1, 7, IPV4, 0);
        message.text(1, "ab").nest(4, |m| {
            m.number(2, 9).bytes(3, &[1, 2, 3, 4, 5]);
        });
        let bytes = message.finish();
        assert_eq!(bytes.len() % ALIGN, 0);
        let both = [bytes.clone(), bytes].concat();
        let read: Vec<Received<'_>> = messages(&both).collect();
        assert_eq!((read.len(), read[1].kind, read[1].sequence), (2, 0x0a06, 7));
        let inside = read[1].attributes();
        assert_eq!(find(inside, 1).expect("text").value, b"ab\0");
        let nested = find(inside, 4).expect("nested").value;
        assert_eq!(find(nested, 2).and_then(|a| a.number()), Some(9));
        assert_eq!(find(nested, 3).expect("bytes").value, [1, 2, 3, 4, 5]);
        let mut again = Message::new(0, 0, 0, IPV4, 0);
        again.copied(&find(inside, 4).expect("nested"));
        let again = again.finish();
        let copy = messages(&again).next().expect("a message").attributes();
        assert_eq!(find(copy, 4).expect("nested").value, nested);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                prop_assert!(attributes(message.attributes()).count() <= bytes.len());
            }
        }
    }
}
