//! Hostile peers from many addresses, which occupy the places for unauthenticated connections, and
//! members who log in meanwhile, on the real binary.

mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pychat::crypto::handshake::ClientStart;
use pychat::crypto::{Identity, PublicKey};
use pychat::invite::Invite;
use pychat::net::tunnel::{Dial, DialError, Incoming, dial};
use pychat::suite::Suites;
use pychat::wire::record::RecordReader;
use socket2::{Domain, Socket, Type};
use world::peer::login;
use world::proxy::Proxy;
use world::way::write_record;
use world::{DEADLINE, World};

/// The key of the member who logs in.
static KEY: LazyLock<Identity> = LazyLock::new(Identity::generate);

/// Floods share two cores, so each test waits until the flood of another one is over: a member is
/// measured against the flood of its own test, and no other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member logs in within this time, whatever unauthenticated peers do (docs/security.md).
const PROMISED: Duration = Duration::from_secs(11);

/// What hostile peers do.
#[derive(Clone)]
struct Plan {
    addresses: usize,
    /// The address of each.
    address: fn(usize) -> [u8; 4],
    /// Connections that one address holds at once.
    each: usize,
    /// A connection is held for so long, and closed then.
    hold: Duration,
    /// What a peer sends at once.
    says: Vec<u8>,
    /// Connections a second that all of them try at most.
    per_s: usize,
}

