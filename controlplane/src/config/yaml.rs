//! The one module that knows the YAML library. It turns text into a plain tree, and finds the place of any value again
//! when a diagnostic needs it.
//!
//! The library keeps no positions on success but names one in every error. So a place is found by reading the document
//! once more with a visitor that refuses exactly the wanted value. That costs a pass per diagnostic, of which there are
//! few, and nothing when there are none.

use super::path::{KeyPath, Step};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;
use std::fmt;

/// A value without its YAML dress.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
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
            Self::Float(_) => "a fraction",
            Self::Str(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a group of keys",
        }
    }
}

/// Line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// The text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub message: String,
    pub place: Option<Place>,
}

/// # Errors
/// If the text is not one YAML document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let value: Value = serde_yaml::from_str(text).map_err(|e| syntax_error(&e))?;
    node(value).map_err(|message| SyntaxError { message, place: None })
}

/// Reads the value at `key` of the top level as a type of another crate.
///
/// # Errors
/// The library's first complaint, with its place.
pub fn section<T: serde::de::DeserializeOwned>(text: &str, key: &str) -> Result<Option<T>, SyntaxError> {
    let mut out = None;
    let seed = Section { key, out: &mut out };
    seed.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|e| syntax_error(&e))?;
    Ok(out)
}

/// The place of a key, or of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Key,
    Value,
}

/// `None` if there is no such value.
#[must_use]
pub fn locate(text: &str, path: &KeyPath, of: Of) -> Option<Place> {
    let probe = Probe { path: &path.0, of };
    let error = probe.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    place(&error)
}

fn place(error: &serde_yaml::Error) -> Option<Place> {
    error.location().map(|l| Place { line: l.line(), column: l.column() })
}

fn syntax_error(error: &serde_yaml::Error) -> SyntaxError {
    let whole = error.to_string();
    // The library appends what the diagnostic shows by itself.
    let message = match whole.rfind(" at line ") {
        Some(at) => whole[..at].to_owned(),
        None => whole,
    };
    SyntaxError { message, place: place(error) }
}

fn node(value: Value) -> Result<Node, String> {
    Ok(match value {
        Value::Null => Node::Null,
        Value::Bool(b) => Node::Bool(b),
        Value::Number(n) => match n.as_i64() {
            Some(i) => Node::Int(i),
            None => Node::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => Node::Str(s),
        Value::Sequence(list) => Node::List(list.into_iter().map(node).collect::<Result<_, _>>()?),
        Value::Mapping(map) => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map {
                entries.push((key_text(key)?, node(value)?));
            }
            Node::Map(entries)
        }
        Value::Tagged(tagged) => return Err(format!("the tag `{}` has no meaning in a profile", tagged.tag)),
    })
}

fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(s) => Ok(s),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(n) => Ok(n.to_string()),
        Value::Null => Ok("null".to_owned()),
        _ => Err("a key must be a plain word".to_owned()),
    }
}

/// Walks to a value and refuses it.
struct Probe<'a> {
    path: &'a [Step],
    of: Of,
}

/// Refuses everything: each `visit_` of the trait does so unless overridden.
struct Refuse;

impl Visitor<'_> for Refuse {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if self.path.is_empty() { d.deserialize_any(Refuse) } else { d.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value on the way")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else { return skip_map(map) };
        let refuse_key = rest.is_empty() && self.of == Of::Key;
        while let Some(found) = map.next_key_seed(KeyProbe { wanted, refuse: refuse_key })? {
            if found {
                map.next_value_seed(Probe { path: rest, of: self.of })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        for index in 0.. {
            let more = if index == *wanted {
                seq.next_element_seed(Probe { path: rest, of: self.of })?.is_some()
            } else {
                seq.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

struct KeyProbe<'a> {
    wanted: &'a str,
    refuse: bool,
}

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyProbe<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if self.refuse && key == self.wanted { Err(E::custom("found")) } else { Ok(key == self.wanted) }
    }
}

struct Section<'a, T> {
    key: &'a str,
    out: &'a mut Option<T>,
}

impl<'de, T: serde::de::DeserializeOwned> DeserializeSeed<'de> for Section<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de, T: serde::de::DeserializeOwned> Visitor<'de> for Section<'_, T> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a group of keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(KeyProbe { wanted: self.key, refuse: false })? {
            if found {
                if self.out.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom(format!("`{}` stands here twice", self.key)));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nlist:\n  - x: one\n    y: [p, \"q\"]\n  - { x: two, y: [] }\n";

    fn at(path: KeyPath, of: Of) -> Option<(usize, usize)> {
        locate(TEXT, &path, of).map(|p| (p.line, p.column))
    }

    #[test]
    fn every_value_and_key_is_found_again() {
        let list = KeyPath::dotted("list");
        assert_eq!(at(KeyPath::dotted("a"), Of::Key), Some((1, 1)));
        assert_eq!(at(KeyPath::dotted("a"), Of::Value), Some((1, 4)));
        assert_eq!(at(list.index(0).key("x"), Of::Value), Some((3, 8)));
        assert_eq!(at(list.index(0).key("y").index(1), Of::Value), Some((4, 12)));
        assert_eq!(at(list.index(1).key("x"), Of::Key), Some((5, 7)));
        assert_eq!(at(list.index(2), Of::Value), None);
        assert_eq!(at(KeyPath::dotted("b"), Of::Key), None);
    }

    #[test]
    fn a_telephone_number_without_quotes_keeps_its_zero() {
        let Ok(Node::Map(m)) = parse("n: 0388881001\no: 0311112222") else { panic!("a map") };
        assert_eq!(m[0].1, Node::Str("0388881001".into()));
        assert_eq!(m[1].1, Node::Str("0311112222".into()));
    }
}
