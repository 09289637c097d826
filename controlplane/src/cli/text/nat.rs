//! `show ip nat translations`

use crate::api::model::Translation;

#[must_use]
pub fn translations(list: &[Translation], width: usize) -> String {
    let rows = list.iter().map(|t| {
        [
            t.protocol.clone(),
            t.inside_global.to_string(),
            t.inside_local.to_string(),
            t.outside_local.to_string(),
            t.outside_global.to_string(),
        ]
    });
    let heads =
        ["Pro", "Inside global", "Inside local", "Outside local", "Outside global"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(heads).chain(rows).collect();
    // IOS's columns; on a narrow terminal no wider than needed.
    let mut widths = if width < 91 { [3, 0, 0, 0, 0] } else { [3, 21, 21, 21, 21] };
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |row: &[String; 5]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(c, w)| format!("{c:<w$}")).collect();
        cells.join(" ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn the_wan_is_inside_global_and_the_loopback_inside_local() {
        let entry = Translation {
            protocol: "udp".into(),
            inside_global: "10.6.6.50:50001".parse().expect("address"),
            inside_local: "10.11.1.1:4500".parse().expect("address"),
            outside_local: "10.6.6.49:50002".parse().expect("address"),
            outside_global: "10.6.6.49:50002".parse().expect("address"),
        };
        golden("nat.txt", &translations(std::slice::from_ref(&entry), usize::MAX));
        let narrow = translations(&[entry], 80);
        assert!(narrow.lines().all(|l| l.len() <= 80) && narrow.lines().count() == 2, "{narrow}");
    }
}
