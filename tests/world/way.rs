//! Somebody on the way to the server: peers at addresses of their own, and the server's side of a handshake.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pychat::crypto::handshake::ServerHello;
use pychat::crypto::hello::Greeting;
use pychat::crypto::{Identity, Sealer};
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

/// The server's side of a handshake under its own key, up to the client's LOGIN.
pub fn lets_in(stream: TcpStream, own: &Arc<Identity>) -> (TunnelReader, Sealer, Arc<TcpStream>) {
    let stream = Arc::new(stream);
    let mut records = tcp::source(&stream, Instant::now() + DEADLINE);
    let r0 = records.read().unwrap().unwrap().to_vec();
    let Some(Greeting::Hello(hello)) = Greeting::read(&r0, [own]) else { panic!("not an R0") };
    let (hello, r1) = ServerHello::start(hello, Suites::default());
    write_record(&stream, &r1).unwrap();
    let gated = hello.gate(records.read().unwrap().unwrap()).unwrap();
    let (_, r3, transport) = gated.finish().unwrap();
    write_record(&stream, &r3).unwrap();
    (TunnelReader::new(Box::new(records), transport.opener), transport.sealer, stream)
}

/// A record in its frame.
pub fn framed(record: &[u8]) -> Vec<u8> {
    [&head(record.len())[..], record].concat()
}

/// Writes one record as it is.
pub fn write_record(mut stream: &TcpStream, record: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(record))
}
