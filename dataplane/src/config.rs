//! Reading a profile: of its sections only what the dataplane needs.

use crate::error::BootError;
use sipsec_abi::profile::ProfileHead;
use std::path::Path;

pub fn load(path: &Path) -> Result<ProfileHead, BootError> {
    let read = |error| BootError::ProfileRead { path: path.to_owned(), error };
    parse(path, &std::fs::read_to_string(path).map_err(read)?)
}

fn parse(path: &Path, text: &str) -> Result<ProfileHead, BootError> {
    let head: ProfileHead = serde_yaml::from_str(text)
        .map_err(|error| BootError::ProfileSyntax { path: path.to_owned(), error })?;
    let problems = head.problems();
    if problems.is_empty() {
        Ok(head)
    } else {
        Err(BootError::ProfileMeaning { path: path.to_owned(), problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_file_place_and_cure() {
        let text = "version: 1\ngateway: g\ndataplane:\n  outside: { device: w }\n  inside: { mode: host, device: s }\n  worker: { count: 2 }\n";
        let error = parse(Path::new("g.yaml"), text).expect_err("two workers").to_string();
        assert!(
            error.contains("g.yaml") && error.contains("worker.count: 2") && error.contains("exactly one"),
            "{error}"
        );
        let error =
            parse(Path::new("g.yaml"), &text.replace("worker", "wroker")).expect_err("typo").to_string();
        assert!(error.contains("wroker") && error.contains("line"), "{error}");
        assert!(parse(Path::new("g.yaml"), &text.replace("count: 2", "count: 1")).is_ok());
    }
}
