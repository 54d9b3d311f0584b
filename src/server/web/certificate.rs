//! The certificate of the web port: read from files, and again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ServerConfig, pki_types};

use super::authority::{self, AuthorityError};
use crate::config::{Config, WebTls};
use crate::fault::{Fault, code};
use crate::home::Home;

/// How often the files are compared.
const EVERY: Duration = Duration::from_secs(2);
/// Certificates that one file may have.
const CHAIN_MAX: usize = 16;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: pki_types::pem::Error },
    #[error("{}: not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{}: no certificate, or more than {CHAIN_MAX}", .0.display())]
    Chain(PathBuf),
    #[error("{} and {}: {error}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

/// The certificate in force.
pub struct Certificate {
    home: Home,
    files: Option<Files>,
    config: Option<Arc<ServerConfig>>,
    /// Why the files could not be read the last time.
    failure: Option<String>,
    looked: Instant,
}

/// The files as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    stamps: [Option<(SystemTime, u64)>; 2],
}

impl Files {
    fn of(home: &Home, tls: &WebTls) -> Files {
        let [certificate, key] = [&tls.certificate, &tls.key].map(|path| home.dir().join(path));
        let stamps = [stamp(&certificate), stamp(&key)];
        Files { certificate, key, stamps }
    }

    fn read(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        // A pipe would block the web port, and a device has no end.
        let is_other = |path: &&PathBuf| fs::metadata(path).is_ok_and(|about| !about.is_file());
        if let Some(path) = [&self.certificate, &self.key].into_iter().find(is_other) {
            return Err(CertificateError::NotAFile(path.clone()));
        }
        let file = |path: &Path, error| CertificateError::File { path: path.to_owned(), error };
        let read = CertificateDer::pem_file_iter(&self.certificate);
        let read = read.and_then(|read| read.take(CHAIN_MAX + 1).collect::<Result<Vec<_>, _>>());
        let chain = read.map_err(|error| file(&self.certificate, error))?;
        if chain.is_empty() || chain.len() > CHAIN_MAX {
            return Err(CertificateError::Chain(self.certificate.clone()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| file(&self.key, error))?;
        server_config(chain, key).map_err(|error| CertificateError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        })
    }
}

/// Returns the files of the configured certificate. Issues the certificate if necessary.
fn files(home: &Home, config: &Config) -> Result<Option<Files>, CertificateError> {
    let issued = match (&config.web_tls, &config.web_names[..]) {
        (Some(tls), _) => return Ok(Some(Files::of(home, tls))),
        (None, []) => return Ok(None),
        (None, names) => authority::issue(home, names)?,
    };
    Ok(Some(Files::of(home, &issued)))
}

/// When a file was changed, and its size; `None` if it cannot be read.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let about = fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13])?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Checks the files of a certificate.
///
/// # Errors
/// They cannot be read, or the key is not that of the certificate.
pub fn check(home: &Home, tls: &WebTls) -> Result<(), CertificateError> {
    Files::of(home, tls).read().map(drop)
}

impl Certificate {
    /// Reads the certificate that the configuration names.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn open(home: &Home, config: &Config) -> Result<Certificate, Fault> {
        let is_named = config.web_tls.is_some();
        let opened = files(home, config).and_then(|files| {
            let read = files.as_ref().map(Files::read).transpose()?;
            Ok((files, read))
        });
        let (files, config) = opened.map_err(|error| {
            let hint = match is_named {
                true => "web_tls in config.json names the files of a certificate and its key",
                false => "the server issues a certificate for web_names in config.json",
            };
            Fault::new(code::UNREADABLE, error.to_string(), hint)
        })?;
        let home = Home::new(home.dir());
        Ok(Certificate { home, files, config, failure: None, looked: Instant::now() })
    }

    /// Returns the certificate; `None` if the port has none.
    pub fn get(&self) -> Option<&Arc<ServerConfig>> {
        self.config.as_ref()
    }

    /// Returns the certificate of the server's own authority, which phones install.
    pub fn authority(&self, rules: &Config) -> Option<String> {
        let is_own = rules.web_tls.is_none() && !rules.web_names.is_empty();
        is_own.then(|| authority::certificate(&self.home)).flatten()
    }

    /// Reads the files again if they or their names have changed. While they cannot be
    /// used, the former certificate stays.
    pub fn keep(&mut self, rules: &Config) {
        if self.looked.elapsed() < EVERY {
            return;
        }
        self.looked = Instant::now();
        let (files, issued) = match files(&self.home, rules) {
            Ok(files) => (files, Ok(())),
            Err(error) => (self.files.clone(), Err(error)),
        };
        let are_same = files == self.files;
        if are_same && issued.is_ok() && self.failure.is_none() {
            return;
        }
        let read = issued.and_then(|()| files.as_ref().map(Files::read).transpose());
        let failure = match read {
            Ok(config) => {
                match &config {
                    Some(_) => log::info!("the web port has a new certificate"),
                    None => log::warn!("the web port has no certificate any more: http alone"),
                }
                self.config = config;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        // A file whose mode alone changes is tried again, and reported once.
        if let Some(error) = &failure
            && !(are_same && failure == self.failure)
        {
            log::error!("the web port keeps its certificate: {error}");
        }
        self.failure = failure;
        self.files = files;
    }
}
