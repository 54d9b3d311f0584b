//! RSA identities for tests: two from tests/data/hop.json, others generated once in a process,
//! because this takes longer than the rest of most tests.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::Identity;

pub fn ana() -> &'static Identity {
    static KEY: OnceLock<Identity> = OnceLock::new();
    KEY.get_or_init(|| read("server"))
}

pub fn bob() -> &'static Identity {
    static KEY: OnceLock<Identity> = OnceLock::new();
    KEY.get_or_init(|| read("client"))
}

/// Returns another key for each index.
pub fn spare(index: usize) -> Identity {
    static PEM: [OnceLock<Zeroizing<String>>; 6] = [const { OnceLock::new() }; 6];
    let pem = PEM[index].get_or_init(|| Identity::generate().to_pem(None));
    Identity::from_pem(pem, None).unwrap()
}

fn read(party: &str) -> Identity {
    let text = include_str!("../../tests/data/hop.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    Identity::from_pem(vectors["keys_for_tests_only"][party]["pem"].as_str().unwrap(), None)
        .unwrap()
}
