//! Certificates for the web port, and clients that speak TLS to it.
#![allow(dead_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::world::web::connect;

/// A certificate, which is its own authority.
pub struct Certificate {
    pub pem: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Certificate {
    /// A new one for localhost.
    pub fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Certificate { pem, key, der: made.cert.der().clone() }
    }

    /// The certificate of an authority, whose key another program has.
    pub fn of_authority(pem: &str) -> Certificate {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Certificate { pem: pem.to_owned(), key: String::new(), der }
    }

    pub fn with_key(self, key: &str) -> Certificate {
        Certificate { key: key.to_owned(), ..self }
    }

    /// Writes the files that `web_tls` names: the key first, and then what has changed last.
    pub fn write(&self, home: &Path) {
        for (name, text) in [("web.key", &self.key), ("web.pem", &self.pem)] {
            let partial = home.join(format!("{name}.partial"));
            fs::write(&partial, text).unwrap();
            fs::rename(partial, home.join(name)).unwrap();
        }
    }

    fn client(&self, name: &str) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// Connects by TLS, if the port has this certificate.
    pub fn connect(&self, web: &str) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        self.connect_to(web, "localhost")
    }

    /// The same under another name of the server.
    pub fn connect_to(
        &self,
        web: &str,
        name: &str,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut stream = StreamOwned::new(self.client(name), connect(web));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// All that the port answers to some bytes until it closes.
    pub fn answer(&self, web: &str, bytes: &[u8]) -> io::Result<String> {
        let mut stream = self.connect(web)?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A port of this computer whose connections reach the web port by TLS.
    pub fn tunnel(self: &Arc<Self>, web: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (own, web) = (Arc::clone(self), web.to_owned());
        thread::spawn(move || {
            for plain in listener.incoming() {
                let Ok(plain) = plain else { return };
                let (own, web) = (Arc::clone(&own), web.clone());
                thread::spawn(move || {
                    let Ok(tls) = own.connect(&web) else { return };
                    // Either side may break off.
                    let _ = copy(plain, tls);
                });
            }
        });
        address
    }
}

/// Copies in both directions until one side ends.
fn copy(mut plain: TcpStream, mut tls: StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
    let mut part = [0; 16_384];
    loop {
        let ready = {
            let mut fds =
                [PollFd::new(&plain, PollFlags::IN), PollFd::new(&tls.sock, PollFlags::IN)];
            poll(&mut fds, None)?;
            [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()]
        };
        if ready[0] {
            match plain.read(&mut part)? {
                0 => return Ok(()),
                bytes => tls.write_all(&part[..bytes])?,
            }
        }
        if ready[1] {
            if tls.conn.read_tls(&mut tls.sock)? == 0 {
                return Ok(());
            }
            let state = tls.conn.process_new_packets().map_err(io::Error::other)?;
            let mut bytes = vec![0; state.plaintext_bytes_to_read()];
            tls.conn.reader().read_exact(&mut bytes)?;
            plain.write_all(&bytes)?;
        }
    }
}
