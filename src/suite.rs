//! The suites of the handshake. They differ in the KEM whose key pair is made for each connection:
//! docs/protocol.md, "Handshake".

use serde::{Deserialize, Serialize};

/// A suite of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// 1: X25519 alone.
    Classic,
    /// 2: X25519 and ML-KEM-768 together.
    Hybrid,
}

/// The suites that one side accepts, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Suites(u16);

/// A list of suites that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuitesError {
    #[error("at least one suite is needed: [2] is the default")]
    None,
    #[error(
        "there is no suite {0}: a list of 2 (X25519 with ML-KEM-768), 1 (X25519 alone) or both"
    )]
    Unknown(u64),
}

impl Suite {
    /// All of them, the preferred one first.
    pub const ALL: [Suite; 2] = [Suite::Hybrid, Suite::Classic];

    pub fn number(self) -> u64 {
        match self {
            Suite::Classic => 1,
            Suite::Hybrid => 2,
        }
    }

    /// The suite's bit on the wire.
    pub fn bit(self) -> u16 {
        1 << (self.number() - 1)
    }
}

impl Suites {
    pub fn only(suite: Suite) -> Suites {
        Suites(suite.bit())
    }

    pub fn contains(self, suite: Suite) -> bool {
        self.0 & suite.bit() != 0
    }

    /// The bitmap on the wire.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Whether the other side offers any of these.
    pub fn meet(self, offered: u16) -> bool {
        self.0 & offered != 0
    }

    /// The preferred one of those that are on offer too; the preferred one of all where none is:
    /// the other side learns from it which suites there are.
    pub fn choose(self, offered: u16) -> Suite {
        let own = |suite: &Suite| self.contains(*suite);
        let both = Suite::ALL.into_iter().filter(own).find(|suite| offered & suite.bit() != 0);
        both.or_else(|| Suite::ALL.into_iter().find(own)).expect("there is one at least")
    }
}

impl Default for Suites {
    fn default() -> Self {
        Suites::only(Suite::Hybrid)
    }
}

impl TryFrom<Vec<u64>> for Suites {
    type Error = SuitesError;

    fn try_from(numbers: Vec<u64>) -> Result<Self, SuitesError> {
        let mut bits = 0;
        for number in numbers {
            let suite = Suite::ALL.into_iter().find(|suite| suite.number() == number);
            bits |= suite.ok_or(SuitesError::Unknown(number))?.bit();
        }
        if bits == 0 { Err(SuitesError::None) } else { Ok(Suites(bits)) }
    }
}

impl From<Suites> for Vec<u64> {
    fn from(suites: Suites) -> Self {
        let own = Suite::ALL.into_iter().filter(|suite| suites.contains(*suite));
        own.map(Suite::number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_known_suites_and_nothing_else() {
        let read =
            |text: &str| serde_json::from_str::<Suites>(text).map_err(|error| error.to_string());
        for (text, suites) in
            [("[2]", "[2]"), ("[1]", "[1]"), ("[1, 2]", "[2,1]"), ("[2, 2]", "[2]")]
        {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), suites);
        }
        assert_eq!(read("[2]").unwrap(), Suites::default());
        for (text, problem) in [
            ("[]", "at least one suite is needed"),
            ("[3]", "there is no suite 3: a list of 2 (X25519 with ML-KEM-768), 1"),
            ("[2, 0]", "there is no suite 0"),
            ("[18446744073709551615]", "there is no suite 18446744073709551615"),
            ("[-1]", "invalid value"),
            ("2", "invalid type"),
            ("[\"2\"]", "invalid type"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn the_higher_of_those_on_both_sides_is_chosen() {
        let [one, two] = [Suite::Classic, Suite::Hybrid].map(Suites::only);
        let both = Suites(3);
        for (own, offered, chosen) in [
            (both, 3, Suite::Hybrid),
            (both, 1, Suite::Classic),
            (both, 0xfffe, Suite::Hybrid),
            (one, 3, Suite::Classic),
            (one, 2, Suite::Classic),
            (two, 1, Suite::Hybrid),
            (both, 0, Suite::Hybrid),
        ] {
            assert_eq!(own.choose(offered), chosen, "{own:?} of {offered}");
            assert_eq!(own.meet(offered), offered & chosen.bit() != 0, "{own:?} of {offered}");
        }
    }
}
