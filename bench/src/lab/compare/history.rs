//! The list of results: one JSON object per line, with what is needed to compare two of them.

use crate::lab::error::LabError;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Adds date, processor, kernel and commit to the record and appends it.
pub fn append(path: &Path, record: &Value) -> Result<(), LabError> {
    let mut line = record.clone();
    if let Some(fields) = line.as_object_mut() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        fields.insert("unix_time".into(), now.as_secs().into());
        fields.insert("processor".into(), processor());
        let uname = rustix::system::uname();
        fields.insert("kernel".into(), uname.release().to_string_lossy().into());
        fields.insert("commit".into(), commit());
    }
    let failed = || LabError::io(path.display().to_string());
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed())?;
    writeln!(file, "{line}").map_err(failed())
}

/// Model and number of logical processors.
fn processor() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    json!({ "model": model, "count": count })
}

/// The commit of the working tree, `null` without git.
fn commit() -> Value {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().into(),
        _ => Value::Null,
    }
}
