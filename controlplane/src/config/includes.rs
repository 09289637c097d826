//! The files that a pattern of `include:` names.

use crate::pki::files::reason;
use glob::MatchOptions;
use sipsec_profile::read::FILES_MAX;
use std::path::{Path, PathBuf};

/// Names that begin with a dot are those of editors' copies: only a pattern that has the dot finds them.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files by their absolute paths, without links, sorted.
///
/// # Errors
/// If there is none, or a directory cannot be read.
pub fn files(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let text = pattern.to_str().ok_or("its name is not UTF-8")?;
    let mut found = if text.contains(['*', '?', '[']) { matching(text)? } else { vec![pattern.to_owned()] };
    for file in &mut found {
        *file = std::fs::canonicalize(&*file).map_err(|e| reason(&e))?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.contains("**") {
        return Err("`**` would search whole trees of directories: name each directory".to_owned());
    }
    let found = glob::glob_with(pattern, OPTIONS).map_err(|e| format!("this is not a pattern: {}", e.msg))?;
    let mut files = Vec::new();
    for file in found {
        files.push(file.map_err(|e| format!("{}: {}", e.path().display(), reason(e.error())))?);
        if files.len() > FILES_MAX {
            return Err(format!("it matches more than {FILES_MAX} files"));
        }
    }
    if files.is_empty() { Err("no file has such a name".to_owned()) } else { Ok(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_in_order_and_no_hidden_ones() {
        let dir = std::env::temp_dir().join(format!("sipsec-includes-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("b")).expect("made");
        for name in ["b/2.yaml", "b/1.yaml", "b/.1.yaml", "b/1.yaml~"] {
            std::fs::write(dir.join(name), "").expect("written");
        }
        std::os::unix::fs::symlink(dir.join("b/1.yaml"), dir.join("b/3.yaml")).expect("linked");
        let dir = dir.canonicalize().expect("there");
        let found = |pattern: &str| files(&dir.join(pattern));
        let names = |list: &[&str]| Ok(list.iter().map(|n| dir.join(n)).collect::<Vec<_>>());
        assert_eq!(
            found("b/*.yaml"),
            names(&["b/1.yaml", "b/2.yaml"]),
            "a link is the file that it leads to"
        );
        assert_eq!(found("b/../b/2.yaml"), names(&["b/2.yaml"]));
        assert_eq!(found("*/[2-9].yaml"), names(&["b/1.yaml", "b/2.yaml"]));
        for (pattern, reason) in [
            ("b/3.yml", "there is no such file"),
            ("b/*.yml", "no file has such a name"),
            ("**/x", "`**` would search whole trees of directories: name each directory"),
        ] {
            assert_eq!(found(pattern), Err(reason.to_owned()));
        }
        assert!(found("b/[").is_err_and(|e| e.contains("not a pattern")));
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
