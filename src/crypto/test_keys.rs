//! Two RSA identities for tests, those of tests/data/hop.json: making new ones takes seconds.

use std::sync::OnceLock;

use super::Identity;

pub fn ana() -> &'static Identity {
    static KEY: OnceLock<Identity> = OnceLock::new();
    KEY.get_or_init(|| read("server"))
}

pub fn bob() -> &'static Identity {
    static KEY: OnceLock<Identity> = OnceLock::new();
    KEY.get_or_init(|| read("client"))
}

fn read(party: &str) -> Identity {
    let text = include_str!("../../tests/data/hop.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    Identity::from_pem(vectors["keys_for_tests_only"][party]["pem"].as_str().unwrap(), None)
        .unwrap()
}
