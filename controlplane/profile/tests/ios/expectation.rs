//! One case: a configuration, and the verdict that each of its lines has to get.

use serde_yaml::Value;
use sipsec_profile::ios::report::{At, Finding, Outcome, Severity, Verdict};
use sipsec_profile::ios::{self, Import, Options, Source, write};
use std::path::Path;

pub struct Case {
    pub name: String,
    pub expected: Value,
    pub import: Import,
}

impl Case {
    pub fn read(path: &Path) -> Self {
        let expected: Value =
            serde_yaml::from_str(&std::fs::read_to_string(path).expect("readable")).expect("an expectation");
        let name = expected["input"].as_str().expect("an input").to_owned();
        let bytes = std::fs::read(path.with_file_name(&name)).expect("the input");
        let import = ios::import(&[Source { name: &name, bytes: &bytes }], &options(&expected));
        Self { name, expected, import }
    }

    /// Everything that does not hold.
    pub fn wrong(&self) -> Vec<String> {
        let mut out = Vec::new();
        let verdicts = &self.expected["verdicts"];
        self.each(&verdicts["converted"], &mut out, "converted", |v| v == Verdict::Converted);
        self.each(&verdicts["converted_or_ignored"], &mut out, "no error", |v| v != Verdict::Error);
        for class in ["noise", "system", "unrelated", "once"] {
            let is = |v| matches!(v, Verdict::Ignored { class: c, .. } if c.name() == class);
            self.each(&verdicts["ignored"][class], &mut out, class, is);
        }
        for group in sequence(&verdicts["error"]) {
            self.each(&group["lines"], &mut out, "error", |v| v == Verdict::Error);
            self.said(group, &mut out, |f| f.severity == Severity::Error);
        }
        for group in sequence(&verdicts["not_silent"]) {
            self.said(group, &mut out, |_| true);
            for line in lines(&group["lines"]) {
                if !self.import.report.findings.iter().any(|f| holds(f, line)) {
                    out.push(format!("{}:{line}: silent", self.name));
                }
            }
        }
        let whole = |key: &str, wanted: &dyn Fn(&Finding) -> bool, out: &mut Vec<String>| {
            let group = &self.expected[key];
            if group.is_null() {
                return;
            }
            let mut words = says(group);
            if words.is_empty() {
                let about = group["about"].as_str().unwrap_or_default();
                words.push(
                    if about.contains("fragment") {
                        "fragment"
                    } else if about.contains("UTF-8") {
                        "UTF-8"
                    } else {
                        "tunnel"
                    }
                    .to_owned(),
                );
            }
            let findings: Vec<&Finding> = self.import.report.findings.iter().filter(|f| wanted(f)).collect();
            for word in words {
                if !findings.iter().any(|f| contains(f, &word)) {
                    out.push(format!("{}: {key} does not say {word}", self.name));
                }
            }
        };
        whole("whole_file_not_silent", &|_| true, &mut out);
        whole("whole_file_error", &|f| f.severity == Severity::Error, &mut out);
        self.asks(&mut out);
        let text = self.expected["outcome"].as_str().expect("an outcome");
        if !outcomes(text).contains(&self.import.report.outcome()) {
            out.push(format!("{}: {:?} instead of {text}", self.name, self.import.report.outcome()));
        }
        out
    }

    fn each(&self, list: &Value, out: &mut Vec<String>, wanted: &str, is: impl Fn(Verdict) -> bool) {
        for line in lines(list) {
            let report = self.import.report.line(At { file: 0, line }).expect("a line");
            // Lines of "!" alone need no verdict.
            if report.verdict != Verdict::Blank && !is(report.verdict) {
                out.push(format!(
                    "{}:{line}: {:?} instead of {wanted}: {}",
                    self.name, report.verdict, report.text
                ));
            }
        }
    }

