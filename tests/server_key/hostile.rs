//! Keys that a hostile server claims, its own or those of others.

use super::*;

/// Halves of signatures that a hostile server has for `real` as the key that follows its own: its
/// own half is right, and the other one is anything that it can make, or that `real` has signed in
/// other rotations.
fn halves(evil: &Identity, real: &Identity) -> Vec<[u8; 384]> {
    let (before, after) = (Identity::generate(), Identity::generate());
    let server = |old, new| Succession::sign(old, Whose::Server, new).to_bytes();
    let half = |bytes: [u8; 768], at: usize| bytes[at..at + 384].try_into().unwrap();
    vec![
        [0; 384],
        half(server(evil, real), 0),
        half(server(&before, real), 384),
        half(server(real, &after), 0),
        half(server(real, evil), 0),
        half(Succession::sign(evil, Whose::Person, real).to_bytes(), 384),
    ]
}

fn forged(evil: &Identity, real: &Identity, half: &[u8; 384]) -> Succession {
    let own = Succession::sign(evil, Whose::Server, real).to_bytes();
    Succession::from_bytes(&[&own[..384], half].concat()).unwrap()
}

/// What a server says of the key that follows its own.
fn successor(new: &Identity, signatures: &[u8]) -> Event {
    let opaque = |bytes: &[u8]| Opaque::new(bytes).unwrap();
    let (key, signatures) = (opaque(&new.public().to_der()), opaque(signatures));
    Event::Successor { key, signatures }
}

/// A server by another's hands that holds a key which clients know, lets carol in, says this, and
/// stays.
fn says(stream: TcpStream, own: &Arc<Identity>, events: &[Event]) {
    let Accepted { mut reader, mut sealer, stream, .. } = accepts(stream, own);
    assert!(matches!(reader.receive(), Ok(Incoming::Record(RecordType::Login, _))));
    reader.set_deadline(Instant::now() + DEADLINE).unwrap();
    let welcome = Event::Welcome {
        name: "carol".parse().unwrap(),
        device: "main".parse().unwrap(),
        version: "1".into(),
        text_bytes_max: 9,
        time_ms: jiff::Timestamp::now().as_millisecond(),
        motd: None,
        files: None,
    };
    for event in [&welcome].into_iter().chain(events) {
        let mut body = Vec::new();
        codec::encode(event, &mut body);
        let mut record = Vec::new();
        sealer.seal(RecordType::Json, &body, &mut record).unwrap();
        write_record(&stream, &record).unwrap();
    }
    while matches!(reader.receive(), Ok(Incoming::Record(..))) {}
}

/// Carol's client at a hostile server that has the key of the server which she knows.
fn carol_hears(world: &World, own: &Arc<Identity>, events: Vec<Event>, text: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (own, heard) = (Arc::clone(own), events.len());
    let serving = thread::spawn(move || says(listener.accept().unwrap().0, &own, &events));
    let carol = world.client_by("carol", &address, &["--plain"]);
    carol.sees(text);
    world.until("all of it is heard", || carol.seen(text) == heard);
    drop(carol);
    serving.join().unwrap();
}

#[test]
fn a_server_cannot_name_another_servers_key_as_its_next_one() {
    let (world, real) = (World::new(), another());
    drop(world.enters("carol"));
    // Carol knows the real server, too.
    let genuine = invite(&real);
    let met = invited(&world, "carol", &genuine);
    let [own, reals] = [&world, &real].map(key);
    let print = reals.public().fingerprint();
    world.until("it is kept", || servers(&world, "carol").contains(&print.to_url()));
    drop(met);
    let pinned = |print: &str| servers(&world, "carol").matches(print).count();
    let known = servers(&world, "carol");
    let said: Vec<_> = halves(&own, &reals)
        .iter()
        .map(|half| successor(&reals, &forged(&own, &reals, half).to_bytes()))
        .chain([successor(&reals, &[0; 384]), successor(&reals, &[7; 769])])
        .collect();
    let refused = format!(
        "the server announces {print} (the key of {}) as its next key without the signatures of both keys",
        real.address
    );
    for events in said.chunks(4) {
        carol_hears(&world, &own, events.to_vec(), &refused);
        let now = servers(&world, "carol");
        assert_eq!((now.len(), now.contains("former")), (known.len(), false), "{now}");
    }
    // A key that nobody knows and that has signed nothing, and one that the pinned key has not
    // signed.
    let thief = Identity::generate();
    let signed = |old, whose, new| Succession::sign(old, whose, new).to_bytes();
    let by_thief = signed(&thief, Whose::Server, &thief);
    let bad = [
        forged(&own, &thief, &[0; 384]).to_bytes(),
        by_thief,
        signed(&own, Whose::Person, &thief),
        signed(&reals, Whose::Server, &thief),
    ];
    let refused = format!("the server announces {} as its next key", thief.public().fingerprint());
    let events = bad.map(|signatures| successor(&thief, &signatures));
    carol_hears(&world, &own, events.to_vec(), &refused);
    assert_eq!(pinned(&thief.public().fingerprint().to_url()), 0);
    // And as it should be.
    let event = successor(&thief, &signed(&own, Whose::Server, &thief));
    carol_hears(&world, &own, vec![event], TOLD);
    assert_eq!(pinned(&thief.public().fingerprint().to_url()), 1);
    let former = format!("\"{}\"", own.public().fingerprint().to_url());
    assert!(servers(&world, "carol").contains(&former));
}

