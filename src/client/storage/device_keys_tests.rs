//! Tests of device keys, as files.

use super::*;
use crate::crypto::certificate::Certificate;
use crate::crypto::test_keys::spare;
use crate::e2e::device_keys::DeviceKeys;
use crate::e2e::memory_tests::Me;
use crate::e2e::storage::Account;

const DAY: u64 = 86_400;
const SERVER: Fingerprint = Fingerprint([9; 32]);

fn account(key: usize) -> Me {
    Me::new("alice", SERVER, spare(key))
}

/// A client's device keys and their storage.
struct Client<'a> {
    keys: DeviceKeys,
    folder: Folder,
    me: &'a Me,
}

impl<'a> Client<'a> {
    fn open(data_folder: &DataFolder, me: &'a Me) -> Client<'a> {
        let folder = Folder::open(data_folder, me.founding()).unwrap();
        let mut client = Client { keys: DeviceKeys::default(), folder, me };
        client.refresh();
        client
    }

    fn refresh(&mut self) {
        self.keys.refresh(&mut self.folder, self.me).unwrap();
    }

    fn renew(&mut self, now_s: u64) {
        self.keys.expire(&mut self.folder, now_s).unwrap();
        self.keys.renew(&mut self.folder, self.me, now_s).unwrap();
    }

    /// The certificate in use at that time.
    fn current(&self, now_s: u64) -> Certificate {
        let own = self.me.own().public().fingerprint();
        self.keys.signing(&own, now_s).unwrap().0.clone()
    }
}

#[test]
fn a_certificate_is_used_for_a_week_and_its_keys_are_kept_for_six() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let me = account(0);
    let open = || Client::open(&data_folder, &me);
    let files = || fs::read_dir(data_folder.devices_dir(&SERVER)).unwrap().count();
    let mut client = open();
    assert!(client.keys.newest().is_none());
    client.renew(100 * DAY);
    let first = client.keys.newest().unwrap().0.clone();
    client.renew(106 * DAY);
    assert_eq!(client.keys.newest().unwrap().0, &first);
    client.renew(107 * DAY);
    assert_ne!(client.keys.newest().unwrap().0, &first);
    let mut client = open();
    assert_ne!(client.keys.newest().unwrap().0, &first, "the newest is used after a restart");
    assert_eq!((client.keys.opening().len(), files()), (2, 2));
    client.renew(142 * DAY);
    assert_eq!(client.keys.opening().len(), 3, "the first one ended two weeks ago");
    client.renew(142 * DAY + 1);
    assert_eq!((client.keys.opening().len(), files()), (2, 2));
    assert!(client.keys.opening().iter().all(|(hash, _)| *hash != first.hash));
    // A clock that was wrong by months, or by days.
    let mut last = client.current(142 * DAY);
    for day in [10, 6] {
        client.renew(day * DAY);
        let current = client.current(day * DAY);
        assert!(current != last && current.is_valid_at(day * DAY));
        let count = files();
        for _ in 0..3 {
            let mut client = open();
            client.renew((day + 1) * DAY);
            assert_eq!(client.current((day + 1) * DAY), current, "the others begin later");
        }
        assert_eq!(files(), count, "not one for each start");
        last = current;
    }
}

#[test]
fn a_damaged_key_is_reported_once_and_kept() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let me = account(0);
    let mut client = Client::open(&data_folder, &me);
    client.renew(100 * DAY);
    let name = client.folder.device_keys().unwrap().remove(0);
    let path = client.folder.device_key_file(&name);
    drop(client);
    fs::write(&path, "").unwrap();
    let mut client = Client::open(&data_folder, &me);
    let damage = client.folder.take_damage();
    assert!(damage.len() == 1 && damage[0].contains(&name), "{damage:?}");
    assert!(path.with_extension(DAMAGED_KEY).exists() && !path.exists());
    let mut client = Client::open(&data_folder, &me);
    assert!(client.folder.take_damage().is_empty());
}

#[test]
fn two_servers_see_no_key_in_common() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let other = Fingerprint([8; 32]);
    let contacts = [SERVER, other].map(|server| Me::new("alice", server, spare(0)));
    let [one, two] = contacts.each_ref().map(|me| {
        let mut client = Client::open(&data_folder, me);
        client.renew(100 * DAY);
        client
    });
    let seeds = |client: &Client| {
        let (signing, opening) = (client.keys.newest().unwrap().1, &client.keys.opening()[0].1);
        (signing.seed().clone(), opening.private().clone())
    };
    let ((sign, open_one), (other_sign, open_two)) = (seeds(&one), seeds(&two));
    assert!(sign != other_sign && open_one != open_two);
    // A file in the wrong folder is of no use.
    let name = one.folder.device_keys().unwrap().remove(0);
    let (from, to) = (one.folder.device_key_file(&name), two.folder.device_key_file(&name));
    fs::copy(from, to).unwrap();
    assert_eq!(Client::open(&data_folder, &contacts[1]).keys.opening().len(), 1);
}

#[test]
fn two_clients_of_a_profile_open_each_others_messages() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let me = account(0);
    let [mut one, mut two] = [(); 2].map(|()| Client::open(&data_folder, &me));
    one.renew(100 * DAY);
    two.refresh();
    two.renew(100 * DAY);
    let signing = |client: &Client| client.keys.newest().unwrap().0.clone();
    assert_eq!(signing(&one), signing(&two), "no new one is made");
    two.renew(107 * DAY);
    let newest = signing(&two);
    assert!(!one.keys.has(&newest));
    one.refresh();
    assert!(one.keys.has(&newest) && one.keys.opening().len() == 2);
    // Expired keys are removed for both clients, whichever is first.
    for client in [&mut one, &mut two] {
        client.renew(149 * DAY + 1);
        client.refresh();
    }
    assert_eq!((one.keys.opening().len(), two.keys.opening().len()), (1, 2));
}

#[test]
fn the_files_are_of_no_use_without_the_key() {
    let profile = tempfile::tempdir().unwrap();
    let data_folder = DataFolder::at(profile.path()).unwrap();
    let next = spare(1).public().clone();
    let mut before = account(0);
    before.next = Some(next.clone());
    let mut client = Client::open(&data_folder, &before);
    client.renew(100 * DAY);
    let stranger = account(2);
    let other = Client::open(&data_folder, &stranger);
    assert!(other.keys.newest().is_none() && other.keys.opening().is_empty());
    // The successor keeps them for older content, and makes its own.
    let mut me = account(1);
    me.openers.extend(account(0).openers);
    let mut after = Client::open(&data_folder, &me);
    assert_eq!(after.keys.opening().len(), 1);
    after.renew(100 * DAY);
    let signing = after.keys.newest().unwrap().0.fingerprint();
    assert_eq!((signing, after.keys.opening().len()), (next.fingerprint(), 2));
}
