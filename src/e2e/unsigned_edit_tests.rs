//! Unsigned tombstones of edits over all conversations: those that a server invents take no room
//! from the others, and the stored state fits its file.

use super::*;
use crate::limits::MET_KEYS_MAX;

/// Most bytes of `.sequences`, as base64 of the JSON text.
const FILE_BYTES_MAX: usize = 64 << 20;
const TIME_MS: i64 = 1_800_000_000_000;

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

/// Receives a verified message, or change, of a user from a device with the longest name.
fn says(state: &mut Sequences, to: &Target, who: &str, (session, n): (u8, u64), changes: bool) {
    let link = ChainLink { session: [session; 16], n, prev: [0; 32] };
    let hash = crate::crypto::sha256(&[&[session, u8::from(changes)], &n.to_be_bytes()]);
    let message = Signed { link: &link, changes, time_ms: TIME_MS, hash };
    state.check(to, &name(who), &format!("{who:-<43}"), message);
}

fn edits(state: &mut Sequences, to: &Target, who: &str, count: u64) {
    let of = (0..count).map(|number| Seq(u64::MAX - number));
    of.for_each(|of| state.add_unsigned_edit(to, &name(who), of, &name("bob")));
}

/// Bytes of the stored state in its file.
fn file_bytes(state: &Sequences) -> usize {
    serde_json::to_vec(&state.all()).unwrap().len().div_ceil(3) * 4
}

#[test]
fn invented_conversations_take_no_unsigned_edits_of_those_that_the_user_has_a_part_in() {
    let mut state = Sequences::default();
    let with_invented = |number: usize| format!("made{number}");
    let flood = |state: &mut Sequences, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let with = with_invented(number);
            let to = format!("@{with}").parse().unwrap();
            says(state, &to, &with, (1, 0), false);
            edits(state, &to, &with, 100);
        }
    };
    flood(&mut state, 0..300);
    let count =
        state.conversations.iter().map(|(_, messages)| messages.tombstones.unsigned_edits());
    assert_eq!(count.sum::<usize>(), UNANSWERED_EDITS_MAX);
    let tea = format!("#tea~{}", "0".repeat(26));
    // A channel, a private conversation in which bob has written, and his own.
    for (to, who, writes) in
        [(tea.as_str(), "alice", false), ("@alice", "alice", true), ("@bob", "bob", true)]
    {
        let to = to.parse().unwrap();
        says(&mut state, &to, who, (1, 0), true);
        if writes {
            says(&mut state, &to, "bob", (7, 0), false);
        }
        edits(&mut state, &to, who, 50);
        // Also after a restart and more of the flood.
        state = Sequences::of(state.all());
        flood(&mut state, 0..30);
        edits(&mut state, &to, who, 50);
        assert!(state.tombstones(&to).excuse(&name(who), true, 100), "{to}");
    }
    // In other conversations a missing edit is reported.
    let carol = "@carol".parse().unwrap();
    says(&mut state, &carol, "carol", (1, 0), true);
    edits(&mut state, &carol, "carol", 1);
    assert!(!state.tombstones(&carol).excuse(&name("carol"), true, 1));
}

#[test]
fn the_unsigned_edits_of_all_conversations_are_bounded() {
    let mut state = Sequences::default();
    for number in 0..EDITS_MAX / 100 + 10 {
        let (with, to) = (format!("user{number}"), format!("@user{number}").parse().unwrap());
        says(&mut state, &to, &with, (1, 0), false);
        says(&mut state, &to, "bob", (2, 0), false);
        edits(&mut state, &to, &with, 150);
    }
    let count =
        state.conversations.iter().map(|(_, messages)| messages.tombstones.unsigned_edits());
    assert_eq!(count.sum::<usize>(), EDITS_MAX);
}

#[test]
fn the_largest_state_of_all_pinned_keys_fits_its_file() {
    let with = "m".repeat(32);
    let (mut state, to) = (Sequences::default(), format!("@{with}").parse().unwrap());
    state.begin(&to, Epoch(u64::MAX), Seq(u64::MAX), TIME_MS);
    state.retains(&to, Retention::For("999d".parse().unwrap()));
    for session in 0..2 * SESSIONS_MAX as u8 {
        says(&mut state, &to, &with, (session, u64::MAX - 1), session % 2 == 0);
    }
    let without = file_bytes(&state);
    edits(&mut state, &to, &with, 100);
    let edit = (file_bytes(&state) - without).div_ceil(100);
    let all = MET_KEYS_MAX * without + EDITS_MAX * edit;
    assert!(all < FILE_BYTES_MAX, "{without} for each key, {edit} for each edit: {all}");
}
