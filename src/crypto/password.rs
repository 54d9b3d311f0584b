//! Passwords as argon2id hashes (RFC 9106), written as PHC strings.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::random;
use crate::limits::PASSWORD_BYTES_MAX;

/// Memory in KiB, passes and lanes: OWASP's first recommendation for argon2id, some tens of
/// milliseconds.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// A hash that costs more is not of this server; it could exhaust the memory.
const MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Minimum length of a password in characters. It is a second factor beside a key, so that it may
/// be short.
const CHARS_MIN: usize = 8;

/// The stored hash of a password.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PasswordHash(String);

/// The text is not an acceptable password, or not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has at least {CHARS_MIN} characters")]
    Short,
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    Long,
    #[error("the password's hash is no argon2id hash in PHC form: pychat users passwd writes one")]
    Hash,
}

impl PasswordHash {
    /// Hashes a new password with a random salt. Takes some tens of milliseconds and 19 MiB.
    pub fn of(password: &str) -> Result<PasswordHash, PasswordError> {
        if password.chars().count() < CHARS_MIN {
            return Err(PasswordError::Short);
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Long);
        }
        let (memory, passes, lanes) = COST;
        let params = Params::new(memory, passes, lanes, None).expect("legal costs");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password_with_salt(password.as_bytes(), &random::<16>());
        Ok(PasswordHash(hash.expect("a salt of 16 bytes is legal").to_string()))
    }

    /// Returns the hash in PHC form, with its salt.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the password, in constant time.
    pub fn fits(&self, password: &str) -> bool {
        let Ok(hash) = Phc::new(&self.0) else { return false };
        let short = password.len() <= PASSWORD_BYTES_MAX;
        short && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    }

    fn check(text: String) -> Result<PasswordHash, PasswordError> {
        let hash = Phc::new(&text).map_err(|_| PasswordError::Hash)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordError::Hash)?;
        let argon2id = hash.algorithm == Algorithm::Argon2id.ident() && hash.hash.is_some();
        if !argon2id || params.m_cost() > MEMORY_KIB_MAX {
            return Err(PasswordError::Hash);
        }
        Ok(PasswordHash(text))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        PasswordHash::check(String::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = PasswordHash::of("tea for two").unwrap();
        assert!(hash.fits("tea for two") && !hash.fits("tea for 2") && !hash.fits(""));
        assert_ne!(hash, PasswordHash::of("tea for two").unwrap(), "each has a salt of its own");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(format!("{hash:?}"), "PasswordHash");
        let text = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<PasswordHash>(&text).unwrap(), hash);
        assert_eq!(PasswordHash::of("seven77"), Err(PasswordError::Short));
        assert_eq!(PasswordHash::of(&"x".repeat(1_025)), Err(PasswordError::Long));
    }

    #[test]
    fn what_is_no_hash_of_ours_is_refused() {
        let dear =
            "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";
        let other =
            "$argon2d$v=19$m=4096,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";
        for bad in ["", "tea for two", "$argon2id$", dear, other] {
            assert_eq!(PasswordHash::check(bad.to_owned()), Err(PasswordError::Hash), "{bad}");
        }
    }
}
