//! Lines of a capture that are no commands.

use super::text::lookalike::is_cjk;

/// A prompt, and what was typed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt<'a> {
    pub host: &'a str,
    /// What stands in parentheses; `None` in exec mode.
    pub mode: Option<&'a str>,
    pub typed: &'a str,
}

const HOST_MAX: usize = 63;

#[must_use]
pub fn prompt(line: &str) -> Option<Prompt<'_>> {
    let line = line.trim_start_matches('\u{feff}');
    if !line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let end =
        line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@')))?;
    if end > HOST_MAX {
        return None;
    }
    let (host, rest) = line.split_at(end);
    let (mode, rest) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (mode, rest) = rest.split_once(')')?;
            (Some(mode), rest)
        }
        None => (None, rest),
    };
    // "Peer2 #show …"
    let spaced = rest.strip_prefix(" #").filter(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()));
    let typed = match (spaced, mode) {
        (Some(typed), None) => typed,
        _ => rest.strip_prefix('#').or_else(|| rest.strip_prefix('>').filter(|_| mode.is_none()))?,
    };
    Some(Prompt { host, mode, typed: typed.trim() })
}

/// `! text`, `// text`, `# text` and fences of a page.
#[must_use]
pub fn is_remark(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['!', '#'])
        || line.starts_with("//")
        || line.starts_with("```")
        || line.starts_with("~~~")
}

const HEADERS: &[&str] = &[
    "building configuration",
    "current configuration",
    "using ",
    "last configuration change",
    "nvram config last",
    "configuration of partition",
    "enter configuration commands",
    "time source is",
    "load for five secs",
    "[ok]",
    "no configuration change since",
];

/// What IOS writes around a configuration.
#[must_use]
pub fn is_header(line: &str) -> bool {
    let line = line.trim_start().to_ascii_lowercase();
    // "Using 2083 out of 262136 bytes"
    HEADERS.iter().any(|h| line.starts_with(h)) && (!line.starts_with("using ") || line.contains(" out of "))
}

