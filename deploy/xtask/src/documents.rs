//! What documents name has to be there: tests, source files, and the files that they link to.

use crate::Violation;
use crate::sources::{files, rust_files};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Where sources and documents are.
const TOPS: &[&str] = &["bench", "controlplane", "dataplane", "deploy", "ebpf"];
/// A name of so many words joined by `_` is that of a test or function; shorter ones may be keys or words of others.
const NAME_WORDS_MIN: usize = 4;

pub fn check(root: &Path) -> Vec<Violation> {
    let sources: Vec<_> = TOPS.iter().flat_map(|top| rust_files(&root.join(top))).collect();
    let named = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let paths: Vec<_> = sources.iter().map(|path| named(path)).collect();
    let mut words = HashSet::new();
    for path in &sources {
        let text = fs::read_to_string(path).unwrap_or_default();
        words.extend(text.split(|c: char| !is_of_name(c)).filter(|w| is_name(w)).map(str::to_owned));
    }
    let mut documents: Vec<_> = TOPS.iter().flat_map(|top| files(&root.join(top), "md")).collect();
    let here = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    documents.extend(here.filter(|path| path.extension().is_some_and(|e| e == "md")));
    let mut violations = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap_or_default();
        let folder = document.parent().unwrap_or(root);
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", named(&document), number + 1);
            for missing in missing(line, &words, &paths) {
                violations.push(Violation::new(place(), format!("`{missing}` is not in the sources")));
            }
            for link in links(line).filter(|link| !folder.join(link).exists()) {
                violations.push(Violation::new(place(), format!("the link to {link} leads nowhere")));
            }
        }
    }
    violations
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

fn is_name(word: &str) -> bool {
    word.chars().all(is_of_name) && word.split('_').filter(|w| !w.is_empty()).count() >= NAME_WORDS_MIN
}

/// Names and paths between backquotes that are not there.
fn missing<'a>(line: &'a str, words: &HashSet<String>, paths: &[String]) -> Vec<&'a str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted
        .filter(|code| {
            let no_test = is_name(code) && !words.contains(*code);
            no_test || (is_path(code) && !has_file(code, paths))
        })
        .collect()
}

fn is_path(code: &str) -> bool {
    let is_one = !code.contains(|c: char| c.is_whitespace() || c == '*');
    code.ends_with(".rs") && code.contains('/') && is_one
}

/// `sip/ua/receive.rs` is short for `controlplane/sip/src/ua/receive.rs`.
fn has_file(code: &str, paths: &[String]) -> bool {
    let long = code.split_once('/').map(|(first, rest)| format!("{first}/src/{rest}")).unwrap_or_default();
    let ends = |path: &String, with: &str| path == with || path.ends_with(&format!("/{with}"));
    paths.iter().any(|path| ends(path, code) || ends(path, &long))
}

/// Files of the repository that a line links to.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let link = rest.split([')', '#']).next()?;
        (!link.is_empty() && !link.contains("://")).then_some(link)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_that_are_gone_are_seen() {
        let words = HashSet::from(["a_test_that_is_there".to_owned()]);
        let paths = ["controlplane/sip/src/ua/receive.rs".to_owned()];
        let line = "`a_test_that_is_there` `a_test_that_is_gone` `nat_pool_max` `sip/ua/receive.rs` `ua/receive.rs` \
                    `sip/ua/gone.rs` `sys.rs`";
        assert_eq!(missing(line, &words, &paths), ["a_test_that_is_gone", "sip/ua/gone.rs"]);
        let line = "[a](README.md#top), [b](https://example.com/x.md) and [c](deploy/x.svg)";
        assert_eq!(links(line).collect::<Vec<_>>(), ["README.md", "deploy/x.svg"]);
    }
}
