//! Keys that wait to be registered: what the operator sees of them, and registers.

use super::*;
use world::program::Program;

/// A client whose key is not registered, and its code.
fn waits(world: &World, name: &str) -> (Program, String) {
    let client = world.client(name, &["--plain"]);
    client.sees("waiting to be admitted");
    let told = client.is_told("over the phone:");
    (client, told.rsplit(' ').next().unwrap().to_owned())
}

/// The waiting keys, as programs see them.
fn waiting(world: &World) -> Vec<Value> {
    let (code, out, told) = operator(world, &["users", "waiting", "--json"]);
    assert_eq!(code, 0, "{told}");
    let object: Value = serde_json::from_str(&out).unwrap();
    object["waiting"].as_array().unwrap().clone()
}

/// The same for people.
fn listed(world: &World) -> String {
    let (code, out, told) = operator(world, &["users", "waiting"]);
    assert_eq!(code, 0, "{told}");
    out
}

fn add(world: &World, args: &[&str]) -> (i32, String) {
    let args = [&["users", "add"], args].concat();
    let (code, _, told) = operator(world, &args);
    (code, told)
}

/// The operator's question about a waiting key.
fn question(world: &World, wanted: &str) -> Terminal {
    let mut command = world.program("operator");
    command.args(["users", "add", "--waiting", wanted, "--home"]).arg(world.home());
    let terminal = Terminal::run(&command);
    terminal.shows("read you exactly this? [y/N]");
    terminal
}

#[test]
fn a_client_that_waits_is_let_in_by_what_it_reads_aloud() {
    let world = World::new();
    assert!(listed(&world).contains("no key waits"));
    let (bob, code) = waits(&world, "bob");
    let list = listed(&world);
    assert!(list.contains(&format!("bob                  {code}\n    since ")), "{list}");
    assert!(list.contains("from 127.0.0.1") && list.contains("--waiting CODE"), "{list}");
    let (console, told) = world.operator(&["ctl", "waiting"]);
    assert!(console && told.contains(&code), "{told}");
    // Nobody was asked, and nobody has named the key.
    let (was, told) = add(&world, &["--waiting", "bob"]);
    assert!(was == 2 && told.contains("hint:  compare it, then add --yes"), "{told}");
    let (was, told) = add(&world, &["--waiting", "bob", "--yes"]);
    assert!(was == 2 && told.contains("with --yes, --waiting needs the code"), "{told}");
    let (was, told) = add(&world, &["--waiting", "carol"]);
    assert!(was == 1 && told.contains("no key waits under this name"), "{told}");
    let (was, told) = add(&world, &["--waiting", "00000-00000-00000-00000", "--yes"]);
    assert!(was == 1 && told.contains("no key waits with this code"), "{told}");
    let (was, told) = add(&world, &["--waiting", "bob", "bob.pem"]);
    assert!(was == 2 && told.contains("cannot be combined with"), "{told}");

    let mut no = question(&world, "bob");
    no.shows(&code);
    no.types("\r");
    no.ends_with(1);
    assert!(!world.home().join("users/bob.pem").exists());
    let mut yes = question(&world, "bob");
    yes.types("y\r");
    yes.ends_with(0);
    bob.sees("you are in #lobby");
    assert!(waiting(&world).is_empty());
    let trail = fs::read_to_string(world.home().join("data/audit.jsonl")).unwrap();
    assert!(trail.contains("\"add\""), "{trail}");
}

#[test]
fn only_the_code_tells_keys_of_one_name_apart() {
    let world = World::new();
    let (_other, wrong) = waits(&world, "bob.other");
    // The operator looks at one key, and another one claims the name meanwhile.
    let mut asked = question(&world, "BOB");
    let (_bob, code) = waits(&world, "bob");
    asked.shows(&wrong);
    asked.types("n\r");
    asked.ends_with(1);
    let (was, told) = add(&world, &["--waiting", "bob"]);
    assert!(was == 1 && told.contains("2 keys claim the name bob"), "{told}");
    assert!(listed(&world).contains("2 keys claim the name bob: only the code"));
    // However it was written down.
    let spoken = code.to_lowercase().replace('-', " ");
    let mut asked = question(&world, &spoken);
    asked.shows(&code);
    asked.types("y\r");
    asked.ends_with(0);
    let pem = fs::read_to_string(world.home().join("users/bob.pem")).unwrap();
    assert_eq!(PublicKey::from_pem(&pem).unwrap().fingerprint().spoken(), code);
    // The other key is not bob's, or a second device of his.
    let keys = waiting(&world);
    assert_eq!((keys.len(), keys[0]["code"].as_str()), (1, Some(&*wrong)));
    assert!(keys[0]["notes"][0].as_str().unwrap().contains("bob is registered: --device"));
    let (was, told) = add(&world, &["--waiting", &wrong, "--yes"]);
    assert!(was == 1 && told.contains("bob has another key already"), "{told}");
    let (was, told) = add(&world, &["--waiting", &wrong, "--device", "phone", "--yes"]);
    assert_eq!(was, 0, "{told}");
    assert!(world.home().join("users/bob.phone.pem").exists());
}

#[test]
fn a_banned_key_takes_no_place_and_a_restart_forgets_all() {
    let world = World::new();
    let (bob, code) = waits(&world, "bob");
    let print = waiting(&world)[0]["fingerprint"].as_str().unwrap().to_owned();
    let (ok, told) = world.operator(&["ctl", "ban", &print]);
    assert!(ok, "{told}");
    assert!(waiting(&world).is_empty(), "a ban hides the key at once");
    let (was, told) = add(&world, &["--waiting", &code, "--yes"]);
    assert!(was == 1 && told.contains("no key waits with this code"), "{told}");
    drop(bob);
    let world = world.restarted();
    let bob = world.client("bob", &["--plain"]);
    bob.sees("waiting to be admitted");
    // Or it would come again after the ban.
    drop(bob);
    let (ok, told) = world.operator(&["ctl", "unban", &print]);
    assert!(ok, "{told}");
    assert!(waiting(&world).is_empty(), "a key that comes while it is banned is not noted");
    let bob = world.client("bob", &["--plain"]);
    bob.sees("waiting to be admitted");
    assert_eq!(waiting(&world)[0]["code"], *code);
    drop(bob);
    let world = world.restarted();
    assert!(waiting(&world).is_empty());
}

#[test]
fn a_name_that_looks_like_another_and_an_address_that_is_not_logged() {
    let world = World::configured(r#"{"log_ip": false}"#);
    world.admit("alice");
    let (carol, code) = waits(&world, "aIice");
    let list = listed(&world);
    assert!(list.contains("cannot be registered under this name: the name looks like"), "{list}");
    assert!(!list.contains("127.0.0.1"), "{list}");
    assert_eq!(waiting(&world)[0]["address"], Value::Null);
    let (was, told) = add(&world, &["--waiting", &code, "--yes"]);
    assert!(was == 1 && told.contains("the name looks like alice"), "{told}");
    let (was, told) = add(&world, &["--waiting", &code, "--as", "carol", "--yes"]);
    assert_eq!(was, 0, "{told}");
    carol.sees("you are in #lobby");
    carol.sees("carol");
}

#[test]
fn only_a_running_server_knows_who_waits() {
    let world = World::new();
    let world = world.stopped();
    for args in [&["users", "waiting"][..], &["users", "add", "--waiting", "bob"]] {
        let (code, _, told) = operator(&world, args);
        assert!(code == 4 && told.contains("no server runs in "), "{told}");
    }
}
