//! Somebody on the way to the server: peers at addresses of their own, and the server's side of a
//! handshake.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::{Identity, PublicKey, Sealer};
use pychat::net::link::RecordSource;
use pychat::net::tcp;
use pychat::net::tunnel::TunnelReader;
use pychat::suite::Suites;
use pychat::wire::record::head;

use super::{DEADLINE, World};

/// A peer at an address of its own that does this with each connection, on a thread of its own.
pub fn peer(act: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, act) = (listener.local_addr().unwrap().to_string(), Arc::new(act));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = Arc::clone(&act);
            thread::spawn(move || act(stream));
        }
    });
    address
}

/// Passes on whatever the two say until the server has ended, and cuts the client then.
pub fn joins(mut client: TcpStream, mut upstream: TcpStream) {
    let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut upstream, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

/// How `pychat client --send` ends at this address, and what it says.
pub fn sends(world: &World, name: &str, address: &str) -> (i32, String) {
    let invite = world.invite.replace(&world.address, address);
    let mut client = world.program(name);
    client.args(["client", &invite, "--name", name, "--send", "hi"]).stdin(Stdio::null());
    let output = client.output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), told)
}

/// A client that has come through the handshake; its next record is the LOGIN.
pub struct Accepted {
    pub reader: TunnelReader,
    pub sealer: Sealer,
    pub stream: Arc<TcpStream>,
    pub key: PublicKey,
}

/// The server's side of a handshake under its own key.
pub fn accepts(stream: TcpStream, own: &Arc<Identity>) -> Accepted {
    let stream = Arc::new(stream);
    let mut records = tcp::source(&stream, Instant::now() + DEADLINE);
    let r0 = records.read().unwrap().unwrap().to_vec();
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [own]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start(hello, Suites::default());
    write_record(&stream, &r1).unwrap();
    let gated = hello.gate(records.read().unwrap().unwrap()).unwrap();
    let (key, r3, transport) = gated.finish().unwrap();
    write_record(&stream, &r3).unwrap();
    let reader = TunnelReader::new(Box::new(records), transport.opener);
    Accepted { reader, sealer: transport.sealer, stream, key }
}

/// A record in its frame.
pub fn framed(record: &[u8]) -> Vec<u8> {
    [&head(record.len())[..], record].concat()
}

/// Writes one record as it is.
pub fn write_record(mut stream: &TcpStream, record: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(record))
}

/// What a link does with bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Passes,
    /// They are delayed.
    Slows,
    /// They wait, in both directions.
    Stalls,
    /// They are lost, in both directions, without a notice.
    Swallows,
    /// The connections end, and so does each new one.
    Ends,
}

/// A way to a server whose flow a test changes.
pub struct Link {
    pub address: String,
    flow: Arc<Mutex<Flow>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    pub fn to(server: &str) -> Link {
        let flow = Arc::new(Mutex::new(Flow::Passes));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (server, shared, all) = (server.to_owned(), Arc::clone(&flow), Arc::clone(&open));
        let address = peer(move |client| {
            let Ok(upstream) = TcpStream::connect(&server) else { return };
            all.lock().unwrap().push(client.try_clone().unwrap());
            if *shared.lock().unwrap() == Flow::Ends {
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
            let ends = [client.try_clone().unwrap(), upstream.try_clone().unwrap()];
            let flow = Arc::clone(&shared);
            thread::spawn(move || flows(client, upstream, &flow));
            let [client, upstream] = ends;
            flows(upstream, client, &shared);
        });
        Link { address, flow, open }
    }

    pub fn set(&self, flow: Flow) {
        *self.flow.lock().unwrap() = flow;
        if flow == Flow::Ends {
            for client in self.open.lock().unwrap().drain(..) {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
    }
}

fn flows(mut from: TcpStream, mut to: TcpStream, flow: &Mutex<Flow>) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        while *flow.lock().unwrap() == Flow::Stalls {
            thread::park_timeout(Duration::from_millis(20));
        }
        if *flow.lock().unwrap() == Flow::Slows {
            thread::sleep(Duration::from_millis(4));
        }
        let swallows = *flow.lock().unwrap() == Flow::Swallows;
        if !swallows && to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
