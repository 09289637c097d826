//! Telephone numbers as SIP identities.

use core::fmt;
use core::str::FromStr;

/// Longest number kept: E.164 has 15 digits, carriers add prefixes and extensions.
pub const DIGITS_MAX: usize = 24;

/// A number in the form in which two of them are compared: digits only, no hyphens, `+81` as the national `0`,
/// and without the caller-id prefixes 184 (withhold) and 186 (send) that belong to dialling, not to identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TelNumber {
    digits: [u8; DIGITS_MAX],
    len: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberError {
    Empty,
    TooLong,
    /// The first character that is neither a digit nor a visual separator.
    BadCharacter(char),
}

impl TelNumber {
    /// Stands for the number that DHCP gives, until it has. No text of a number reads as it.
    pub const DHCP: Self = {
        let mut digits = [0; DIGITS_MAX];
        (digits[0], digits[1], digits[2], digits[3]) = (b'd', b'h', b'c', b'p');
        Self { digits, len: 4 }
    };

    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.digits[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl FromStr for TelNumber {
    type Err = NumberError;

    fn from_str(s: &str) -> Result<Self, NumberError> {
        let s = s.trim();
        let mut out = Self { digits: [0; DIGITS_MAX], len: 0 };
        let mut push = |d: u8| {
            let slot = out.digits.get_mut(usize::from(out.len)).ok_or(NumberError::TooLong)?;
            *slot = d;
            out.len += 1;
            Ok(())
        };
        // 81 is the only country code whose national form this service uses; other numbers keep all their digits.
        let (national, international) = match s.strip_prefix("+81") {
            Some(rest) => (rest, true),
            None => (s.strip_prefix('+').unwrap_or(s), false),
        };
        if international {
            push(b'0')?;
        }
        for c in national.chars() {
            match c {
                '0'..='9' => push(c as u8)?,
                // RFC 3966 §3: visual separators carry no meaning.
                '-' | '.' | '(' | ')' | ' ' => {}
                c => return Err(NumberError::BadCharacter(c)),
            }
        }
        let len = usize::from(out.len);
        if len == 0 || (international && len == 1) {
            return Err(NumberError::Empty);
        }
        // 184/186 come before a complete national number (which itself starts with 0).
        if len > 4 && matches!(&out.digits[..4], b"1840" | b"1860") {
            out.digits.copy_within(3.., 0);
            out.digits[DIGITS_MAX - 3..].fill(0);
            out.len -= 3;
        }
        Ok(out)
    }
}

impl fmt::Display for TelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TelNumber({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(s: &str) -> std::string::String {
        std::format!("{}", s.parse::<TelNumber>().expect("valid"))
    }

    #[test]
    fn the_same_line_in_every_spelling() {
        for s in [
            "0388881001",
            "03-8888-1001",
            "+81388881001",
            "+81-3-8888-1001",
            "1860388881001",
            "1840388881001",
        ] {
            assert_eq!(norm(s), "0388881001", "{s}");
        }
        assert_eq!(norm("1234"), "1234");
        assert_eq!(norm("184"), "184");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!("".parse::<TelNumber>(), Err(NumberError::Empty));
        assert_eq!("+81".parse::<TelNumber>(), Err(NumberError::Empty));
        assert_eq!("anonymous".parse::<TelNumber>(), Err(NumberError::BadCharacter('a')));
        assert_eq!("1234567890123456789012345".parse::<TelNumber>(), Err(NumberError::TooLong));
    }
}
