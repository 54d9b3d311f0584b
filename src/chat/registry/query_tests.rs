//! What queries cost, and what they name.

use super::tests::Chat;
use super::*;

#[test]
fn a_query_that_nobody_had_time_for_costs_nothing() {
    let mut chat = Chat::new();
    let alice = chat.enters("alice");
    let ask = || {
        let to = "#lobby".parse().unwrap();
        Command::History { to, before: None, messages: None, span: None, kind: None }
    };
    let answers =
        |chat: &mut Chat| (0..1_000).take_while(|_| chat.does(alice, ask()).is_ok()).count();
    for _ in 0..1_000 {
        chat.does(alice, ask()).unwrap();
        chat.registry.membership.give_back_history(alice);
    }
    let all = answers(&mut chat);
    assert!((1..1_000).contains(&all), "{all}");
    chat.registry.membership.give_back_history(alice);
    assert_eq!(answers(&mut chat), 1);
}

#[test]
fn a_query_names_what_may_be_read_and_nothing_else() {
    let mut chat = Chat::new();
    let (alice, bob) = (chat.enters("alice"), chat.enters("bob"));
    chat.joins(alice, "#tea").unwrap();
    chat.says(alice, "@bob", "psst").unwrap();
    let known = |name: &UserName| Some(name.clone());
    let mut searched = |who, to: Option<&str>| {
        let to = to.map(|to| to.parse().unwrap());
        let request = Command::Search { text: "psst".into(), to }.into();
        match chat.registry.decide(who, &request, &known, Stamp(1_000)) {
            Ok(Decision::Query(Query::Search { conversations, .. })) => {
                Ok(conversations.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            other => Err(other.map(|_| ()).unwrap_err()),
        }
    };
    assert_eq!(searched(alice, None).unwrap(), ["#lobby", "#tea", "@alice@bob"]);
    assert_eq!(searched(bob, None).unwrap(), ["#lobby", "@alice@bob"]);
    assert_eq!(searched(bob, Some("@alice")).unwrap(), ["@alice@bob"]);
    assert_eq!(searched(bob, Some("#tea")), Err(Refusal::NotMember("#tea".parse().unwrap())));
}
