//! Tests of a trust file used by two clients.

use super::*;
use crate::chat::{ChannelName, Opaque};
use crate::crypto::certificate::{Certificate, OpeningKey, SigningKey};
use crate::crypto::pin_channel::PinChannel;
use crate::crypto::test_keys::spare;
use crate::e2e::memory_tests::Me;
use crate::e2e::trust::Known;
use crate::e2e::trust_file::{StoredTrust, TrustFile};

const SERVER: Fingerprint = Fingerprint([9; 32]);

#[test]
fn the_trust_of_two_clients_is_restored_and_sealed() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let me = Me::new("alice", SERVER, spare(0));
    let folder = || Folder::open(&data_folder, &SERVER).unwrap();
    let open = || TrustFile::open(&mut folder(), &me).unwrap();
    let (mut one, mut two) = (open(), open());
    let update = |file: &mut TrustFile, change: &dyn Fn(&mut StoredTrust)| {
        file.update(&mut folder(), &me, change).unwrap();
    };
    let tea: ChannelName = format!("#tea~{}", "0".repeat(26)).parse().unwrap();
    let key = PinChannel::from_root([7; 32].into());
    update(&mut one, &|kept| kept.add_channel(&tea, &key));
    let [old, new] = [1_000_000, 1_100_000].map(|made_s| {
        let (signing, opening) = (SigningKey::generate(), OpeningKey::generate());
        let certificate = Certificate::issue(&spare(0), &SERVER, &signing, &opening, made_s);
        Opaque::new(certificate.bytes()).unwrap()
    });
    let of = |one: &Opaque| Known {
        name: Some("bob".parse().unwrap()),
        certificates: vec![one.clone()],
        ..Known::default()
    };
    let known = of(&new);
    update(&mut two, &|kept| kept.set_people(vec![known.clone()]));
    // A client that has only seen an older certificate does not replace the newer one.
    update(&mut one, &|kept| kept.set_people(vec![of(&old)]));
    let three = open();
    assert_eq!(three.key(), one.key());
    assert_eq!(three.kept.people, [known]);
    let channels: Vec<_> = three.channels().map(|(name, key)| (name, key.tag())).collect();
    assert_eq!(channels, [(tea, key.tag())]);
    let file = folder().trust_file();
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"#tea" || window == b"bob\""));
    // Another user's client neither reads nor overwrites it, and names it in the error.
    let (mut disk, other) = (folder(), Me::new("alice", SERVER, spare(1)));
    let refused = [
        TrustFile::open(&mut disk, &other).err().unwrap(),
        two.update(&mut disk, &other, |_| panic!("it is not read")).unwrap_err(),
    ];
    for error in refused {
        let told = fault(error).to_string();
        assert!(told.contains("not sealed to your key") && told.contains(".trust"), "{told}");
    }
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
