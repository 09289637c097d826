//! Texts with `{…}` in them, and the values that fill them.

use crate::diagnose::shown_key;
use crate::model::limits::TUNNELS_MAX;

/// Columns of a CSV file, and bytes of one filled text.
const COLUMNS_MAX: usize = 64;
const FILLED_MAX: usize = super::document::SCALAR_BYTES_MAX;

/// The values of all entries.
pub enum Values {
    /// `{n}` runs from the first to the last.
    Range(u64, u64),
    /// Each row has a value for each column.
    Table { columns: Vec<String>, rows: Vec<Vec<String>> },
}

/// The values of one entry.
pub enum Row<'a> {
    Number(u64),
    Cells { columns: &'a [String], cells: &'a [String] },
}

impl Values {
    /// `FIRST-LAST`.
    pub fn range(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last - first < u64::from(TUNNELS_MAX)).then_some(Self::Range(first, last))
    }

    /// RFC 4180, with a header line. Errors name lines, never values: a column may hold secrets.
    pub fn csv(bytes: &[u8]) -> Result<Self, String> {
        let text =
            super::encoding::decode(bytes).map_err(|e| e.message.replacen("the profile", "the file", 1))?;
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        let place = |e: &csv::Error| match e.position() {
            Some(at) => format!("line {} does not have a value for each column", at.line()),
            None => "it is not a CSV file".to_owned(),
        };
        let columns: Vec<String> =
            reader.headers().map_err(|e| place(&e))?.iter().map(str::to_owned).collect();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return Err(format!("it has {} columns, and 1 to {COLUMNS_MAX} are allowed", columns.len()));
        }
        if let Some(wrong) = columns.iter().find(|c| c.is_empty() || !c.chars().all(legal)) {
            return Err(format!("the column \"{}\" is not named by letters, digits and _", shown_key(wrong)));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            if rows.len() == TUNNELS_MAX as usize {
                return Err(format!("it has more than {TUNNELS_MAX} rows"));
            }
            rows.push(record.map_err(|e| place(&e))?.iter().map(str::to_owned).collect());
        }
        Ok(Self::Table { columns, rows })
    }

    pub fn rows(&self) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        match self {
            Self::Range(first, last) => Box::new((*first..=*last).map(Row::Number)),
            Self::Table { columns, rows } => {
                Box::new(rows.iter().map(move |cells| Row::Cells { columns, cells }))
            }
        }
    }
}

impl<'a> Row<'a> {
    fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Number(n) => (name == "n").then(|| n.to_string()),
            Self::Cells { columns, cells } => {
                columns.iter().position(|c| c == name).and_then(|i| cells.get(i)).cloned()
            }
        }
    }

    pub fn names(&self) -> Vec<&'a str> {
        match self {
            Self::Number(_) => vec!["n"],
            Self::Cells { columns, .. } => columns.iter().map(String::as_str).collect(),
        }
    }
}

/// A text, cut at its braces.
pub struct Template<'a>(Vec<Piece<'a>>);

enum Piece<'a> {
    Text(&'a str),
    Value { name: &'a str, calculation: Option<(char, u64)>, width: usize },
}

impl<'a> Template<'a> {
    /// # Errors
    /// What is wrong with a brace, without the text around it.
    pub fn new(text: &'a str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            pieces.push(Piece::Text(before));
            if from.starts_with("{{") || from.starts_with("}}") {
                pieces.push(Piece::Text(&from[..1]));
                rest = &from[2..];
                continue;
            }
            let end = from.find('}').filter(|_| from.starts_with('{'));
            let end = end.ok_or("a brace of the template has no partner")?;
            pieces.push(value(&from[1..end])?);
            rest = &from[end + 1..];
        }
        pieces.push(Piece::Text(rest));
        Ok(Self(pieces))
    }

    /// # Errors
    /// If a name is unknown, a value cannot be calculated with, or the text gets too long.
    pub fn fill(&self, row: &Row<'_>) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { name, calculation, width } => {
                    let value = row
                        .get(name)
                        .ok_or_else(|| format!("`{{{}}}` has no value here", shown_key(name)))?;
                    let value = match calculation {
                        Some((operator, operand)) => calculate(&value, *operator, *operand)
                            .ok_or_else(|| format!("`{{{}}}` cannot be calculated", shown_key(name)))?
                            .to_string(),
                        None => value,
                    };
                    out.extend(std::iter::repeat_n('0', width.saturating_sub(value.len())));
                    out.push_str(&value);
                }
            }
            if out.len() > FILLED_MAX {
                return Err(format!("the template makes a text of more than {FILLED_MAX} bytes"));
            }
        }
        Ok(out)
    }
}

