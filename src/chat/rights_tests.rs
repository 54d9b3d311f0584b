use super::*;
use crate::chat::Command;

/// Every cell, written by hand: the act, then member, moderator, owner and console when free, then
/// the same four when muted. Banned is tested below.
const CELLS: &[(Act, &str, &str)] = &[
    (Act::Say, "yyyn", "nnnn"),
    (Act::Edit, "yyyn", "nnnn"),
    (Act::Delete, "yyyn", "yyyn"),
    (Act::Topic, "yyyn", "yyyn"),
    (Act::SetTopic, "yyyn", "nnnn"),
    (Act::Away, "yyyn", "nnnn"),
    (Act::Join, "yyyn", "yyyn"),
    (Act::Part, "yyyn", "yyyn"),
    (Act::People, "yyyn", "yyyn"),
    (Act::Channels, "yyyn", "yyyn"),
    (Act::Whois, "yyyn", "yyyn"),
    (Act::History, "yyyn", "yyyn"),
    (Act::Search, "yyyn", "yyyn"),
    (Act::Keys, "yyyn", "yyyn"),
    (Act::Certify, "yyyn", "yyyn"),
    (Act::Read, "yyyn", "yyyn"),
    (Act::Put, "yyyn", "nnnn"),
    (Act::Files, "yyyn", "yyyn"),
    (Act::Quit, "yyyn", "yyyn"),
    (Act::Operate, "nyyy", "nnnn"),
    (Act::Kick, "nyyy", "nnnn"),
    (Act::Ban, "nyyy", "nnnn"),
    (Act::Unban, "nyyy", "nnnn"),
    (Act::Banlist, "nyyy", "nnnn"),
    (Act::Mute, "nyyy", "nnnn"),
    (Act::Unmute, "nyyy", "nnnn"),
    (Act::Announce, "nyyy", "nnnn"),
    (Act::Op, "nnyy", "nnnn"),
    (Act::Deop, "nnyy", "nnnn"),
    (Act::Motd, "nnyy", "nnnn"),
    (Act::Reload, "nnyy", "nnnn"),
    (Act::Shutdown, "nnyy", "nnnn"),
    (Act::Inspect, "nnny", "nnnn"),
    (Act::Administer, "nnny", "nnnn"),
];

#[test]
fn every_cell_matches_the_table_below() {
    assert_eq!(CELLS.len(), Act::ALL.len());
    for ((act, free, muted), listed) in CELLS.iter().zip(Act::ALL) {
        assert_eq!(act, listed);
        for (index, role) in ROLES.into_iter().enumerate() {
            let is = |cells: &str| cells.as_bytes()[index] == b'y';
            assert_eq!(may(role, State::Free, *act), is(free), "{act:?} by {role}");
            assert_eq!(may(role, State::Muted, *act), is(muted), "{act:?} by {role}, muted");
            let reads = matches!(act, Act::Operate | Act::Banlist | Act::Inspect);
            let reads = reads && role >= act.least();
            assert_eq!(may(role, State::Reading, *act), reads, "{act:?} by {role}, reading");
            let banned = may(role, State::Banned, *act);
            assert_eq!(
                banned,
                *act == Act::Quit && role != Role::Console,
                "{act:?} by {role}, banned"
            );
        }
    }
}

#[test]
fn only_higher_roles_may_act_and_owners_can_only_be_kicked() {
    let against = [
        // by, of; kick; ban, mute, op and deop
        (Role::Moderator, Role::Member, true, true),
        (Role::Moderator, Role::Moderator, false, false),
        (Role::Moderator, Role::Owner, false, false),
        (Role::Owner, Role::Member, true, true),
        (Role::Owner, Role::Moderator, true, true),
        (Role::Owner, Role::Owner, false, false),
        (Role::Console, Role::Member, true, true),
        (Role::Console, Role::Moderator, true, true),
        (Role::Console, Role::Owner, true, false),
        (Role::Member, Role::Member, false, false),
    ];
    for (by, of, kick, ban) in against {
        assert_eq!(may_against(by, of, Act::Kick), kick, "{by} kicks {of}");
        for act in [Act::Ban, Act::Mute, Act::Op, Act::Deop] {
            assert_eq!(may_against(by, of, act), ban, "{by}: {act:?} {of}");
        }
        assert!(!may_against(by, of, Act::Say));
    }
}

#[test]
fn only_owners_revoke_what_an_owner_decided() {
    // Columns: the revoking role; decided by a moderator, an owner, the console.
    let cells = [
        (Role::Member, "nnn"),
        (Role::Moderator, "ynn"),
        (Role::Owner, "yyy"),
        (Role::Console, "yyy"),
    ];
    for (by, row) in cells {
        for (decided, cell) in ROLES[1..].iter().zip(row.chars()) {
            assert_eq!(may_undo(by, *decided), cell == 'y', "{by} undoes what {decided} decided");
        }
    }
}

#[test]
fn every_known_request_needs_a_right() {
    let act = |json: &str| serde_json::from_str::<Command>(json).unwrap().act();
    let id = "0".repeat(32);
    for (kind, expected) in [
        (r#""say""#, Act::Say),
        (r#""me""#, Act::Say),
        (r#""edit","of":"1""#, Act::Edit),
        (r#""delete","of":"1""#, Act::Delete),
    ] {
        let say = format!(r##"{{"type":"say","to":"#a","id":"{id}","kind":{kind}}}"##);
        assert_eq!(act(&say), Some(expected));
    }
    assert_eq!(act(r##"{"type":"topic","channel":"#a"}"##), Some(Act::Topic));
    assert_eq!(act(r##"{"type":"topic","channel":"#a","text":""}"##), Some(Act::SetTopic));
    assert_eq!(act(r#"{"type":"operate","words":["kick"]}"#), Some(Act::Operate));
    assert_eq!(act(r#"{"type":"fly"}"#), None);
}

#[test]
fn the_console_role_cannot_be_granted() {
    assert_eq!("Owner".parse(), Ok(Role::Owner));
    assert_eq!("console".parse::<Role>(), Err(RoleError));
}
