//! `wan:`

use super::item::Item;
use crate::model::wan::WanSection;

pub fn read(item: &Item<'_>) -> Option<WanSection> {
    let table = item.table()?;
    let (ipv4, ipv6) = (table.word("ipv4"), table.word("ipv6"));
    let vendor_class = table.absent_or("vendor_class", super::item::Item::word);
    table.finish();
    Some(WanSection { ipv4: ipv4?, ipv6: ipv6?, vendor_class: vendor_class? })
}