/// The header after which an `end` is due.
#[must_use]
pub fn promises_end(line: &str) -> bool {
    let line = line.trim_start().to_ascii_lowercase();
    line.starts_with("current configuration")
        || line.starts_with("building configuration")
        || line.starts_with("using ")
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: …`, `000123: …`, or the answer `% …`.
#[must_use]
pub fn is_log(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with('%') {
        return true;
    }
    let mut rest = line.trim_start_matches(['*', '.']);
    let marked = rest.len() != line.len();
    // A sequence number: "000123: "
    if let Some((number, after)) = rest.split_once(": ")
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        rest = after.trim_start_matches(['*', '.']);
    }
    let dated = MONTHS.iter().any(|m| rest.get(..3).is_some_and(|start| start == *m))
        && rest.get(3..).is_some_and(|r| r.starts_with(' '));
    let clocked = rest.as_bytes().get(2) == Some(&b':') && rest.bytes().take(2).all(|b| b.is_ascii_digit());
    (dated || clocked || marked) && mnemonic(rest) || (marked && dated)
}

/// `%FACILITY-SEVERITY-MNEMONIC:`
fn mnemonic(text: &str) -> bool {
    let Some((_, rest)) = text.split_once('%') else { return false };
    let Some((word, _)) = rest.split_once(':') else { return false };
    word.len() <= 64
        && word.contains('-')
        && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// The router's answer to a command that it did not take.
#[must_use]
pub fn is_refusal(line: &str) -> bool {
    const REFUSALS: &[&str] = &[
        "invalid input",
        "incomplete command",
        "ambiguous command",
        "unknown command",
        "unrecognized command",
        "bad mask",
        "inconsistent address",
        "invalid",
        "error",
        "command rejected",
    ];
    let line = line.trim_start();
    let Some(text) = line.strip_prefix('%') else {
        return line.to_ascii_lowercase().starts_with("command rejected");
    };
    let text = text.trim_start().to_ascii_lowercase();
    REFUSALS.iter().any(|r| text.starts_with(r))
}

/// The `^` under the word that the router did not take.
#[must_use]
pub fn is_caret(line: &str) -> bool {
    line.trim() == "^"
}

/// Where a remark begins that stands behind a command: `// …`, `! …`, `====> …`, `← …`.
#[must_use]
pub fn trailing_remark(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let mut after_blank = false;
    for (i, _) in line.char_indices() {
        if after_blank && starts_remark(&line[i..]) && i > 0 && !line[..i].trim().is_empty() {
            return Some(line[..i].trim_end().len());
        }
        after_blank = bytes[i] == b' ' || bytes[i] == b'\t';
    }
    None
}

fn starts_remark(rest: &str) -> bool {
    const MARKS: &[&str] = &["//", "<==", "<--", "←", "→", "⇒", "⇐", "※", "＃", "★", "◆", "▲", "●", "►"];
    let arrow = |mark: char| {
        let tail = rest.trim_start_matches(mark);
        rest.len() - tail.len() >= 2 && tail.starts_with('>')
    };
    MARKS.iter().any(|m| rest.starts_with(m)) || rest.starts_with(['!', '#']) || arrow('=') || arrow('-')
}

/// Sentences of a document between the commands.
#[must_use]
pub fn is_prose(line: &str) -> bool {
    const WORDS: &[&str] = &[
        "the",
        "a",
        "an",
        "of",
        "for",
        "to",
        "is",
        "are",
        "be",
        "in",
        "that",
        "this",
        "with",
        "your",
        "you",
        "will",
        "and",
        "or",
        "not",
        "has",
        "have",
        "following",
        "please",
        "should",
        "must",
        "can",
    ];
    let line = line.trim();
    if line.starts_with(|c: char| !c.is_ascii()) || line.chars().any(is_cjk) {
        return true;
    }
    // The letter or number of a list, and stray punctuation.
    let letters = line.chars().filter(|c| c.is_alphanumeric()).count();
    if letters <= 1 || (line.len() <= 3 && line.ends_with(['.', ')'])) {
        return true;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let ends = line.ends_with(['.', ':', '?', ',', ';']);
    let function = words
        .iter()
        .skip(1)
        .filter(|w| {
            let w = w.trim_matches(|c: char| !c.is_alphanumeric());
            WORDS.iter().any(|f| f.eq_ignore_ascii_case(w))
        })
        .count();
    let capital = line.starts_with(|c: char| c.is_ascii_uppercase());
    (words.len() >= 3 && (ends || function >= 2)) || (capital && (ends || function >= 1) && words.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_taken_off() {
        let p = |host, mode, typed| Some(Prompt { host, mode, typed });
        assert_eq!(prompt("R1#sh run"), p("R1", None, "sh run"));
        assert_eq!(prompt("br05>en"), p("br05", None, "en"));
        assert_eq!(prompt("peer1(config)# crypto pki"), p("peer1", Some("config"), "crypto pki"));
        assert_eq!(prompt("br05(config-if)#"), p("br05", Some("config-if"), ""));
        assert_eq!(prompt("Peer2 #show x"), p("Peer2", None, "show x"));
        for line in [" R1#sh run", "interface Tunnel1", "description #1", "pre-shared-key a#b", "x <a>"] {
            assert_eq!(prompt(line), None, "{line}");
        }
    }

    #[test]
    fn log_messages_and_answers_are_seen() {
        for line in [
            "*Mar  3 10:02:44.007: %SYS-5-CONFIG_I: Configured from console",
            "Mar  3 10:02:41.118: %LINEPROTO-5-UPDOWN: Line protocol on Interface Vlan20",
            "000123: *Mar  1 00:00:01.000: %LINK-3-UPDOWN: x",
            "00:01:02: %SYS-5-RESTART: System restarted",
            "% Invalid input detected at '^' marker.",
            "*Mar  3 10:02:44.007: IKEv2:(SESSION ID = 1)",
        ] {
            assert!(is_log(line), "{line}");
        }
        assert!(!is_log("description 100%-LOAD-5-X: no"));
        assert!(is_refusal("% Incomplete command.") && is_refusal("%Inconsistent address and mask"));
        assert!(!is_refusal("% Generating 2048 bit RSA keys, keys will be non-exportable..."));
    }

    #[test]
    fn remarks_behind_commands_begin_after_a_blank() {
        for line in [
            "no ip address ====> no IP address",
            "pki trustpoint selfCert // Use it",
            "ip route 10.2.0.0 255.255.0.0 Tunnel1 250 ← 経路",
            "nat force-encap ! both ends",
            "ip mtu 1400 <-- small",
        ] {
            let end = trailing_remark(line).expect(line);
            assert!(!line[..end].ends_with(' ') && line.len() > end, "{line}");
        }
        for line in ["enrollment url http://10.1.1.1/", "vpn-sip enable", "! remark"] {
            assert_eq!(trailing_remark(line), None, "{line}");
        }
    }

    #[test]
    fn prose_is_told_from_commands() {
        for line in [
            "Certificate map for Trustpoint",
            "password to the CA Administrator in order to revoke your certificate.",
            "primary path goes down. AD need to be chosen to be greater than that of primary route.",
            "IKEv2 Keyring configs:",
            "a",
            "10 ルートトラッキングを設定します。",
            "number mentioned here doesn’t match the remote number in the keyring",
            "です。",
        ] {
            assert!(is_prose(line), "{line}");
        }
        for line in [
            "vpn-sip loging",
            "rypto ikev2 keyring keys",
            "nat force-encap",
            "foo bar baz",
            "Interface Tunnel1",
        ] {
            assert!(!is_prose(line), "{line}");
        }
    }
}
