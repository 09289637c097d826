//! ECN through a tunnel: RFC 6040 normal mode.

const MASK: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// RFC 6040 §4.1: the outer field is a copy of the inner one. `dscp` is 6 bits.
pub(crate) const fn outer_class(inner: u8, dscp: u8) -> u8 {
    dscp << 2 | inner & MASK
}

/// RFC 6040 §4.2, figure 4: the inner TOS or traffic class as it is forwarded; `None` is "drop".
pub(crate) const fn forwarded_class(inner: u8, outer: u8) -> Option<u8> {
    let ecn = match (inner & MASK, outer & MASK) {
        // Congestion was met and the inner transport cannot be told other than by loss.
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Some(inner & !MASK | ecn)
}

/// RFC 3168 §5: the TOS or traffic class of a packet that met congestion here.
pub(crate) const fn congested(class: u8) -> u8 {
    class | CE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4, row by row: inner Not-ECT, ECT(0), ECT(1), CE; columns outer Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn figure_4() {
        let columns = [NOT_ECT, ECT_0, ECT_1, CE];
        let rows = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, expected) in rows {
            for (outer, expected) in columns.into_iter().zip(expected) {
                let got = forwarded_class(0xb8 | inner, 0x20 | outer);
                assert_eq!(got, expected.map(|e| 0xb8 | e), "inner {inner} outer {outer}");
            }
        }
        assert_eq!(outer_class(0xb8 | CE, 0), CE);
    }
}