/// Hostile peers at work.
struct Flood {
    ends: Arc<AtomicBool>,
    tried: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

/// The address of a hostile peer: each in an IPv4 /24 of its own, as a botnet's are.
fn botnet(number: usize) -> [u8; 4] {
    [127, 16 + (number >> 8) as u8, number as u8, 1]
}

/// All addresses of hostile peers in one IPv4 /24.
fn one_network(number: usize) -> [u8; 4] {
    [127, 9, 9, 1 + number as u8]
}

fn connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), DEADLINE)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Flood {
    fn start(world: &World, plan: &Plan) -> Flood {
        const THREADS: usize = 4;
        let to: SocketAddr = world.address.parse().unwrap();
        let (ends, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..THREADS).map(|thread| {
            let (plan, ends, tried) = (plan.clone(), Arc::clone(&ends), Arc::clone(&tried));
            let own = (0..plan.addresses * plan.each).filter(move |slot| slot % THREADS == thread);
            let own: Vec<_> = own.map(|slot| (plan.address)(slot % plan.addresses)).collect();
            thread::spawn(move || hold(&own, to, &plan, (&ends, &tried)))
        });
        let threads = threads.collect();
        Flood { ends, tried, threads }
    }

    /// Connections that were tried so far.
    fn tried(&self) -> usize {
        self.tried.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Holds a connection for each of the addresses, and comes again wherever one is closed.
fn hold(own: &[[u8; 4]], to: SocketAddr, plan: &Plan, (ends, tried): (&AtomicBool, &AtomicUsize)) {
    let mut held: Vec<Option<(TcpStream, Instant)>> = own.iter().map(|_| None).collect();
    let began = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        for (slot, from) in held.iter_mut().zip(own) {
            let lasts = slot.as_mut().is_some_and(|(stream, since)| {
                let open = matches!(stream.read(&mut [0; 2_048]), Ok(1..))
                    || matches!(stream.read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock);
                open && since.elapsed() < plan.hold
            });
            if lasts {
                continue;
            }
            *slot = None;
            let allowed = began.elapsed().as_secs_f64() * plan.per_s as f64;
            if (tried.load(Ordering::Relaxed) as f64) < allowed {
                tried.fetch_add(1, Ordering::Relaxed);
                let come = connect(*from, to).and_then(|mut stream| {
                    stream.write_all(&plan.says)?;
                    Ok(stream)
                });
                *slot = come.ok().map(|stream| (stream, Instant::now()));
            }
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// A member's login, repeated after a while like that of a client if the server refuses it.
fn logs_in(invite: &Invite, address: &str, server: &PublicKey) -> Duration {
    let (host, port) = address.split_once(':').unwrap();
    let began = Instant::now();
    let login = login("bob");
    assert_eq!(invite.fingerprint, Some(server.fingerprint()));
    let to = Dial {
        host,
        port: port.parse().unwrap(),
        server,
        suites: Suites::default(),
        patience: Duration::from_secs(10),
    };
    loop {
        match dial(&to, &KEY, &login) {
            Ok(mut tunnel) => match tunnel.reader.receive() {
                Ok(Incoming::Record(..)) => return began.elapsed(),
                other => eprintln!("after the login: {other:?}"),
            },
            Err(DialError::Connect(error)) => panic!("{error}"),
            Err(error) => eprintln!("after {:?}: {error}", began.elapsed()),
        }
        assert!(began.elapsed() < DEADLINE, "never let in");
        thread::park_timeout(Duration::from_millis(1_500));
    }
}

/// Where the member comes from: never the same source twice, so that none is known.
fn never_seen(number: usize) -> [u8; 4] {
    [127, 200, number as u8, 1]
}

/// The same, in the network of the hostile peers.
fn neighbour(number: usize) -> [u8; 4] {
    [127, 9, 9, 240 + number as u8]
}

fn member(world: &World) -> (Invite, PublicKey) {
    world.registers("bob", KEY.public());
    (world.parsed_invite(), world.server_key())
}

/// Members from these addresses log in during a flood, of which some are refused or evicted.
#[track_caller]
fn comes_in_under(world: &World, plan: &Plan, from: &[fn(usize) -> [u8; 4]], what: &str) {
    let _alone = alone();
    let (invite, server) = member(world);
    let flood = Flood::start(world, plan);
    world.until("the flood has come", || flood.tried() >= plan.addresses);
    for (number, from) in (0..8).flat_map(|number| from.iter().map(move |from| (number, from))) {
        let source = from(number);
        let way = Proxy::from_source(&world.address, source);
        let took = logs_in(&invite, &way.address, &server);
        assert!(took < PROMISED, "login {number} from {source:?} took {took:?}");
        thread::park_timeout(Duration::from_millis(300));
    }
    world.until(what, || world.counter(what) > 0);
    flood.end();
}

/// Everybody is counted by source, and a login has a fifth of its usual time.
const CONFIG: &str = r#"{"exempt": [], "limits": {"login_ms_max": 2000}}"#;

#[test]
fn a_member_comes_in_while_256_addresses_hold_silent_connections() {
    let world = World::configured(CONFIG);
    // They close themselves just before the server would.
    let hold = Duration::from_millis(1_960);
    let plan = Plan { addresses: 256, address: botnet, each: 8, hold, says: vec![], per_s: 1_000 };
    // Closing early does not pay.
    comes_in_under(&world, &plan, &[never_seen], "refused");
}

#[test]
fn a_member_comes_in_while_256_addresses_greet_and_say_no_more() {
    let world = World::configured(CONFIG);
    let hold = Duration::from_millis(1_960);
    // They have an invite.
    let plan =
        Plan { addresses: 256, address: botnet, each: 8, hold, says: world.hello(), per_s: 1_000 };
    // Nor does it with a valid hello.
    comes_in_under(&world, &plan, &[never_seen], "refused");
}

#[test]
fn members_come_in_while_a_whole_network_greets_and_says_no_more() {
    let world = World::configured(CONFIG);
    let hold = Duration::from_millis(1_960);
    let says = world.hello();
    let plan = Plan { addresses: 230, address: one_network, each: 8, hold, says, per_s: 1_000 };
    comes_in_under(&world, &plan, &[never_seen, neighbour], "refused");
}

#[test]
fn a_member_comes_in_where_everybody_has_the_same_address() {
    // As behind a proxy: nobody can be told from anybody by where they come from.
    let world = World::with(r#"{"login_ms_max": 2000}"#);
    let hold = Duration::from_millis(1_960);
    let plan = Plan { addresses: 256, address: botnet, each: 8, hold, says: vec![], per_s: 1_000 };
    comes_in_under(&world, &plan, &[never_seen], "evicted");
}

/// Members whose sources occupy the reserved places, and the sources of each.
const HOSTILE: (usize, usize) = (22, 7);

/// A hostile member's source, in a network of its own.
fn theirs(member: usize, number: usize) -> [u8; 4] {
    [127, 30 + number as u8, member as u8, 1]
}

/// Where the member has logged in from before.
const HOME: [u8; 4] = [127, 250, 1, 1];

/// Where people have logged in from, as the server stores it.
fn sources() -> String {
    let text = |source: [u8; 4]| std::net::Ipv4Addr::from(source).to_string();
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = today.as_secs() / 86_400;
    let of = |name: String, sources: Vec<[u8; 4]>| {
        (name, sources.into_iter().map(|one| (text(one), today)).collect::<Vec<_>>())
    };
    let hostile =
        |member| of(format!("m{member}"), (0..HOSTILE.1).map(|it| theirs(member, it)).collect());
    let all = (0..HOSTILE.0).map(hostile).chain([of("bob".into(), vec![HOME])]);
    serde_json::to_string(&all.collect::<std::collections::BTreeMap<_, _>>()).unwrap()
}

/// A connection that has sent R2 and sends no LOGIN; none where the server has no room for it.
fn half_logged_in(to: SocketAddr, from: [u8; 4], server: &PublicKey) -> Option<TcpStream> {
    let stream = connect(from, to).ok()?;
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let (start, r0) = ClientStart::new(&KEY, server, Suites::default());
    write_record(&stream, &r0).ok()?;
    let mut records = RecordReader::new(&stream, 2_048);
    let (_, r2) = start.answer(records.read().ok()??).ok()?;
    write_record(&stream, &r2).ok()?;
    // R3 comes once it has a thread.
    records.read().ok()??;
    Some(stream)
}

#[test]
fn a_member_comes_in_while_22_members_hold_logins_at_7_sources_each() {
    let _alone = alone();
    let world = World::configured(r#"{"exempt": []}"#);
    let (_, server) = member(&world);
    (0..HOSTILE.0).for_each(|member| drop(world.registers_key_of(&format!("m{member}"))));
    let world = world.stopped();
    std::fs::write(world.home().join("data/sources.json"), sources()).unwrap();
    let world = world.started();
    let to: SocketAddr = world.address.parse().unwrap();
    let way = Proxy::from_source(&world.address, HOME);
    let (host, port) = way.address.split_once(':').unwrap();
    let (port, suites, patience) = (port.parse().unwrap(), Suites::default(), DEADLINE);
    let dials = Dial { host, port, server: &server, suites, patience };
    // Every source has one connection that is safe for 2 s, and bob comes before they are over.
    let server = &server;
    let held: Vec<_> = thread::scope(|scope| {
        let hold =
            |member| (0..HOSTILE.1).map(move |it| half_logged_in(to, theirs(member, it), server));
        let threads: Vec<_> = (0..HOSTILE.0)
            .map(|member| scope.spawn(move || hold(member).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let began = Instant::now();
    let mut bob = dial(&dials, &KEY, &login("bob")).expect("the first try");
    assert!(matches!(bob.reader.receive(), Ok(Incoming::Record(..))));
    println!("{} held, bob in after {:?}", held.iter().flatten().count(), began.elapsed());
    assert!(held.iter().flatten().count() > 90, "they hold what they can have");
}

/// The figures of docs/security.md: `cargo test --test flood -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes: it measures at full size"]
fn measured_at_full_size() {
    let full = |addresses, says| Plan {
        addresses,
        address: botnet,
        each: 8,
        hold: Duration::from_millis(9_800),
        says,
        per_s: 75,
    };
    type Says = fn(&World) -> Vec<u8>;
    let silent: Says = |_| Vec::new();
    let hello: Says = World::hello;
    let rows = [(17, "silent", silent), (256, "silent", silent), (256, "with a hello", hello)];
    for (addresses, what, says) in rows {
        let world = World::configured(r#"{"exempt": []}"#);
        let (invite, server) = member(&world);
        let plan = full(addresses, says(&world));
        let flood = Flood::start(&world, &plan);
        // The peers have filled all places that they can fill.
        thread::park_timeout(Duration::from_secs(12));
        let (cpu, began) = (world.server.cpu(), Instant::now());
        let mut took = Vec::new();
        while began.elapsed() < Duration::from_secs(60) {
            let way = Proxy::from_source(&world.address, never_seen(took.len()));
            took.push(logs_in(&invite, &way.address, &server));
            let next = Duration::from_millis(820 * took.len() as u64);
            thread::park_timeout(next.saturating_sub(began.elapsed()));
        }
        took.sort();
        let of = |part: usize| took[(took.len() - 1) * part / 100].as_millis();
        let cpu = (world.server.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        println!(
            "{addresses} addresses, {what}: {} connections, {} logins in 60 s: p50 {} ms, p90 {} ms, \
             slowest {} ms; {:.1} % of a core; {} refused, {} evicted",
            flood.tried(),
            took.len(),
            of(50),
            of(90),
            of(100),
            100.0 * cpu,
            world.counter("refused"),
            world.counter("evicted"),
        );
        flood.end();
        let slowest = took[took.len() - 1];
        assert!(slowest < PROMISED, "{addresses} addresses, {what}: {slowest:?}");
        assert!(took.len() >= 70, "{addresses} addresses, {what}: {} logins", took.len());
    }
}