/// Answers one request for a lineage with these links, signed or not.
fn claims(listener: &TcpListener, server: &Identity, link: FormerKey) {
    let stream = Arc::new(listener.accept().unwrap().0);
    let mut records = tcp::source(&stream, Instant::now() + DEADLINE);
    let request = records.read().unwrap().unwrap().to_vec();
    let answer = lineage::answer(server.public(), &[link], &request).unwrap();
    write_record(&stream, &answer).unwrap();
}

#[test]
fn an_invite_makes_no_servers_key_the_next_one_of_another_server() {
    let (world, real) = (World::new(), another());
    drop(world.enters("carol"));
    let [own, reals] = [&world, &real].map(key);
    let [evil_print, print] = [&own, &reals].map(|key| key.public().fingerprint().to_url());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lure = format!("pychat://{}/{print}/{evil_print}", listener.local_addr().unwrap());
    let known = servers(&world, "carol");
    let answers = |succession: Succession, ask: &dyn Fn()| {
        let link = FormerKey { key: own.public().clone(), succession };
        let (listener, server) = (listener.try_clone().unwrap(), Arc::clone(&reals));
        let answering = thread::spawn(move || claims(&listener, &server, link));
        ask();
        answering.join().unwrap();
    };
    for half in halves(&own, &reals) {
        // Who knows the hostile server, and who knows neither.
        answers(forged(&own, &reals, &half), &|| {
            let (code, told) = trust(&world, "carol", &lure, &["--yes"]);
            assert!(code == Some(6) && told.contains("not both keys of each change"), "{told}");
            assert!(told.contains("do not use this invite"), "{told}");
        });
        answers(forged(&own, &reals, &half), &|| {
            let mut bob = invited(&world, "bob", &lure);
            bob.is_told("not both keys of each change have signed it");
            assert_eq!(bob.ends().code(), Some(6));
        });
        assert_eq!(servers(&world, "carol"), known);
        assert!(!world.data_folder("bob").join("servers.json").exists());
    }
    // With both signatures it is what it claims to be, once it has proven its key too.
    let link = FormerKey {
        key: own.public().clone(),
        succession: Succession::sign(&own, Whose::Server, &reals),
    };
    let answering = thread::spawn(move || {
        claims(&listener, &reals, link);
        accepts(listener.accept().unwrap().0, &reals);
    });
    let (code, told) = trust(&world, "carol", &lure, &["--yes"]);
    assert!(code == Some(0) && told.contains("Signatures lead from the pinned key"), "{told}");
    answering.join().unwrap();
    assert!(servers(&world, "carol").contains(&print));
}

#[test]
fn a_genuine_invite_leads_to_the_genuine_server_whatever_another_one_claimed() {
    let (world, evil) = (World::new(), another());
    let (genuine, thiefs) = (invite(&world), invite(&evil));
    let [real, false_] =
        [&genuine, &thiefs].map(|line| line.rsplit('/').next().unwrap().to_owned());
    let lure = format!("{thiefs}/{real}");
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    alice.types("before");
    for (name, rotated) in [("bob", false), ("carol", true)] {
        world.admit(name);
        let lured = invited(&world, name, &lure);
        let told = lured.is_told("The server did not prove it");
        let shown = |print: &str| print.replace('-', "+").replace('_', "/");
        assert!(told.contains(&shown(&real)) && told.contains(&shown(&false_)), "{told}");
        world.until("it is kept", || servers(&world, name).contains(&false_));
        drop(lured);
        // The thief's server is another one, and nothing of the real one is in its name.
        assert!(!servers(&world, name).contains(&real));
        if rotated {
            rotates(&world);
        }
        let genuine = invite(&world);
        let mut member = invited(&world, name, &genuine);
        member.sees("you are in #lobby");
        member.types("/join tea blue kettle 47");
        member.sees("alice: before");
        member.types("/exit");
        member.ends();
        let (code, told) = trust(&world, name, &genuine, &["--yes"]);
        assert!(code == Some(0) && told.contains("is known by this key already"), "{told}");
        // The thief's server stays what it is, and the real one too.
        drop(invited(&world, name, &lure));
        let (code, told) = trust(&world, name, &genuine, &[]);
        assert!(code == Some(0) && told.contains("nothing was changed"), "{told}");
    }
}

