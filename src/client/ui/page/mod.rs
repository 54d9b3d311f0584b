//! The page (`web/`) on a loopback address as a user interface (docs/web.md). The runtime hands
//! over outputs and never waits; each connection of a browser has a thread of its own.

mod access;
mod answers;
mod browser;
mod carried;
pub mod commands;
mod connection;
pub mod core;
mod outgoing;
pub mod queue;
mod room;
mod routes;
mod session;
mod shown;
mod slots;
mod spool;
pub mod state;
mod token;
mod unread;
mod wrong;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Person, Ui};
use crate::client::connection::inbox::Sender;
use crate::client::model::Output;
use crate::fault::{Fault, code};
use crate::net::local::LocalListener;
use crate::print::{err, out};
use crate::system;
use access::Access;
use core::Core;
use queue::CLOSE_PATIENCE;
use routes::Names;
pub use shown::Shown;
use slots::Slots;
pub use spool::Spool;
use state::State;
use token::Token;
pub use wrong::Wrong;

/// Where the page is, unless the user names another address.
pub const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5_081);
pub const HINT: &str = "the page is for this computer alone: --web 127.0.0.1:5081";
/// Ports that are tried after a taken one.
const PORTS_TRIED: u16 = 20;
/// The pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listener, before the chat.
pub struct Opened {
    listener: LocalListener,
    address: SocketAddr,
}

impl Opened {
    /// Listens on an address, or on one of the ports after it if it is taken.
    ///
    /// # Errors
    /// The address is no loopback address, or cannot be bound.
    pub fn open(wanted: SocketAddr) -> Result<Opened, Fault> {
        if !wanted.ip().is_loopback() {
            let text = format!("{wanted} can be reached from other computers");
            return Err(Fault::new(code::USAGE, text, HINT));
        }
        let opened = bind(wanted).and_then(|listener| Ok((listener.address()?, listener)));
        let failed = |error: io::Error| {
            let hint = "name another port: --web 127.0.0.1:0 takes a free one";
            Fault::new(code::UNREACHABLE, format!("cannot listen on {wanted}: {error}"), hint)
        };
        let (address, listener) = opened.map_err(failed)?;
        if wanted.port() != 0 && address.port() != wanted.port() {
            err!("port {} is taken: the page is at port {}", wanted.port(), address.port());
        }
        Ok(Opened { listener, address })
    }

    /// Starts to serve pages. Prints their address, and opens it if there is a desktop.
    /// `server` is the server's address and its fingerprint.
    pub fn serve(
        self,
        (person, server): (Person, (String, String)),
        spool: Spool,
        inbox: Sender,
    ) -> Page {
        let Opened { listener, address } = self;
        let core = Arc::new(Core::new(State::new(person, server), spool, inbox));
        let (token, names) = (Token::new(), Names::of(address));
        let access = Arc::new(Access { token, names, core: Arc::clone(&core) });
        let accepting = Arc::clone(&access);
        let spawned = thread::Builder::new()
            .name("pages".into())
            .spawn(move || accept(&accepting, &listener));
        spawned.expect("a client can start a thread");
        announce(&access, address);
        Page { core }
    }
}

fn bind(wanted: SocketAddr) -> io::Result<LocalListener> {
    let last = wanted.port().saturating_add(if wanted.port() == 0 { 0 } else { PORTS_TRIED });
    let mut bound = LocalListener::bind(wanted);
    for port in wanted.port()..last {
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bound = LocalListener::bind(SocketAddr::new(wanted.ip(), port + 1));
            }
            bound => return bound,
        }
    }
    bound
}

fn accept(access: &Arc<Access>, listener: &LocalListener) {
    let slots = Slots::default();
    loop {
        let Ok(stream) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let Some(slot) = slots.enter(&stream) else {
            stream.cut();
            continue;
        };
        let access = Arc::clone(access);
        let serve = move || connection::serve(&access, stream, &slot);
        // Without a thread the connection ends.
        let _ = thread::Builder::new().name("page".into()).spawn(serve);
    }
}

/// Prints the address with its token where only the user reads it, and opens the browser.
fn announce(access: &Access, address: SocketAddr) {
    let whole = format!("http://{address}/#{}", access.token.reveal());
    match system::terminal::is_private_output() {
        // A closed pipe stops no chat.
        true => drop(out!("{whole}")),
        false => err!("the page's address is a secret: only a terminal or a pipe is given it"),
    }
    if let Err(problem) = browser::open(&access.core.spool, &whole) {
        err!("no browser was opened: {problem}");
    }
}

/// The user interface, as the runtime sees it.
pub struct Page {
    core: Arc<Core>,
}

impl Ui for Page {
    fn show(&mut self, output: &Output) {
        self.core.show(output);
    }

    fn end(&mut self, exit_code: u8) -> bool {
        let reason = match exit_code {
            0 => "the client has ended",
            code::INTERRUPTED => "interrupted",
            _ => "see the last error",
        };
        let (error, pages) = self.core.end(reason);
        let until = Instant::now() + CLOSE_PATIENCE / 4;
        for page in pages {
            // A page that does not read is not waited for.
            let _ = page.ends_before(until);
        }
        self.core.spool.end();
        if let Some((origin, text)) = error.filter(|_| !matches!(exit_code, 0 | code::INTERRUPTED))
        {
            super::report(origin, &text);
        }
        true
    }
}
