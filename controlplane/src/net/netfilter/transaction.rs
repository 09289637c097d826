//! Transactions of nftables: a table with its sets, chains and rules.

use super::rule::Rule;
use sipsec_abi::nfnetlink::{ACK, BATCH_BEGIN, BATCH_END, DEL_TABLE, Message, NFTABLES, REQUEST, TABLE};
use std::time::Duration;

pub const NEW_TABLE: u16 = NFTABLES << 8;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
const DEL_RULE: u16 = NFTABLES << 8 | 8;
const NEW_SET: u16 = NFTABLES << 8 | 9;
/// `NFT_SET_MAP`, `NFT_SET_TIMEOUT`, `NFT_SET_EVAL`
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVAL: u32 = 0x20;
/// `NLM_F_CREATE`, `NLM_F_APPEND`
pub const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// A transaction, and how many of its messages the kernel acknowledges: those of the table alone, since it tells of a message
/// that it refuses in any case, and the answers to hundreds would need room.
#[derive(Debug)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub acknowledged: u32,
    pub rules: u32,
}

/// A transaction that is being written: what belongs to one table of one family.
#[derive(Debug)]
pub struct Writer<'a> {
    table: &'a str,
    family: u8,
    bytes: Vec<u8>,
    sequence: u32,
    acknowledged: u32,
    rules: u32,
    sets: u32,
}

/// A set of keys that are made of several fields, or a map of such.
#[derive(Debug)]
pub struct Set<'a> {
    pub name: &'a str,
    /// The type of each, as `nft` numbers them, and its length in bytes.
    pub fields: &'a [(u32, u32)],
    /// The same of what each key stands for; none: a set, and not a map.
    pub values: &'a [(u32, u32)],
    pub elements_max: u32,
    pub timeout: Duration,
}

pub fn milliseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes()
}

impl<'a> Writer<'a> {
    /// `family` is that of the table, as in the header of a message.
    pub fn new(table: &'a str, family: u8) -> Self {
        let mut writer =
            Self { table, family, bytes: Vec::new(), sequence: 0, acknowledged: 0, rules: 0, sets: 0 };
        writer.batch_end(BATCH_BEGIN);
        writer
    }

    pub fn finish(mut self) -> Batch {
        self.batch_end(BATCH_END);
        Batch { bytes: self.bytes, acknowledged: self.acknowledged, rules: self.rules }
    }

    /// The table is empty from here on, whether there is one or not.
    pub fn empty_table(&mut self) {
        self.no_table();
        self.same_table();
    }

    pub fn no_table(&mut self) {
        // So that there is one to be deleted.
        self.same_table();
        self.table(DEL_TABLE, 0);
    }

    fn batch_end(&mut self, kind: u16) {
        self.bytes.extend(Message::new(kind, REQUEST, self.sequence, 0, NFTABLES).finish());
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Message)) {
        self.sequence += 1;
        let mut message = Message::new(kind, REQUEST | flags, self.sequence, self.family, 0);
        message.text(TABLE, self.table);
        fill(&mut message);
        self.bytes.extend(message.finish());
    }

    /// The table is there, with what it has.
    pub fn same_table(&mut self) {
        self.table(NEW_TABLE, CREATE);
    }

    fn table(&mut self, kind: u16, flags: u16) {
        self.acknowledged += 1;
        self.message(kind, flags | ACK, |_| ());
    }

    /// With a hook: its type and its priority.
    pub fn chain(&mut self, name: &str, hook: Option<(&str, Hook, i32)>) {
        self.message(NEW_CHAIN, CREATE, |m| {
            m.text(3, name);
            if let Some((kind, hook, priority)) = hook {
                m.nest(4, |m| {
                    m.number(1, hook as u32).bytes(2, &priority.to_be_bytes());
                });
                m.text(7, kind);
            }
        });
    }

    pub fn empty_chain(&mut self, name: &str) {
        self.message(DEL_RULE, 0, |m| {
            m.text(2, name);
        });
    }

    /// Filled by rules; an element goes when its time is over.
    pub fn set(&mut self, set: &Set<'_>) {
        self.sets += 1;
        let number = self.sets;
        self.message(NEW_SET, CREATE, |m| {
            let map = if set.values.is_empty() { 0 } else { SET_MAP };
            m.text(2, set.name).number(3, SET_TIMEOUT | SET_EVAL | map);
            // Programs that list the set know by the types how to write an element.
            let kind = |fields: &[(u32, u32)]| fields.iter().fold(0, |all, (kind, _)| all << 6 | kind);
            let len = |fields: &[(u32, u32)]| fields.iter().map(|(_, len)| len.next_multiple_of(4)).sum();
            m.number(4, kind(set.fields)).number(5, len(set.fields));
            if map != 0 {
                m.number(6, kind(set.values)).number(7, len(set.values));
            }
            m.nest(9, |m| {
                m.number(1, set.elements_max);
            });
            m.number(10, number).bytes(11, &milliseconds(set.timeout));
        });
    }

    pub fn rule(&mut self, chain: &str, write: impl FnOnce(Rule<'_>) -> Rule<'_>) {
        self.rules += 1;
        self.message(NEW_RULE, CREATE | APPEND, |m| {
            m.text(2, chain);
            m.nest(4, |m| {
                write(Rule::of(m));
            });
        });
    }
}