/// Answers each request for a lineage at this address as the server with this key would.
fn lineages(server: &Arc<Identity>, links: Vec<FormerKey>) -> String {
    let server = Arc::clone(server);
    world::way::peer(move |stream| {
        let stream = Arc::new(stream);
        let mut records = tcp::source(&stream, Instant::now() + DEADLINE);
        let Ok(Some(request)) = records.read() else { return };
        if let Some(answer) = lineage::answer(server.public(), &links, request) {
            let _ = write_record(&stream, &answer);
        }
    })
}

#[test]
fn a_fork_at_a_former_key_is_another_server_and_changes_nothing() {
    let world = World::new();
    let mut alice = world.enters("alice");
    alice.types("/join tea blue kettle 47");
    alice.sees("you are in #tea~");
    drop(alice);
    let first = key(&world);
    let print = rotates(&world);
    let alice = world.client("alice", &["--plain"]);
    alice.sees(TOLD);
    drop(alice);
    // The former key is stolen, and signs a key of the thief.
    let thief = Arc::new(Identity::generate());
    let shown = thief.public().fingerprint();
    let succession = Succession::sign(&first, Whose::Server, &thief);
    let address = lineages(&thief, vec![FormerKey { key: first.public().clone(), succession }]);
    let known = servers(&world, "alice");
    let claims = [String::new(), format!("/{}", pychat::crypto::Fingerprint([9; 32]).to_url())];
    for claim in claims {
        let lure = format!("pychat://{address}/{}{claim}", shown.to_url());
        let mut lured = invited(&world, "alice", &lure);
        lured.is_told("follows a former key of the server of");
        assert_eq!(lured.ends().code(), Some(6));
        let (code, told) = trust(&world, "alice", &lure, &["--yes"]);
        assert!(code == Some(6) && told.contains("follows a former key"), "{told}");
        assert!(told.contains(&print) && told.contains(&shown.to_string()), "{told}");
        assert_eq!(servers(&world, "alice"), known);
    }
    let alice = invited(&world, "alice", &invite(&world));
    alice.sees("you are in #tea~");
}

/// What is stored beside the pinned key of every server, by name.
fn stored(world: &World, person: &str, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(world.data_folder(person).join(folder)).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".pem")).collect();
    names.sort();
    names
}

#[test]
fn who_met_the_thief_of_a_former_key_first_comes_to_the_genuine_server() {
    // The first keys of all worlds are the same, and so the thief has that of the genuine one.
    let (world, thief) = (World::new(), World::new());
    let (real, false_) = (rotates(&world), rotates(&thief));
    let (genuine, lure) = (invite(&world), invite(&thief));
    world.admit("bob");
    let pem = fs::read_to_string(world.data_folder("bob").join("id.pub.pem")).unwrap();
    thief.registers("bob", &pychat::crypto::PublicKey::from_pem(&pem).unwrap());
    let mut bob = invited(&world, "bob", &lure);
    bob.types("/join tea blue kettle 47");
    bob.sees("you are in #tea~");
    bob.types("/exit");
    bob.ends();
    let known = servers(&world, "bob");
    assert!(known.contains(&url(&false_)) && !stored(&world, "bob", "device").is_empty());
    // Nothing but a person who was read the genuine key changes that.
    let mut refused = invited(&world, "bob", &genuine);
    refused.is_told("pychat trust and this invite");
    assert_eq!(refused.ends().code(), Some(6));
    for args in [&[][..], &["--yes"]] {
        let (code, told) = trust(&world, "bob", &genuine, args);
        assert!(code == Some(6) && told.contains(&real) && told.contains(&false_), "{told}");
    }
    let spoken = pychat::crypto::Fingerprint::from_url(&url(&real)).unwrap().spoken();
    let (_, read_out) = world.operator(&["invite"]);
    assert!(read_out.contains(&spoken), "the operator can read it: {read_out}");
    let asks = || {
        let mut command = world.program("bob");
        command.arg("trust").arg(&genuine);
        let asked = Terminal::run(&command);
        asked.shows("Type the server's key as the operator reads it");
        asked.shows(&format!("the server of {} was not the genuine one", thief.address));
        assert!(!asked.screen().contains(&spoken), "{}", asked.screen());
        asked
    };
    for wrong in ["y", "", &real] {
        let mut asked = asks();
        asked.types(&format!("{wrong}\r"));
        asked.shows("this is not the key of the invite: nothing was changed");
        asked.ends_with(1);
        assert_eq!(servers(&world, "bob"), known);
    }
    let mut asked = asks();
    asked.types(&format!("{}\r", spoken.to_lowercase().replace('-', " ")));
    asked.shows("whoever runs it could read and change what you wrote and saw there");
    asked.ends_with(0);
    assert!(servers(&world, "bob").contains(&url(&real)));
    assert!(!servers(&world, "bob").contains(&url(&false_)));
    // Nothing of what was stored of the thief's server is used: it lies beside.
    assert_eq!(stored(&world, "bob", "servers"), [""; 0]);
    assert_eq!(stored(&world, "bob", "device"), [""; 0]);
    assert_eq!(stored(&world, "bob", "set-aside").len(), 1);
    let bob = world.client("bob", &["--plain"]);
    bob.sees("you are in #lobby");
    assert_eq!(bob.seen("#tea~"), 0);
    drop(bob);
    let mut lured = invited(&world, "bob", &lure);
    lured.is_told("is known by another key");
    assert_eq!(lured.ends().code(), Some(6));
}

