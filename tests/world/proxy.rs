//! A link that breaks: a byte-exact TCP proxy that cuts, half-closes, delays, trickles and doubles
//! bytes by a seed, a given number of times, and is a plain proxy after that.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};

/// More bytes than a handshake and a LOGIN need in one direction.
const HANDSHAKE_BYTES: usize = 12_000;

pub struct Proxy {
    pub address: String,
    left: Arc<AtomicI64>,
    /// Bytes that have come from clients.
    up: Arc<AtomicUsize>,
}

/// What happens to a connection once so many bytes have gone through it.
#[derive(Clone, Copy)]
struct Plan {
    after_bytes: usize,
    harm: Harm,
}

impl Plan {
    const NONE: Plan = Plan { after_bytes: 0, harm: Harm::None };
}

#[derive(Clone, Copy, PartialEq)]
enum Harm {
    None,
    Cut,
    /// One direction ends, and the other one lasts for a while.
    HalfClose,
    /// Bytes come twice, which no record survives.
    Double,
    /// Byte for byte from here on, then a cut.
    Trickle,
}

impl Proxy {
    /// In front of `server`; `harms` connections are harmed.
    pub fn start(server: &str, seed: u64, harms: i64) -> Proxy {
        Proxy::reaching(server, seed, (harms, draw), |server| TcpStream::connect(server))
    }

    /// One that cuts so many connections, each behind the handshake and some `bytes` on average.
    pub fn cutting(server: &str, seed: u64, cuts: i64, bytes: usize) -> Proxy {
        let draw = move |chance: &mut StdRng| {
            let after_bytes = HANDSHAKE_BYTES + chance.random_range(0..2 * bytes);
            [Plan { after_bytes, harm: Harm::Cut }; 2]
        };
        Proxy::reaching(server, seed, (cuts, draw), |server| TcpStream::connect(server))
    }

    /// One that harms nothing, and reaches the server from an address of its own.
    pub fn from_source(server: &str, source: [u8; 4]) -> Proxy {
        Proxy::reaching(server, 0, (0, draw), move |server| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
            socket.connect(&server.parse::<SocketAddr>().unwrap().into())?;
            Ok(socket.into())
        })
    }

    fn reaching(
        server: &str,
        seed: u64,
        (harms, draw): (i64, impl Fn(&mut StdRng) -> [Plan; 2] + Send + 'static),
        reach: impl Fn(&str) -> io::Result<TcpStream> + Send + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = Arc::new(AtomicI64::new(harms));
        let up = Arc::new(AtomicUsize::new(0));
        let (server, own_left, own_up) = (server.to_owned(), Arc::clone(&left), Arc::clone(&up));
        let chance = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = reach(&server) else { continue };
                let harmed = own_left.fetch_sub(1, Ordering::SeqCst) > 0;
                let [first, second] = match harmed {
                    true => draw(&mut chance.lock().unwrap()),
                    false => [Plan::NONE; 2],
                };
                let both = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                pump(both, first, Arc::clone(&own_up));
                pump((upstream, client), second, Arc::default());
            }
        });
        Proxy { address, left, up }
    }

    /// Connections that are still to be harmed.
    pub fn left(&self) -> i64 {
        self.left.load(Ordering::SeqCst).max(0)
    }

    /// Bytes that clients have sent so far.
    pub fn sent(&self) -> usize {
        self.up.load(Ordering::SeqCst)
    }
}

/// A link on which the server's answers can be lost.
pub struct OneWay {
    pub address: String,
    silent: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl OneWay {
    pub fn start(server: &str) -> OneWay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (silent, open) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let one = OneWay { address, silent: Arc::clone(&silent), open: Arc::clone(&open) };
        let server = server.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                let both = [&client, &upstream].map(|stream| stream.try_clone().unwrap());
                open.lock().unwrap().extend(both);
                let both = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                pump(both, Plan::NONE, Arc::default());
                carry(upstream, client, Arc::clone(&silent));
            }
        });
        one
    }

    /// What the server sends from now on is lost.
    pub fn silences(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// All connections break, and the next ones are whole.
    pub fn breaks(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.silent.store(false, Ordering::SeqCst);
    }
}

/// From the server, as long as its bytes are not lost.
fn carry(mut from: TcpStream, mut to: TcpStream, silent: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// Draws a fault of a connection for each direction.
fn draw(chance: &mut StdRng) -> [Plan; 2] {
    let harm = match chance.random_range(0..10) {
        0 => Harm::HalfClose,
        1 => Harm::Double,
        2 => Harm::Trickle,
        _ => Harm::Cut,
    };
    // Some break in the handshake, most of them after it.
    let longest = if chance.random_bool(0.2) { 1_500 } else { 40_000 };
    let plan = Plan { after_bytes: chance.random_range(1..longest), harm };
    match chance.random_bool(0.5) {
        true => [plan, Plan::NONE],
        false => [Plan::NONE, plan],
    }
}

/// Carries one direction of a connection, and counts its bytes.
fn pump((mut from, mut to): (TcpStream, TcpStream), plan: Plan, count: Arc<AtomicUsize>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut passed = 0;
        loop {
            let wanted = match plan.harm {
                Harm::None => buffer.len(),
                _ => buffer.len().min(plan.after_bytes - passed),
            };
            let Ok(bytes @ 1..) = from.read(&mut buffer[..wanted]) else { break };
            count.fetch_add(bytes, Ordering::SeqCst);
            if to.write_all(&buffer[..bytes]).is_err() {
                break;
            }
            passed += bytes;
            if plan.harm != Harm::None && passed == plan.after_bytes {
                match plan.harm {
                    Harm::HalfClose => return drop(to.shutdown(Shutdown::Write)),
                    Harm::Double => drop(to.write_all(&buffer[..bytes])),
                    Harm::Trickle => trickle(&mut from, &mut to, &count),
                    Harm::Cut | Harm::None => {}
                }
                break;
            }
        }
        // Both directions end, whichever of them it was.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

fn trickle(from: &mut TcpStream, to: &mut TcpStream, count: &AtomicUsize) {
    let mut byte = [0];
    for _ in 0..200 {
        if !matches!(from.read(&mut byte), Ok(1)) {
            return;
        }
        count.fetch_add(1, Ordering::SeqCst);
        if to.write_all(&byte).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
