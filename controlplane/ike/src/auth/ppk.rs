//! Post-quantum pre-shared keys (RFC 8784): which key, and whether it is used.

use crate::config::Ppk;
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::exchange::IkeSa;
use crate::wire::{Message, NotifyType};

/// RFC 8784 §5.1: fixed octet strings for identity and key.
const PPK_ID_FIXED: u8 = 2;

/// How far both sides are with a PPK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum PpkStage {
    /// One side has none.
    #[default]
    Unused,
    /// Both sent USE_PPK.
    Agreed,
    /// It is in the keys.
    Used,
}

impl PpkStage {
    /// What the peer's IKE_SA_INIT message makes of our wish.
    pub fn of(ctx: &Ctx, m: &Message<'_>) -> Self {
        let both = ctx.config.ppk.is_some() && m.notify(NotifyType::USE_PPK).is_some();
        if both { Self::Agreed } else { Self::Unused }
    }

    pub fn is_agreed(self) -> bool {
        self == Self::Agreed
    }
}

impl Ppk {
    /// The data of PPK_IDENTITY.
    pub(crate) fn identity(&self) -> Vec<u8> {
        [&[PPK_ID_FIXED][..], &self.id].concat()
    }
}

/// The responder's choice (RFC 8784 §3, table 1). `Ok(Some(data))`: verify this proof, made without the PPK, in place
/// of the AUTH payload's.
pub(crate) fn respond<'a>(
    ctx: &Ctx,
    sa: &mut IkeSa,
    stage: &mut PpkStage,
    m: &Message<'a>,
) -> Result<Option<&'a [u8]>, IkeError> {
    let Some(ppk) = &ctx.config.ppk else { return Ok(None) };
    if *stage == PpkStage::Unused {
        return if ppk.required { Err(IkeError::PpkMissing) } else { Ok(None) };
    }
    let named = m.notify(NotifyType::PPK_IDENTITY).ok_or(IkeError::PpkMissing)?;
    if named.data == ppk.identity() {
        sa.apply(sa.ppk_keys(ppk.key.expose()));
        *stage = PpkStage::Used;
        return Ok(None);
    }
    match m.notify(NotifyType::NO_PPK_AUTH) {
        Some(plain) if !ppk.required => {
            *stage = PpkStage::Unused;
            Ok(Some(plain.data))
        }
        _ => {
            let text = |id: &[u8]| String::from_utf8_lossy(id).escape_debug().to_string();
            Err(IkeError::PpkUnknown {
                ours: text(&ppk.id),
                theirs: text(named.data.get(1..).unwrap_or(&[])),
            })
        }
    }
}

/// What the initiator learns from the IKE_AUTH response.
pub(crate) fn conclude(
    ctx: &Ctx,
    sa: &mut IkeSa,
    stage: &mut PpkStage,
    m: &Message<'_>,
) -> Result<(), IkeError> {
    let Some(ppk) = ctx.config.ppk.as_ref().filter(|_| stage.is_agreed()) else { return Ok(()) };
    // RFC 8784 §3: the presence of the notification counts, its content is ignored.
    if m.notify(NotifyType::PPK_IDENTITY).is_some() {
        sa.apply(sa.ppk_keys(ppk.key.expose()));
        *stage = PpkStage::Used;
    } else if ppk.required {
        return Err(IkeError::PpkMissing);
    } else {
        *stage = PpkStage::Unused;
    }
    Ok(())
}
