//! The page and its files, which are part of the program, texts that replace it, and the facts
//! about the server that a page needs before it can connect.

use std::borrow::Cow;

use serde_json::json;

use crate::config::{Config, HomeName, WebOrigin};
use crate::home::ServerKeys;
use crate::page::{self, Asset};
use crate::wire::http::Request;

/// Headers of all answers. A page runs scripts of this server alone, and connects to it alone.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; \
    script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Cross-Origin-Embedder-Policy: require-corp\r\n";

/// The paths of the first page.
const FIRST: [&str; 2] = ["/", "/index.html"];
/// The facts about the server that a page needs before it can connect.
const ABOUT: &str = "/server.json";
/// The certificate of the server's own authority. Phones trust the port only after they have
/// installed it.
const AUTHORITY: &str = "/ca.crt";

/// The page where browsers allow no encryption.
const INSECURE: &str = include_str!("insecure.html");

/// The state of the server that an answer depends on.
pub struct Site<'a> {
    pub origins: &'a [WebOrigin],
    /// Names of this server in its home network.
    pub names: &'a [HomeName],
    /// Returns the certificate of the server's own authority, in PEM form.
    pub authority: &'a dyn Fn() -> Option<String>,
    /// Whether new connections are admitted.
    pub is_open: bool,
    /// Whether browsers allow encryption to a page at the address of the request.
    pub is_secure: bool,
    /// Whether the request is known to be encrypted.
    pub is_encrypted: bool,
    /// Whether the port has a certificate: then such an address begins with https.
    pub has_tls: bool,
    /// Returns the text of `/server.json`.
    pub about: &'a dyn Fn() -> String,
}

/// An answer after which the connection may carry a further request.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub head: Vec<u8>,
    pub body: Cow<'static, [u8]>,
    /// Whether the connection stays open.
    pub keeps: bool,
}

/// Returns the answer to `GET` or `HEAD`; `None` if there is nothing at this path.
pub fn find(request: &Request<'_>, site: &Site<'_>) -> Option<Page> {
    let is_first = FIRST.contains(&request.target);
    if is_first && !site.is_secure && site.has_tls {
        // The first byte distinguishes TLS from HTTP at the same port.
        let to = format!("Location: https://{}/\r\nCache-Control: no-store\r\n", request.host);
        return Some(page(request, "307 Temporary Redirect", &to, Cow::Borrowed(&[])));
    }
    if is_first && !site.is_secure {
        return Some(text(request, "403 Forbidden", HTML, INSECURE));
    }
    match request.target {
        AUTHORITY => {
            let pem = (site.authority)()?;
            Some(text(request, "200 OK", "application/x-x509-ca-cert", pem))
        }
        ABOUT => Some(text(request, "200 OK", "application/json", (site.about)())),
        path => {
            let core = Some(page::core()).filter(|core| core.is_at(path));
            Some(asset(request, core.or_else(|| page::find(path))?))
        }
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// Returns what a page needs before it can connect. Nothing in it is secret.
pub fn about(keys: &ServerKeys, config: &Config) -> String {
    let own = keys.own.public().fingerprint();
    let about = json!({
        "fingerprint": own.to_string(), "founding": keys.founding().to_string(),
        "name": config.invite_host.as_ref().map(ToString::to_string),
        "version": env!("CARGO_PKG_VERSION"), "page": page::tag(),
    });
    format!("{about}\n")
}

/// Sends a file, unless the browser has it: it asks each time whether that is still so.
fn asset(request: &Request<'_>, asset: &'static Asset) -> Page {
    let caching = format!("Cache-Control: no-cache\r\nETag: {}\r\n", asset.tag());
    if request.has_token("if-none-match", asset.tag()) {
        return page(request, "304 Not Modified", &caching, Cow::Borrowed(&[]));
    }
    let encoding = if asset.is_compressed() { "Content-Encoding: gzip\r\n" } else { "" };
    let kind = asset.content_type();
    let headers = format!("{caching}{encoding}Content-Type: {kind}\r\n");
    page(request, "200 OK", &headers, Cow::Borrowed(asset.bytes))
}

fn text(
    request: &Request<'_>,
    status: &str,
    kind: &str,
    text: impl Into<Cow<'static, str>>,
) -> Page {
    let headers = format!("Content-Type: {kind}\r\nCache-Control: no-store\r\n");
    let body = match text.into() {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    page(request, status, &headers, body)
}

fn page(request: &Request<'_>, status: &str, headers: &str, body: Cow<'static, [u8]>) -> Page {
    let keeps = !request.has_token("connection", "close");
    let close = if keeps { "" } else { "Connection: close\r\n" };
    // A 304 states no length: it would have to be that of the file.
    let length = match status.starts_with("304") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status}\r\n{HEADERS}{headers}{close}{length}\r\n");
    let body = if request.method == "HEAD" { Cow::Borrowed(&[][..]) } else { body };
    Page { head: head.into_bytes(), body, keeps }
}
