//! `deploy/CONFIGURATION.md` is generated: `UPDATE_GOLDEN=1` writes it.

use serde_json::{Value, json};
use sipsec_profile::schema::{all, json_schema, reference};
use std::path::Path;

#[test]
fn the_configuration_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/CONFIGURATION.md");
    let text = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "deploy/CONFIGURATION.md is not current; UPDATE_GOLDEN=1 writes it");
    for (path, key) in all() {
        assert!(text.contains(&format!("| `{}` |", key.name)), "{path}");
    }
}

/// Entries that are repeated have `{n}` in numbers, names and routes; others have not.
#[test]
fn a_template_may_stand_where_an_entry_can_be_repeated() {
    let schema = json_schema();
    let tunnel = &schema["properties"]["tunnels"]["items"]["properties"];
    for value in [&tunnel["name"], &tunnel["remote_number"], &tunnel["bandwidth_kbps"]] {
        assert_eq!(value["anyOf"][1]["pattern"], "\\{.+\\}", "{value}");
    }
    assert!(tunnel["routes"].to_string().contains(r"\\{.+\\}"), "{}", tunnel["routes"]);
    assert_eq!(schema["properties"]["gateway"]["anyOf"], Value::Null);
    let class = &schema["properties"]["qos"]["properties"]["policies"]["items"]["properties"]["classes"];
    assert_eq!(class["items"]["properties"]["dscp"]["type"], json!(["string", "integer"]));
}
