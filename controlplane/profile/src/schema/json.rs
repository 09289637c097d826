//! The schema as JSON Schema (draft 2020-12), for editors.

use super::{Group, Key, Kind, PROFILE, Presence, Text};
use crate::model::secret::{PASSWORD, PPK, PRIVATE_KEY, PSK, PSK_NEXT};
use serde_json::{Map, Value, json};

/// The whole schema.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = group(&PROFILE, false);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), "sipsec profile".into());
    }
    schema
}

/// `template`: it stands in an entry that may be repeated.
fn group(group: &Group, template: bool) -> Value {
    let template = template || group.key("for").is_some();
    let properties: Map<String, Value> =
        group.keys.iter().map(|k| (k.name.to_owned(), key(k, template))).collect();
    let required: Vec<_> =
        group.keys.iter().filter(|k| matches!(k.presence, Presence::Required(_))).map(|k| k.name).collect();
    let mut out = json!({
        "type": "object",
        "description": group.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if group.key("for").is_some() {
        // What an entry lacks may come from `defaults`; the reader reports it otherwise.
        out.as_object_mut().map(|map| map.remove("required"));
    }
    let choices: Vec<_> = choices(group).iter().map(|(names, needed)| choice(names, *needed)).collect();
    match choices.as_slice() {
        [] => {}
        [one] => out["oneOf"] = one.clone(),
        several => {
            out["allOf"] = several.iter().map(|one| json!({ "oneOf": one })).collect();
        }
    }
    out
}

/// Exactly one of the keys, or also none of them.
fn choice(names: &[&str], needed: bool) -> Value {
    let mut out: Vec<_> = names.iter().map(|name| json!({ "required": [name] })).collect();
    if !needed {
        out.push(json!({ "not": { "anyOf": out } }));
    }
    json!(out)
}

/// Keys of which one at most may be there, and whether one must.
fn choices(group: &Group) -> Vec<(Vec<&'static str>, bool)> {
    let has = |name| group.key(name).is_some();
    let sets = [
        (PSK.all().chain(["certificate"]).collect(), true),
        (PSK_NEXT.all().collect(), false),
        (PPK.all().collect(), false),
        (PASSWORD.all().collect(), true),
        // Of a certificate of IKE, and of TLS, which may do without.
        (PRIVATE_KEY.all().collect::<Vec<_>>(), has("trust")),
    ];
    sets.into_iter().filter(|(names, _)| names.iter().all(|name| has(name))).collect()
}

fn key(key: &Key, template: bool) -> Value {
    let mut out = kind(&key.kind, template);
    let mut about = key.about.to_owned();
    if !key.unit.is_empty() {
        about += &format!(" Unit: {}.", key.unit);
    }
    if !key.ios.is_empty() {
        about += &format!(" IOS: {}.", key.ios);
    }
    match key.presence {
        Presence::Default(default) => out["default"] = typed(default, &key.kind),
        Presence::Required(_) => {}
        Presence::Optional(absent) => about += &format!(" If absent: {absent}."),
    }
    out["description"] = about.into();
    out
}

/// A default as the type of its key.
fn typed(text: &str, kind: &Kind) -> Value {
    match kind {
        Kind::Int { .. } => text.parse::<u64>().map_or(Value::Null, Value::from),
        Kind::Flag => Value::from(text == "true"),
        _ => Value::from(text),
    }
}

fn kind(kind_of: &Kind, template: bool) -> Value {
    match kind_of {
        Kind::List(of) => json!({ "type": "array", "items": kind(of, template) }),
        Kind::Group(below) => group(below, template),
        Kind::Several(text) => {
            let one = kind(&Kind::Text(*text), template);
            json!({ "oneOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Kind::Either(text, below) => {
            json!({ "oneOf": [kind(&Kind::Text(*text), template), group(below, template)] })
        }
        // `{n}` or the name of a column stands for a value, or for a part of one.
        one if template => json!({ "anyOf": [value(one), { "type": "string", "pattern": "\\{.+\\}" }] }),
        one => value(one),
    }
}

/// A kind without others in it.
fn value(kind: &Kind) -> Value {
    match kind {
        // A telephone number without a leading zero may stand without quotes.
        Kind::Text(
            text @ (Text::Number
            | Text::NumberOrAny
            | Text::NumberOrDhcp
            | Text::Numbers
            | Text::IpProtocol
            | Text::Dscp
            | Text::MediaDscp),
        ) => match text.pattern() {
            Some(pattern) => json!({ "type": ["string", "integer"], "pattern": pattern }),
            None => json!({ "type": ["string", "integer"] }),
        },
        Kind::Text(Text::Secret) => {
            json!({ "type": "string", "minLength": 1, "maxLength": 256, "writeOnly": true })
        }
        Kind::Text(text) => match text.pattern() {
            Some(pattern) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string", "minLength": 1 }),
        },
        Kind::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Word(words) => {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let meanings: Vec<_> = words.iter().map(|(_, means)| *means).collect();
            json!({ "enum": names, "enumDescriptions": meanings })
        }
        Kind::List(_) | Kind::Group(_) | Kind::Several(_) | Kind::Either(..) => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_and_defaults_have_their_type() {
        fn walk(value: &Value, path: &str, keys: &mut usize) {
            for (name, key) in value["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                *keys += 1;
                assert!(key["description"].as_str().is_some_and(|d| d.len() > 8), "{path}");
                if let Some(default) = key.get("default") {
                    assert!(!default.is_null(), "{path}");
                }
                walk(key, &path, keys);
                let mut items = &key["items"];
                while items.is_object() {
                    walk(items, &path, keys);
                    items.get("oneOf").into_iter().for_each(|either| walk(&either[1], &path, keys));
                    items = &items["items"];
                }
            }
        }
        let (schema, mut keys) = (json_schema(), 0);
        walk(&schema, "", &mut keys);
        assert_eq!(keys, super::super::all().len());
        assert_eq!(schema["properties"]["sip"]["properties"]["port"]["default"], 5060);
        assert_eq!(
            schema["properties"]["ike"]["properties"]["keyring"]["items"]["allOf"][0]["oneOf"][0]["required"]
                [0],
            "psk"
        );
    }
}