/// `NAME`, `NAME+5`, `NAME:05`, `NAME/256:3`.
fn value(text: &str) -> Result<Piece<'_>, String> {
    const WIDTH_MAX: usize = 24;
    let wrong = || format!("`{{{}}}` is not a value of a template", shown_key(text));
    let (formula, width) = match text.split_once(':') {
        Some((formula, width)) => {
            (formula, width.parse().ok().filter(|w| *w <= WIDTH_MAX).ok_or_else(wrong)?)
        }
        None => (text, 0),
    };
    let (name, calculation) = match formula.find(['+', '-', '*', '/', '%']) {
        Some(at) => {
            let operator = formula[at..].chars().next().ok_or_else(wrong)?;
            let operand = formula[at + 1..].trim().parse().map_err(|_| wrong())?;
            (formula[..at].trim(), Some((operator, operand)))
        }
        None => (formula.trim(), None),
    };
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(Piece::Value { name, calculation, width })
}

fn calculate(value: &str, operator: char, operand: u64) -> Option<u64> {
    let value: u64 = value.parse().ok()?;
    match operator {
        '+' => value.checked_add(operand),
        '-' => value.checked_sub(operand),
        '*' => value.checked_mul(operand),
        '/' => value.checked_div(operand),
        _ => value.checked_rem(operand),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, n: u64) -> Result<String, String> {
        Template::new(text).and_then(|t| t.fill(&Row::Number(n)))
    }

    #[test]
    fn values_are_padded_and_calculated() {
        assert_eq!(fill("03888{n:05}", 7).as_deref(), Ok("0388800007"));
        assert_eq!(fill("10.{n/256}.{n%256}.0/24", 700).as_deref(), Ok("10.2.188.0/24"));
        assert_eq!(fill("{n+1:3}-{n*2}-{n-7}", 7).as_deref(), Ok("008-14-0"));
        assert_eq!(fill("a{{b}}", 7).as_deref(), Ok("a{b}"));
        for wrong in ["{m}", "{n", "n}", "{}", "{n:x}", "{n:99}", "{n/0}", "{n-8}", "{n^2}", "{n+}", "{n+-1}"]
        {
            assert!(fill(wrong, 7).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_and_tables_are_bounded() {
        assert!(matches!(Values::range("1-500"), Some(Values::Range(1, 500))));
        for wrong in ["500-1", "1-100000", "1", "a-b", "-1-5", "1-18446744073709551616"] {
            assert!(Values::range(wrong).is_none(), "{wrong}");
        }
        let table =
            Values::csv(b"name,net\n# Kansai\nosaka, 10.1.0.0/16\nkobe,\"10.2.0.0/16\"\n").expect("a table");
        let nets: Vec<_> = table.rows().map(|row| row.get("net")).collect();
        assert_eq!(nets, [Some("10.1.0.0/16".to_owned()), Some("10.2.0.0/16".to_owned())]);
        for (wrong, word) in
            [("a,b\n1\n", "line 2"), ("a b\n1\n", "column"), ("", "column"), ("a\n\u{0}\n", "NUL")]
        {
            let error = Values::csv(wrong.as_bytes()).err().expect(wrong);
            assert!(error.contains(word), "{error}");
        }
        let long = format!("a\n{}", "1\n".repeat(20_000));
        assert!(Values::csv(long.as_bytes()).err().expect("too long").contains("16384 rows"));
    }
}
