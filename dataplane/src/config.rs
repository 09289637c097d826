//! Reading a profile, of which the dataplane needs a few sections only.

use crate::error::BootError;
use sipsec_profile::Head;
use sipsec_profile::model::limits::FILE_BYTES_MAX;
use std::io::Read;
use std::path::Path;

/// # Errors
/// If the file cannot be read, or what the dataplane needs of it has errors.
pub fn load(path: &Path) -> Result<Head, BootError> {
    let read = |error| BootError::ProfileRead { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(BootError::ProfileTooLarge { path: path.to_owned(), max: FILE_BYTES_MAX });
    }
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Head, BootError> {
    sipsec_profile::head(&path.display().to_string(), bytes).map_err(BootError::Profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_file_place_and_hint() {
        let text = "version: 1\ngateway: g\ndataplane:\n  outside: { device: w }\n  inside: { mode: host, device: s }\n  worker: { count: 17 }\n";
        let parse = |text: &str| parse(Path::new("g.yaml"), text.as_bytes());
        let error = parse(text).expect_err("too many workers").to_string();
        assert!(error.contains("g.yaml:6:20") && error.contains("`dataplane.worker.count` is 17"), "{error}");
        let error = parse(&text.replace("worker", "wroker")).expect_err("typo").to_string();
        assert!(error.contains("g.yaml:6:3") && error.contains("did you mean `worker`"), "{error}");
        let head = parse(&text.replace("count: 17", "count: 1")).expect("right");
        assert_eq!(head.dataplane_socket(), Path::new("/run/sipsec/g/dataplane.sock"));
    }

    #[test]
    fn other_sections_are_not_the_dataplanes() {
        let text = "version: 1\ngateway: g\nsip: nonsense\ndataplane: { outside: { device: w }, inside: { mode: host, device: s } }\n";
        assert!(parse(Path::new("g.yaml"), text.as_bytes()).is_ok());
    }
}
