//! The keywords of JSON Schema (draft 2020-12) that the published schema has. Another one is refused, so that none goes
//! unheeded here while an editor heeds it.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Keywords that judge nothing.
const ANNOTATIONS: &[&str] =
    &["$schema", "title", "description", "default", "enumDescriptions", "writeOnly", "deprecated"];

pub struct Validator {
    schema: Value,
    patterns: HashMap<String, Regex>,
}

impl Validator {
    pub fn new(schema: Value) -> Self {
        let mut patterns = HashMap::new();
        compile(&schema, &mut patterns);
        Self { schema, patterns }
    }

    /// What is wrong with a value, by the paths of its parts.
    pub fn errors(&self, value: &Value) -> Vec<String> {
        let mut out = Vec::new();
        self.judge(&self.schema, value, "", &mut out);
        out
    }

    fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut out = Vec::new();
        self.judge(schema, value, "", &mut out);
        out.is_empty()
    }

    fn judge(&self, schema: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
        let schema = schema.as_object().expect("a schema is an object");
        for (keyword, wanted) in schema {
            if ANNOTATIONS.contains(&keyword.as_str()) {
                continue;
            }
            let valid = match (keyword.as_str(), value) {
                ("type", _) => has_type(wanted, value),
                ("enum", _) => wanted.as_array().expect("a list").contains(value),
                ("minimum", Value::Number(n)) => n.as_f64() >= wanted.as_f64(),
                ("maximum", Value::Number(n)) => n.as_f64() <= wanted.as_f64(),
                ("minLength", Value::String(s)) => s.chars().count() as u64 >= number(wanted),
                ("maxLength", Value::String(s)) => s.chars().count() as u64 <= number(wanted),
                ("minItems", Value::Array(a)) => a.len() as u64 >= number(wanted),
                ("pattern", Value::String(s)) => {
                    self.patterns[wanted.as_str().expect("a pattern")].is_match(s.as_bytes())
                }
                ("required", Value::Object(o)) => names(wanted).iter().all(|name| o.contains_key(*name)),
                ("allOf", _) => {
                    list(wanted).iter().for_each(|one| self.judge(one, value, path, out));
                    true
                }
                ("oneOf", _) => list(wanted).iter().filter(|one| self.is_valid(one, value)).count() == 1,
                ("anyOf", _) => list(wanted).iter().any(|one| self.is_valid(one, value)),
                ("not", _) => !self.is_valid(wanted, value),
                ("items", Value::Array(items)) => {
                    for (i, item) in items.iter().enumerate() {
                        self.judge(wanted, item, &format!("{path}[{i}]"), out);
                    }
                    true
                }
                ("properties", Value::Object(o)) => {
                    for (name, below) in wanted.as_object().expect("keys") {
                        if let Some(value) = o.get(name) {
                            self.judge(below, value, &format!("{path}.{name}"), out);
                        }
                    }
                    true
                }
                ("additionalProperties", Value::Object(o)) => {
                    assert_eq!(*wanted, Value::Bool(false));
                    let known = schema["properties"].as_object().expect("keys");
                    o.keys().all(|name| known.contains_key(name))
                }
                // Of another type: the keyword judges nothing.
                (
                    "minimum"
                    | "maximum"
                    | "minLength"
                    | "maxLength"
                    | "minItems"
                    | "pattern"
                    | "required"
                    | "items"
                    | "properties"
                    | "additionalProperties",
                    _,
                ) => true,
                (other, _) => panic!("the keyword {other} is not known here"),
            };
            if !valid {
                out.push(format!("{path}: {keyword}"));
            }
        }
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not known here"),
    };
    match wanted {
        Value::Array(_) => names(wanted).into_iter().any(is),
        one => is(one.as_str().expect("a type")),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn names(value: &Value) -> Vec<&str> {
    list(value).iter().map(|name| name.as_str().expect("a name")).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Every pattern, wherever it stands.
fn compile(schema: &Value, out: &mut HashMap<String, Regex>) {
    match schema {
        Value::Object(map) => object(map, out),
        Value::Array(items) => items.iter().for_each(|item| compile(item, out)),
        _ => {}
    }
}

fn object(map: &Map<String, Value>, out: &mut HashMap<String, Regex>) {
    if let Some(Value::String(pattern)) = map.get("pattern") {
        // ASCII decides in all of them.
        let compiled = RegexBuilder::new(pattern)
            .unicode(false)
            .build()
            .unwrap_or_else(|error| panic!("{pattern}: {error}"));
        out.insert(pattern.clone(), compiled);
    }
    map.values().for_each(|below| compile(below, out));
}
