//! Words that IOS takes in any order.

/// How much is shown of each tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    Brief,
    Detail,
}

/// `[brief | detail] [failed] [NAME | remote-number N]` in any order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionArgs {
    pub style: Style,
    pub failed: bool,
    pub remote_number: Option<String>,
    pub interface: Option<String>,
}

impl SessionArgs {
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        const USAGE: &str =
            "usage: sipsec show vpn-sip session [brief | detail] [failed] [NAME | remote-number NUMBER]";
        let mut out = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if begins("detail", word) {
                out.style = Style::Detail;
            } else if begins("brief", word) {
                out.style = Style::Brief;
            } else if begins("failed", word) {
                out.failed = true;
            } else if begins("remote-number", word) {
                out.remote_number = Some(number(words.next(), word, USAGE)?);
            } else if out.interface.is_none() {
                out.interface = Some(name(word, USAGE)?);
            } else {
                return Err(format!("unknown word `{word}`\n{USAGE}"));
            }
        }
        if out.remote_number.is_some() && out.interface.is_some() {
            return Err(format!("a name and a number exclude each other\n{USAGE}"));
        }
        Ok(out)
    }

    /// The query words of the API.
    #[must_use]
    pub fn query(&self) -> String {
        match (&self.remote_number, &self.interface) {
            (Some(number), _) => format!("?remote_number={number}"),
            (None, Some(name)) => format!("?interface={name}"),
            (None, None) => String::new(),
        }
    }
}

/// `[NAME | remote-number N]`
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClearArgs {
    pub remote_number: Option<String>,
    pub interface: Option<String>,
}

impl ClearArgs {
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        const USAGE: &str = "usage: sipsec clear vpn-sip session [NAME | remote-number NUMBER]";
        match words {
            [] => Ok(Self::default()),
            [word] if !begins("remote-number", word) => {
                Ok(Self { interface: Some(name(word, USAGE)?), remote_number: None })
            }
            [word, rest @ ..] if begins("remote-number", word) && rest.len() < 2 => {
                Ok(Self { remote_number: Some(number(rest.first(), word, USAGE)?), interface: None })
            }
            [.., word] => Err(format!("unknown word `{word}`\n{USAGE}")),
        }
    }
}

fn begins(keyword: &str, word: &str) -> bool {
    !word.is_empty() && keyword.starts_with(word)
}

fn number(given: Option<&String>, after: &str, usage: &str) -> Result<String, String> {
    let number = given.ok_or_else(|| format!("a number belongs after `{after}`\n{usage}"))?;
    let parsed = number.parse::<sipsec_net::TelNumber>();
    parsed.map(|n| n.to_string()).map_err(|_| format!("\"{number}\" is not a telephone number\n{usage}"))
}

/// A tunnel's name goes into a URL as it stands.
fn name(word: &str, usage: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !word.is_empty() && word.chars().all(plain) {
        Ok(word.to_owned())
    } else {
        Err(format!("unknown word `{word}`\n{usage}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn session(words: &[&str]) -> Result<SessionArgs, String> {
        SessionArgs::parse(&owned(words))
    }

    #[test]
    fn words_come_in_any_order() {
        let wanted = SessionArgs {
            style: Style::Detail,
            remote_number: Some("0612349999".into()),
            ..SessionArgs::default()
        };
        assert_eq!(session(&["detail", "remote-number", "06-1234-9999"]), Ok(wanted));
        assert_eq!(session(&["rem", "0612349999"]).map(|a| a.style), Ok(Style::Plain));
        let named = session(&["failed", "tunnel1", "b"]).expect("understood");
        assert_eq!(
            (named.failed, named.style, named.query().as_str()),
            (true, Style::Brief, "?interface=tunnel1")
        );
        for bad in [
            &["remote-number"][..],
            &["remote-number", "x"],
            &["Tunnel1", "Tunnel2"],
            &["Tunnel1", "remote-number", "0612349999"],
            &["a&all=true"],
            &[""],
        ] {
            assert!(session(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn clear_takes_one_name_or_number() {
        let clear = |words: &[&str]| ClearArgs::parse(&owned(words));
        assert_eq!(clear(&[]), Ok(ClearArgs::default()));
        assert_eq!(clear(&["Tunnel1"]).map(|c| c.interface), Ok(Some("Tunnel1".into())));
        assert_eq!(clear(&["rem", "0612349999"]).map(|c| c.remote_number), Ok(Some("0612349999".into())));
        for bad in [&["remote-number"][..], &["Tunnel1", "Tunnel2"], &["rem", "0612349999", "x"], &[""]] {
            assert!(clear(bad).is_err(), "{bad:?}");
        }
    }
}
