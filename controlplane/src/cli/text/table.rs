//! Columns.

/// Left-aligned columns as wide as their widest cell, two blanks between them.
#[must_use]
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|h| h.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[&str]| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(&heads);
    out.push_str(&(widths.map(|w| "-".repeat(w)).join("  ") + "\n"));
    for row in rows {
        out.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    out
}
