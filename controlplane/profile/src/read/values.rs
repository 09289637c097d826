//! Values: what the scalars of a document mean, and the one file that knows the YAML library which writes profiles.

/// A value without its YAML dress.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
    /// A number of more than 64 bits.
    Huge,
    Float(f64),
    Str(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// With its article, for "expected … but this is …".
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Huge => "a number of more than 64 bits",
            Self::Float(_) => "a fraction",
            Self::Str(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a group of keys",
        }
    }

    /// The value of a key, if this is a group that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// The value of a scalar. `plain`: without quotes, and no block of text; `tag`: the name of one of YAML's own tags.
///
/// # Errors
/// If the text is not what the tag says.
pub fn scalar(text: &str, plain: bool, tag: Option<&str>) -> Result<Node, ()> {
    match tag {
        None if plain => Ok(untagged(text)),
        Some("null") => null(text).ok_or(()),
        Some("bool") => boolean(text).map(Node::Bool).ok_or(()),
        Some("int") => integer(text).ok_or(()),
        Some("float") => float(text).map(Node::Float).ok_or(()),
        _ => Ok(Node::Str(text.to_owned())),
    }
}

/// The core schema (YAML 1.2 §10.3.2), and binary numbers.
fn untagged(text: &str) -> Node {
    if text.is_empty() {
        return Node::Null;
    }
    let number = || {
        // Nearly all texts begin with a letter.
        let first = text.as_bytes().first().is_some_and(|b| b.is_ascii_digit() || b"+-.".contains(b));
        let first = first && !has_leading_zeros(text);
        if first { integer(text).or_else(|| float(text).map(Node::Float)) } else { None }
    };
    null(text)
        .or_else(|| boolean(text).map(Node::Bool))
        .or_else(number)
        .unwrap_or_else(|| Node::Str(text.to_owned()))
}

fn null(text: &str) -> Option<Node> {
    matches!(text, "null" | "Null" | "NULL" | "~").then_some(Node::Null)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// `0388881001` is a text, as telephone numbers are.
fn has_leading_zeros(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn integer(text: &str) -> Option<Node> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (digits, radix) = prefixes
        .into_iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)))
        .unwrap_or((digits, 10));
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if !is_number || (radix == 10 && has_leading_zeros(text)) {
        return None;
    }
    // A key in hexadecimal digits of more than 128 bits is a text, as in the library that writes profiles.
    let value = u128::from_str_radix(digits, radix).ok()?;
    let signed = i128::try_from(value).ok().map(|value| if negative { -value } else { value });
    Some(signed.and_then(|value| i64::try_from(value).ok()).map_or(Node::Huge, Node::Int))
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.len() < text.len() && unsigned.starts_with(['+', '-']) {
        return None;
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ => unsigned.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// A tree that can be changed and written, with its keys in the order in which they were put in.
pub type Tree = serde_yaml::Value;
pub type TreeMap = serde_yaml::Mapping;

/// A value as a tree.
///
/// # Errors
/// If it has keys that are not words; a profile has none.
pub fn tree(value: &impl serde::Serialize) -> Result<Tree, String> {
    serde_yaml::to_value(value).map_err(|error| error.to_string())
}

/// # Errors
/// If the tree cannot be written; one of a profile always can.
pub fn write(tree: &Tree) -> Result<String, String> {
    serde_yaml::to_string(tree).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library that writes profiles would read.
    fn of_the_library(text: &str) -> Node {
        match serde_yaml::from_str::<Tree>(text).expect("YAML") {
            Tree::Null => Node::Null,
            Tree::Bool(value) => Node::Bool(value),
            Tree::Number(n) if n.is_i64() => Node::Int(n.as_i64().expect("a number")),
            Tree::Number(n) if n.is_u64() => Node::Huge,
            Tree::Number(n) => Node::Float(n.as_f64().expect("a number")),
            Tree::String(text) => Node::Str(text),
            _ => unreachable!("no scalar: {text}"),
        }
    }

    #[test]
    fn plain_texts_are_what_the_writer_takes_them_for() {
        for text in [
            "~",
            "null",
            "Null",
            "nULL",
            "true",
            "True",
            "tRUE",
            "FALSE",
            "yes",
            "off",
            "0",
            "00",
            "007",
            "-0",
            "+5",
            "-5",
            "--5",
            "+-5",
            "-+5",
            "0x1F",
            "0xg",
            "0x",
            "-0x10",
            "+0x10",
            "0o17",
            "0o8",
            "0b101",
            "0b2",
            "1_000",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "18446744073709551615",
            "1.5",
            "-1.5",
            "+1.5",
            ".5",
            "5.",
            "1e3",
            "1e",
            "1e400",
            ".inf",
            "-.inf",
            "+.inf",
            "inf",
            "nan",
            "infinity",
            "1.2.3.4",
            "10.0.0.0/8",
            "2001:db8::1",
            "12:30",
            "0388881001",
            "-01",
            "1-501",
            "5060",
            "e5",
            "-",
            "+",
            ".",
            "..",
            "a",
            "1a",
            "0388-88",
            "Infinity",
            "-inf",
        ] {
            let mine = scalar(text, true, None).expect("a scalar");
            // A lone sign or dot would begin a list for the library.
            let theirs = if text == "-" { Node::Str("-".to_owned()) } else { of_the_library(text) };
            assert_eq!(mine, theirs, "{text}");
        }
        assert!(matches!(scalar(".nan", true, None), Ok(Node::Float(x)) if x.is_nan()));
        assert_eq!(scalar("", true, None), Ok(Node::Null));
        assert_eq!(scalar("5", false, None), Ok(Node::Str("5".to_owned())));
        assert_eq!(scalar("5", true, Some("str")), Ok(Node::Str("5".to_owned())));
        assert_eq!(scalar("5", false, Some("int")), Ok(Node::Int(5)));
        assert_eq!(scalar("x", true, Some("int")), Err(()));
        assert_eq!(scalar("340282366920938463463374607431768211456", true, Some("bool")), Err(()));
        assert_eq!(scalar("170141183460469231731687303715884105727", true, None), Ok(Node::Huge));
    }
}