#[test]
fn trust_stores_no_key_that_the_server_has_not_proven() {
    let world = World::new();
    let bob = world.enters("bob");
    drop(bob);
    let known = servers(&world, "bob");
    // It knows another key's public half, and answers for its lineage: with the pinned key in it,
    // and without.
    let other = Arc::new(Identity::generate());
    let (host, port) = world.address.rsplit_once(':').unwrap();
    let own = key(&world);
    let succession = Succession::sign(&own, Whose::Server, &other);
    let follows = vec![FormerKey { key: own.public().clone(), succession }];
    for links in [follows, Vec::new()] {
        let address = lineages(&other, links);
        // The server that is known is at the double's address.
        let entry = known.replace(port, address.rsplit_once(':').unwrap().1);
        assert_eq!(host, "127.0.0.1");
        fs::write(world.data_folder("bob").join("servers.json"), &entry).unwrap();
        let line = format!("pychat://{address}/{}", other.public().fingerprint().to_url());
        let (code, told) = trust(&world, "bob", &line, &["--yes"]);
        assert!(code == Some(4) && told.contains("has not proven the key"), "{told}");
        assert_eq!(servers(&world, "bob"), entry);
    }
    // One that cannot be reached proves nothing either.
    fs::write(world.data_folder("bob").join("servers.json"), &known).unwrap();
    let line = format!("pychat://{}/{}", world.address, other.public().fingerprint().to_url());
    let world = world.stopped();
    let (code, told) = trust(&world, "bob", &line, &["--yes"]);
    assert!(code == Some(4) && told.contains("cannot be fetched"), "{told}");
    assert_eq!(servers(&world, "bob"), known);
}

#[test]
fn a_key_that_no_handshake_has_proven_is_not_stored() {
    let world = World::new();
    world.admit("bob");
    let genuine = invite(&world);
    let (at, _) = genuine.rsplit_once('/').unwrap();
    let thief = Arc::new(Identity::generate());
    let wrong = thief.public().fingerprint().to_url();
    let bob = invited(&world, "bob", &format!("{at}/{wrong}"));
    bob.sees("the server closed the connection without an answer");
    drop(bob);
    assert_eq!(servers(&world, "bob"), "");
    // Who knows the real key can answer for its lineage, and cannot shake hands with it.
    let address = lineages(&key(&world), Vec::new());
    let (code, told) = world::way::sends(&world, "bob", &address);
    assert!(code != 0, "{told}");
    assert_eq!(servers(&world, "bob"), "");
    let bob = invited(&world, "bob", &genuine);
    bob.sees("you are in #lobby");
    drop(bob);
    // Another spelling of the host is the same address.
    let known = servers(&world, "bob");
    let port = world.address.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1.", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"] {
        let mut bob = invited(&world, "bob", &format!("pychat://{host}:{port}/{wrong}"));
        bob.is_told("is known by another key");
        assert_eq!(bob.ends().code(), Some(6));
        assert_eq!(servers(&world, "bob"), known);
    }
}
