//! A profile that an import has written, in one form that expectations can name: `{ key: value, list: [a, b] }`.

use serde_yaml::Value;

/// A value in flow style, without quotes.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Mapping(map) => {
            let entries: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", flow(k), flow(v))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Sequence(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}

/// The text of a profile in flow style.
pub fn of_text(text: &str) -> String {
    flow(&serde_yaml::from_str(text).expect("the import writes YAML"))
}
