//! Keys and their use. Nothing here knows a message's meaning.

pub(crate) mod cipher;
pub(crate) mod keys;
pub(crate) mod ppk;
pub(crate) mod prf;
