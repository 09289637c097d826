//! The one module that knows the YAML library. It turns text into a plain tree, and finds the place of any value again
//! when a diagnostic needs it.
//!
//! The library keeps no positions on success but names one in every error. So a place is found by reading the document
//! once more with a visitor that refuses exactly the wanted value. That costs a pass per diagnostic, of which there are
//! few, and nothing when there are none.

use super::path::{KeyPath, Step};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use std::fmt;

/// A value without its YAML dress.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
    /// Of more than 64 bits.
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
    pub cure: &'static str,
    pub place: Option<Place>,
}

/// # Errors
/// If the text is not one YAML document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    serde_yaml::from_str(text).map_err(|e| syntax_error(&e))
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
    SyntaxError { cure: cure(&message), message, place: place(error) }
}

/// The whole document. Errors of its own name no value: it may be a secret.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Whole)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Node;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Huge, Node::Int))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Huge)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Huge)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Str(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key_seed(NewKey(&entries))? {
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom(TAG))
    }
}

const TAG: &str = "a value that begins with `!` is a tag, which has no meaning in a profile";
const TWICE: &str = "stands here twice";

/// A key that its group does not have yet.
struct NewKey<'a>(&'a [(String, Node)]);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key, which is a plain word")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        match self.0.iter().any(|(k, _)| k == key) {
            true => Err(E::custom(format!("`{key}` {TWICE}"))),
            false => Ok(key.to_owned()),
        }
    }
}

/// What to do about the library's complaint, or ours.
fn cure(message: &str) -> &'static str {
    const CURES: &[(&str, &str)] = &[
        (TWICE, "remove one of the two"),
        (TAG, "put it in quotes"),
        ("more than one document", "remove the lines `---` within it: a profile is one document"),
        ("a key, which is a plain word", "write `key: value`; a text that begins with [ or { needs quotes"),
        ("control characters", "remove the character: a profile is text"),
        ("recursion limit", "no profile is nested so deep"),
    ];
    let known = CURES.iter().find(|(part, _)| message.contains(part));
    known.map_or(
        "this is not YAML: look for a missing colon, quote or bracket, and at the indentation",
        |(_, cure)| cure,
    )
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
                    return Err(A::Error::custom(format!("`{}` {TWICE}", self.key)));
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
    fn a_key_that_stands_twice_is_named_with_its_place() {
        let error = parse("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n").expect_err("c twice");
        assert!(error.message.ends_with("`c` stands here twice"), "{}", error.message);
        assert_eq!((error.place, error.cure), (Some(Place { line: 5, column: 3 }), "remove one of the two"));
    }

    /// It may be a secret that lacks its quotes.
    #[test]
    fn no_error_names_a_value() {
        let tag = parse("password: !hunter2").expect_err("a tag").message;
        assert!(tag.contains("password") && !tag.contains("hunter2"), "{tag}");
        for huge in ["27529530908597687928205323935359244120", "0x27529530908597687928205323935359"] {
            let Ok(Node::Map(m)) = parse(&format!("psk: {huge}")) else { panic!("a map") };
            assert_eq!(m[0].1, Node::Huge);
        }
    }

    #[test]
    fn a_telephone_number_without_quotes_keeps_its_zero() {
        let Ok(Node::Map(m)) = parse("n: 0388881001\no: 0311112222") else { panic!("a map") };
        assert_eq!(m[0].1, Node::Str("0388881001".into()));
        assert_eq!(m[1].1, Node::Str("0311112222".into()));
    }
}