    /// One finding at these lines has to contain all the words.
    fn said(&self, group: &Value, out: &mut Vec<String>, wanted: impl Fn(&Finding) -> bool) {
        let at: Vec<u32> = lines(&group["lines"]);
        let mut findings =
            self.import.report.findings.iter().filter(|f| wanted(f) && at.iter().any(|line| holds(f, *line)));
        let words = says(group);
        if !findings.any(|f| words.iter().all(|w| contains(f, w))) {
            out.push(format!("{}:{at:?}: says nothing of {words:?}", self.name));
        }
    }

    fn asks(&self, out: &mut Vec<String>) {
        for ask in sequence(&self.expected["asks"]) {
            let wanted = match ask.as_str().expect("words") {
                key if key.starts_with("sip.") => vec![key],
                text => ["private key", "certificate", "CA", "revocation list"]
                    .into_iter()
                    .filter(|w| text.contains(w))
                    .collect(),
            };
            for word in wanted {
                if !self.import.report.asks.iter().any(|a| a.key == word || a.what.contains(word)) {
                    out.push(format!("{}: does not ask for {word}", self.name));
                }
            }
        }
    }

    pub fn options(&self) -> Options {
        options(&self.expected)
    }

    pub fn never_shown(&self) -> Vec<String> {
        sequence(&self.expected["never_shown"]).map(|v| v.as_str().expect("text").to_owned()).collect()
    }

    /// Everything that goes to a screen or into a report.
    pub fn everything_shown(&self) -> String {
        let report = &self.import.report;
        let files = write::Keys::Files("/etc/sipsec".into());
        let profile = write::profile(&self.import.conversion, None, &files, "");
        let json = serde_json::to_string(report).expect("JSON");
        format!("{}{}{json}{:?}", report.text(), report.html(Some(&profile.profile)), self.import.conversion)
    }

    /// The profile with its keys inline.
    pub fn profile(&self) -> Value {
        let written = write::profile(&self.import.conversion, None, &write::Keys::Inline, "of a test");
        serde_yaml::from_str(&written.profile).expect("the import writes YAML")
    }
}

fn options(expected: &Value) -> Options {
    let arguments = expected["arguments"].as_str().unwrap_or_default();
    let map = arguments.strip_prefix("--ifmap ").unwrap_or_default();
    let pairs = map.split(',').filter_map(|pair| pair.split_once('='));
    let interfaces =
        pairs.map(|(ios, device)| (ios::names::canonical(ios).expect("an interface"), device.to_owned()));
    Options { interfaces: interfaces.collect(), gateway: None }
}

fn outcomes(text: &str) -> &'static [Outcome] {
    use Outcome::{Converted, Errors, Refused, Warnings};
    match text {
        "converted" => &[Converted],
        "converted, with warnings" | "warnings" => &[Warnings],
        "errors" => &[Errors],
        "refused" => &[Refused],
        "nothing to convert"
        | "converted or nothing to convert"
        | "nothing to convert, or asks"
        | "converted or ignored, said which" => &[Converted, Warnings],
        "errors or warnings" | "errors or warnings, no profile" | "converted with warnings, or errors" => {
            &[Errors, Warnings]
        }
        other => panic!("unknown outcome {other}"),
    }
}

pub fn sequence(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_sequence().into_iter().flatten()
}

/// `[1, 3-5]`
fn lines(value: &Value) -> Vec<u32> {
    sequence(value)
        .flat_map(|item| match item.as_u64() {
            Some(line) => {
                let line = u32::try_from(line).expect("a line");
                line..=line
            }
            None => {
                let (first, last) = item.as_str().and_then(|s| s.split_once('-')).expect("a range");
                first.trim().parse().expect("a line")..=last.trim().parse().expect("a line")
            }
        })
        .collect()
}

fn says(group: &Value) -> Vec<String> {
    sequence(&group["says"]).map(|v| v.as_str().expect("text").to_owned()).collect()
}

fn holds(finding: &Finding, line: u32) -> bool {
    finding.places.iter().any(|span| span.holds(At { file: 0, line }))
}

fn contains(finding: &Finding, word: &str) -> bool {
    let text = format!("{} {}", finding.message, finding.hint).to_lowercase();
    text.contains(&word.to_lowercase())
}
