//! The report as one page: the configuration on the left, the profile on the right. Nothing is loaded from elsewhere.

use super::{At, Finding, Report, Severity, Verdict};
use std::collections::HashMap;
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--edge:#8884;--ok:#2a8a3e;--warn:#b26a00;--bad:#c62828;--dim:#7778}
*{box-sizing:border-box}body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem 1.5rem;max-width:110rem}
h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
.sum span{display:inline-block;margin-right:1.2rem}
.cols{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:1.2rem;align-items:start}
@media(max-width:70rem){.cols{grid-template-columns:minmax(0,1fr)}}
.box{border:1px solid var(--edge);border-radius:6px;overflow:auto}
.profile{position:sticky;top:0;max-height:100vh}
table{border-collapse:collapse;width:100%}td{vertical-align:top;padding:0 .5rem}
code,pre,td.t{font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
pre{padding:.6rem}td.n{text-align:right;color:var(--dim);user-select:none;width:3.5rem}
td.v{width:11rem;font-size:12px;color:var(--dim)}
tr.converted td.n{border-left:4px solid var(--ok)}tr.ignored td.n,tr.blank td.n{border-left:4px solid transparent}
tr.error td.n{border-left:4px solid var(--bad)}tr.ignored td.t{opacity:.55}
.f{border-left:4px solid;padding:.3rem .7rem;margin:.35rem 0;font-size:14px}
.f.error{border-color:var(--bad)}.f.warning{border-color:var(--warn)}.f.note{border-color:var(--dim)}
.f b{text-transform:uppercase;font-size:11px;letter-spacing:.04em;margin-right:.4rem}.h{opacity:.75}
td .f{margin:.1rem 0 .3rem}dt{font-family:ui-monospace,monospace;font-size:13px}dd{margin:0 0 .4rem 1.2rem}
";

impl Report {
    /// The page. `profile`: its text without secrets, or `None` if there is none.
    #[must_use]
    pub fn html(&self, profile: Option<&str>) -> String {
        let mut out = String::new();
        let names: Vec<String> = self.files.iter().map(|f| escape(&f.name)).collect();
        let title = names.join(", ");
        let [converted, ignored, wrong] = self.counts();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>sipsec import ios: {title}</title><style>{STYLE}</style></head><body>\
             <h1>{title}: {}</h1><p class=\"sum\"><span>{converted} lines converted</span><span>{ignored} ignored</span>\
             <span>{wrong} wrong</span><span>{} errors</span><span>{} warnings</span></p>",
            self.outcome().words(),
            self.errors(),
            self.warnings()
        );
        let whole: Vec<&Finding> = self.findings.iter().filter(|f| f.places.is_empty()).collect();
        if !whole.is_empty() {
            out.push_str("<h2>About the whole</h2>");
            whole.iter().for_each(|f| finding(&mut out, f, ""));
        }
        if !self.asks.is_empty() {
            out.push_str("<h2>To be filled in</h2><dl>");
            for ask in &self.asks {
                let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(&ask.key), escape(&ask.what));
            }
            out.push_str("</dl>");
        }
        out.push_str("<div class=\"cols\"><div>");
        self.lines(&mut out);
        out.push_str("</div><div class=\"profile\"><h2>Profile</h2><div class=\"box\"><pre>");
        out.push_str(&profile.map_or_else(|| "No profile comes of this.".to_owned(), escape));
        out.push_str("</pre></div></div></div></body></html>\n");
        out
    }

    fn lines(&self, out: &mut String) {
        let mut at: HashMap<At, Vec<&Finding>> = HashMap::new();
        for finding in &self.findings {
            if let Some(span) = finding.places.first() {
                at.entry(At { file: span.file, line: span.first }).or_default().push(finding);
            }
        }
        for (index, file) in (0u16..).zip(&self.files) {
            let _ = write!(out, "<h2>{}</h2><div class=\"box\"><table>", escape(&file.name));
            for line in &file.lines {
                let (class, verdict) = match line.verdict {
                    Verdict::Blank => ("blank", String::new()),
                    Verdict::Converted => ("converted", "converted".to_owned()),
                    Verdict::Error => ("error", "error".to_owned()),
                    Verdict::Ignored { class, why } => {
                        ("ignored", format!("{}: {}", class.name(), escape(why)))
                    }
                };
                let _ = write!(
                    out,
                    "<tr class=\"{class}\"><td class=\"n\">{}</td><td class=\"t\">{}</td><td class=\"v\">{verdict}</td></tr>",
                    line.number,
                    escape(&line.text)
                );
                let here = at.get(&At { file: index, line: line.number });
                if let Some(here) = here {
                    out.push_str("<tr><td></td><td colspan=\"2\">");
                    here.iter().for_each(|f| finding(out, f, &self.places(&f.places)));
                    out.push_str("</td></tr>");
                }
            }
            out.push_str("</table></div>");
        }
    }
}

fn finding(out: &mut String, finding: &Finding, place: &str) {
    let class = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let several = finding.places.len() > 1 || finding.places.iter().any(|s| s.first != s.last);
    let place =
        if several { format!(" <span class=\"h\">({})</span>", escape(place)) } else { String::new() };
    let _ = write!(
        out,
        "<div class=\"f {class}\"><b>{class}</b>{}{place}<div class=\"h\">{}</div></div>",
        escape(&finding.message),
        escape(&finding.hint)
    );
}

/// Text as HTML; control characters are shown as dots.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('.'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_configuration_becomes_markup() {
        assert_eq!(escape("<script>\"'&\u{1b}[2J"), "&lt;script&gt;&quot;&#39;&amp;.[2J");
    }
}
