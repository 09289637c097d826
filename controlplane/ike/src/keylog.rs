//! Keys in the table formats of tshark, so that a capture from the lab can be decrypted and its ICVs checked.
//! Emitted only when [`crate::EndpointConfig::lab_key_log`] is set.

use core::fmt;

/// Which table of a Wireshark profile a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyLogTable {
    /// `ikev2_decryption_table`
    Ikev2,
    /// `esp_sa`
    EspSa,
}

/// One line. The text holds keys in clear: write it to the table's file, nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyLogEntry {
    pub table: KeyLogTable,
    pub line: String,
}

impl fmt::Debug for KeyLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLogEntry({:?})", self.table)
    }
}
