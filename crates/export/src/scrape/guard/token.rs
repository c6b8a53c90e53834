//! Tokens: secrets of clients, compared in constant time and never shown.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::header::HeaderValue;
use subtle::ConstantTimeEq;

use crate::limits;

/// The token of a client: from 16 to 4,096 visible ASCII characters, without spaces.
///
/// Neither its `Debug` form nor the error of a wrong one has a part of it.
///
/// ```
/// use wasmetry_export::scrape::Token;
///
/// let token: Token = "5f0c6d6cbb1f4a3f\n".parse()?;
/// assert_eq!(format!("{token:?}"), "Token");
/// assert!("short".parse::<Token>().is_err());
/// # Ok::<(), wasmetry_export::scrape::InvalidToken>(())
/// ```
#[derive(Clone)]
pub struct Token(Arc<[u8]>);

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The fault of a text that is no [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidToken {
    /// The text is empty.
    Empty,
    /// The text has too few bytes: this many.
    Short(usize),
    /// The text has too many bytes.
    Long,
    /// The text has a character that cannot be in a header's value, or a space.
    Character,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (limits::MIN_TOKEN_BYTES, limits::MAX_TOKEN_BYTES);
        match self {
            Self::Empty => f.write_str("there is no token")?,
            Self::Short(bytes) => {
                write!(f, "the token has {bytes} bytes, which can be guessed; it needs at least {min}")?
            }
            Self::Long => write!(f, "the token has more than {max} bytes")?,
            Self::Character => f.write_str("the token has a space or a character that is no visible ASCII")?,
        }
        f.write_str("; `openssl rand -hex 32` makes a token")
    }
}

impl std::error::Error for InvalidToken {}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Parses a token; white space around it, such as the end of a file's line, is not part of it.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim_ascii();
        match text.len() {
            0 => Err(InvalidToken::Empty),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(InvalidToken::Character),
            bytes if bytes < limits::MIN_TOKEN_BYTES => Err(InvalidToken::Short(bytes)),
            bytes if bytes > limits::MAX_TOKEN_BYTES => Err(InvalidToken::Long),
            _ => Ok(Self(text.as_bytes().into())),
        }
    }
}

impl Token {
    /// Returns the value of `Authorization` with which a client sends the token. Its `Debug` form
    /// does not show it.
    pub fn authorization(&self) -> HeaderValue {
        let value = [&b"Bearer "[..], &self.0].concat();
        // A token has visible ASCII characters only.
        let mut value = HeaderValue::from_bytes(&value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }

    /// Compares a client's token. The time does not depend on the length of a correct prefix.
    pub(super) fn matches(&self, candidate: &[u8]) -> bool {
        self.0.ct_eq(candidate).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_visible() {
        let parse = |text: &str| text.parse::<Token>().map(|token| token.0.len());
        assert_eq!(parse(" 0123456789abcdef\r\n"), Ok(16));
        assert_eq!(parse(&"x".repeat(4096)), Ok(4096));
        for (text, fault) in [
            ("", InvalidToken::Empty),
            (" \n", InvalidToken::Empty),
            ("0123456789abcde", InvalidToken::Short(15)),
            ("0123456789 abcdef", InvalidToken::Character),
            ("0123456789abcdefä", InvalidToken::Character),
            ("0123456789abcdef\n0123", InvalidToken::Character),
        ] {
            assert_eq!(parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(parse(&"x".repeat(4097)), Err(InvalidToken::Long));
    }

    #[test]
    fn errors_do_not_show_the_token() {
        for text in ["s3cr3t", "s3cr3t s3cr3t s3cr3t", &"s3cr3t".repeat(1000)] {
            let fault = text.parse::<Token>().unwrap_err();
            assert!(!format!("{fault} {fault:?}").contains("s3cr3t"), "{fault}");
        }
    }

    #[test]
    fn authorization_is_sensitive() {
        let value = "0123456789abcdef".parse::<Token>().unwrap().authorization();
        assert_eq!((value.as_bytes(), format!("{value:?}").as_str()), (&b"Bearer 0123456789abcdef"[..], "Sensitive"));
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.matches(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong}");
        }
    }
}
