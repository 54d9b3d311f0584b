//! The secret of one run, which admits a page.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a token.
const TOKEN_BYTES: usize = 16;

/// 128 random bits, as base64url.
pub struct Token(Zeroizing<String>);

impl Token {
    pub fn new() -> Token {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        SysRng.try_fill_bytes(&mut *bytes).expect("the system gives random bytes");
        Token(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns whether a text is the token, in a time that does not depend on the text's bytes.
    pub fn is(&self, text: &str) -> bool {
        text.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_random_and_not_shown() {
        let (one, other) = (Token::new(), Token::new());
        assert_eq!(one.reveal().len(), 22);
        assert!(one.is(one.reveal()) && !one.is(other.reveal()));
        for wrong in ["", &one.reveal()[1..], &format!("{}=", one.reveal())] {
            assert!(!one.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{one:?}"), "Token");
    }
}
