//! `pychat check`: reports every fault of a home before a server is started in it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::OFlags;
use serde_json::json;

use super::files;
use crate::chat::Retention;
use crate::cli::report::{advice, error_text};
use crate::config::{Config, History, InviteHost, Passwords, admits, check_listen};
use crate::fault::code;
use crate::file::FileError;
use crate::home::known::Known;
use crate::home::sanctions::Decisions;
use crate::home::{Audit, Folder, Home, LedgerHeads, Users};
use crate::ledger::{Jobs, jobs};
use crate::net::listener::Listener;
use crate::print::out;
use crate::server::accounts::directory::Directory;
use crate::server::operator::ctl::check_readers;
use crate::server::{check_ledger, check_log_file, check_login_records};

/// Free space below which a server soon stops storing messages, in bytes.
const FREE_BYTES_MIN: u64 = 100 << 20;

/// Bytes of a socket's path (`sun_path`, which ends with a zero).
const SOCKET_BYTES_MAX: usize = 107;

/// The results of all checks.
#[derive(Default)]
struct Findings {
    /// Faults, each with a hint.
    problems: Vec<(String, Option<String>)>,
    /// Facts that are no faults.
    notes: Vec<String>,
}

impl Findings {
    /// The result of a check; an error becomes a problem.
    fn take<T>(&mut self, looked: Result<T, impl Into<anyhow::Error>>) -> Option<T> {
        looked.map_err(|error| self.fault(&error.into())).ok()
    }

    fn fault(&mut self, error: &anyhow::Error) {
        self.add(error_text(error), advice(error).0);
    }

    fn problem(&mut self, what: String, hint: &str) {
        self.add(what, Some(hint.to_owned()));
    }

    /// Adds a problem, which several checks may find.
    fn add(&mut self, what: String, hint: Option<String>) {
        if !self.problems.iter().any(|(known, _)| *known == what) {
            self.problems.push((what, hint));
        }
    }
}

pub fn check(home: &Home, listen: Vec<SocketAddr>, json: bool) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    if home.dir().is_dir() {
        look(home, listen, &mut found);
    } else {
        let hint = "pychat server creates it; --home DIR selects another home";
        found.problem(format!("there is no folder {}", home.dir().display()), hint);
    }
    let Findings { problems, notes } = found;
    if json {
        let problems: Vec<_> =
            problems.iter().map(|(what, hint)| json!({"problem": what, "hint": hint})).collect();
        out!("{}", json!({"problems": problems, "notes": notes}))?;
    } else {
        for note in &notes {
            out!("note: {note}")?;
        }
        for (what, hint) in &problems {
            out!("problem: {what}")?;
            if let Some(hint) = hint {
                out!("hint:    {hint}")?;
            }
        }
        match problems.len() {
            0 => out!("nothing is wrong"),
            1 => out!("1 problem"),
            count => out!("{count} problems"),
        }?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(code::UNREADABLE) })
}

/// Looks for the files that the ledger names. A running server may remove one meanwhile: only
/// those that are missing twice are.
fn stored_files(home: &Home, found: &mut Findings) {
    if !home.files_dir().exists() {
        return;
    }
    secret(&home.files_dir(), found);
    let look = || files::look(&home.ledger_file(), &home.files_dir());
    let Some(first) = found.take(look()) else { return };
    let missing =
        if first.missing > 0 { found.take(look()).map(|again| again.missing) } else { None };
    if let Some(missing @ 1..) = missing {
        let hint = "pychat restore FILE --files DIR takes them from a backup; without one, their \
                    senders have to send them again";
        found.problem(format!("{missing} files are missing in data/files"), hint);
    }
}

fn look(home: &Home, listen: Vec<SocketAddr>, found: &mut Findings) {
    let config = found.take(Config::load(&home.config_file()));
    if !home.config_file().exists() {
        found.notes.push("there is no config.json: the defaults apply".into());
    }
    for folder in ["keys", "data"] {
        secret(&home.dir().join(folder), found);
    }
    match home.server_keys() {
        // Reported with the other files of keys/.
        Ok(Some(_)) | Err(FileError::Exposed { .. }) => {}
        Ok(None) => {
            found.notes.push("there is no keys/server.pem: the first start generates it".into());
        }
        Err(error) => found.fault(&error.into()),
    }
    let is_known = config.is_some();
    let config = config.unwrap_or_default();
    people(home, config.passwords, found);
    found.take(Decisions::load(&home.decisions_file()));
    found.take(Known::load(&home.known_file()));
    found.take(Audit::of(home).verify());
    found.take(Directory::open(home.certificates_file()));
    for read in check_login_records(home) {
        found.take(read);
    }
    socket(&home.ctl_socket(), found);
    if let Some(path) = &config.read_socket {
        read_socket(home, &home.dir().join(path), found);
    }
    shapes(home, found);
    let folders = ["keys", "data", "users"].map(|folder| home.dir().join(folder));
    for path in folders.into_iter().chain([home.ledger_file()]) {
        writable(&path, found);
    }
    if config.history == History::On && home.ledger_file().exists() {
        found.take(jobs(&home.ledger_file()).verify());
        stored_files(home, found);
    }
    if config.history == History::On {
        found.take(check_ledger(home));
        ledger_head(home, found);
    }
    if config.history == History::Off || config.retention == Retention::Off {
        found.notes.push("messages are in memory only, and are lost when the server stops".into());
    }
    let loopback = [[127, 0, 0, 1].into()];
    if loopback.iter().any(|own| !admits(&config.allow, &config.deny, *own)) {
        found.notes.push("clients on this computer may not connect (allow, deny)".into());
    }
    // The disk of the ledger. If data/ is missing, the first start creates it in the home.
    let data = home.dir().join("data");
    let dir = if data.is_dir() { data.as_path() } else { home.dir() };
    space(dir, config.disk_reserve_bytes(), found);
    if let Some(file) = &config.log.file {
        match check_log_file(home, file) {
            Err(fault) => found.fault(&fault.into()),
            Ok(()) => log_file(home, file, found),
        }
    }
    // The addresses of a damaged config.json are unknown.
    if is_known {
        network(home, &config, listen, found);
    }
}

/// Checks the number of stored messages that is kept outside of the ledger.
fn ledger_head(home: &Home, found: &mut Findings) {
    let heads = found.take(LedgerHeads::read(&home.ledger_head_file()));
    if matches!(heads, Some(None)) && home.ledger_file().exists() {
        let what = "keys/ledger.head is missing: a loss of messages cannot be detected. The next \
                    start creates the file";
        found.notes.push(what.into());
    }
}

/// Checks the path of the socket for readers.
fn read_socket(home: &Home, path: &Path, found: &mut Findings) {
    if found.take(check_readers(home, path)).is_none() {
        return;
    }
    socket(path, found);
    if !path.parent().is_some_and(Path::is_dir) {
        let what = format!("there is no folder for read_socket: {}", path.display());
        found.problem(what, "create the folder, with the group of the readers");
    }
}

/// Checks the addresses of the server: `listen`, or those of config.json.
fn network(home: &Home, config: &Config, listen: Vec<SocketAddr>, found: &mut Findings) {
    let listen = if listen.is_empty() { config.addresses() } else { listen };
    if let Err(problem) = check_listen(&listen) {
        found.problem(problem, "name each address once");
    }
    loopback_rule(config, &listen, found);
    let names_itself = config.invite_host.as_ref().is_some_and(InviteHost::is_loopback);
    if names_itself && listen.iter().any(|at| !at.ip().to_canonical().is_loopback()) {
        let note = "invite_host names this computer only: others cannot connect by the invites";
        found.notes.push(note.into());
    }
    web_rules(home, config, found);
    let apart = listen.len() > 1;
    let wanted = listen.into_iter().map(|address| Wanted { key: "chat", address, apart });
    let others = [("metrics", config.metrics), ("web", config.web)].into_iter();
    let others =
        others.filter_map(|(key, address)| Some(Wanted { key, address: address?, apart: false }));
    addresses(home, &wanted.chain(others).collect::<Vec<_>>(), found);
}

/// How the limits on unauthenticated connections treat connections from this computer.
fn loopback_rule(config: &Config, listen: &[SocketAddr], found: &mut Findings) {
    if !config.loopback_is_shared(listen) {
        if config.exempt.is_none() {
            found.notes.push(
                "connections from this computer (127.0.0.1, ::1) are exempt from the limits on \
                 unauthenticated connections. If a proxy or a tunnel on this computer connects \
                 other people, set server_ip to 127.0.0.1, or exempt to [], which counts them as \
                 one address"
                    .into(),
            );
        }
        return;
    }
    let own: IpAddr = [127, 0, 0, 1].into();
    let (exempt, _) = config.exempt_and_shared(listen);
    if exempt.iter().any(|range| range.contains(own)) {
        let what = "exempt contains 127.0.0.1, and an onion service connects \
                    everybody from there";
        let hint = "remove 127.0.0.1 from exempt: without it nobody is exempt there";
        return found.problem(what.to_owned(), hint);
    }
    let note = match listen.iter().all(|at| at.ip().to_canonical().is_loopback()) {
        true => "the server listens on this computer only, so that a proxy or a tunnel",
        false => "invites name an onion service, so that it",
    };
    let note = format!("{note} connects everybody from 127.0.0.1: nobody from there is exempt");
    found.notes.push(note);
}

/// Notes settings of the web port that have no effect, or another effect than expected.
fn web_rules(home: &Home, config: &Config, found: &mut Findings) {
    let Some(web) = config.web else {
        let has_proxies = !config.web_origins.is_empty() || !config.web_proxies.is_empty();
        if has_proxies || config.web_tls.is_some() || !config.web_names.is_empty() {
            let what =
                "web_origins, web_proxies, web_names and web_tls have no effect: web is not set";
            found.notes.push(what.into());
        }
        return;
    };
    let checked = config.web_tls.as_ref().map(|tls| crate::server::check_certificate(home, tls));
    if let Some(Err(error)) = checked {
        found.problem(error.to_string(), "web_tls names the files of a certificate and its key");
    }
    let issued = crate::server::issued_certificate();
    let is_issued = config.web_tls.is_none()
        && !config.web_names.is_empty()
        && home.dir().join(&issued.certificate).exists();
    if is_issued && let Err(error) = crate::server::check_certificate(home, &issued) {
        let hint = "remove this file: the server issues another certificate for web_names";
        found.problem(error.to_string(), hint);
    }
    if config.web_tls.is_some() && !config.web_names.is_empty() {
        let what = "the server issues no certificate for web_names, because web_tls is set";
        found.notes.push(what.into());
    }
    if web.ip().to_canonical().is_loopback() && config.web_proxies.is_empty() {
        found.notes.push(
            "the web port listens on this computer only. If a proxy connects other people to it, \
             add the proxy to web_proxies: without that, all of them have the proxy's address"
                .into(),
        );
    }
    if let Some(range) = config.web_proxies.iter().find(|range| range.prefix_bits == 0) {
        let what = format!("web_proxies contains {range}: every client can claim any address");
        found.problem(what, "write the addresses of the proxies alone");
    }
}

/// Folders and files that only their owner may read.
fn secret(folder: &Path, found: &mut Findings) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let inside = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // The repository's own text about the folder.
    let inside = inside.filter(|path| !path.ends_with("README.md"));
    for path in inside.chain([folder.to_owned()]) {
        let Ok(about) = fs::metadata(&path) else { continue };
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let right = if about.is_dir() { 700 } else { 600 };
            let what = format!("others may read {} (mode {mode:o})", path.display());
            found.problem(what, &format!("chmod {right} {}", path.display()));
        }
    }
}

fn people(home: &Home, passwords: Passwords, found: &mut Findings) {
    if !home.users_dir().exists() {
        return found.notes.push("nobody is registered yet".into());
    }
    // Reported among the shapes.
    if !home.users_dir().is_dir() {
        return;
    }
    let Some((users, rejected)) = found.take(Users::load(&home.users_dir())) else { return };
    for file in rejected {
        found.problem(file.to_string(), "correct or remove the file");
    }
    if let Some(folder) = found.take(Folder::read(&home.users_dir())) {
        let notes = folder.strays.iter().filter(|path| !path.ends_with("README.md"));
        let notes = notes.map(|path| (path, "it is no NAME.pem and no NAME.json"));
        let nobody = folder.settings_of_nobody();
        for (path, why) in notes.chain(nobody.map(|path| (path, "nobody of that name has a key"))) {
            let path = crate::clean::line(&path.display().to_string());
            found.notes.push(format!("{path} is ignored: {why}"));
        }
    }
    found.notes.extend(users.warnings());
    if users.is_empty() {
        found.notes.push("nobody is registered yet: pychat users add LINE".into());
    } else if users.owners().next().is_none() {
        found.notes.push("there is no owner: pychat users role NAME owner".into());
    }
    let without = users.names().filter(|name| users.settings(name).password.is_none()).count();
    if passwords == Passwords::All && without > 0 {
        found.notes.push(format!(
            "users without a password: {without}. The server does not admit them (passwords: all): \
             pychat users passwd NAME sets one"
        ));
    }
}

fn space(dir: &Path, reserve: u64, found: &mut Findings) {
    let Some(about) = found.take(rustix::fs::statvfs(dir)) else { return };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    if free < reserve {
        let (free, least) = (free >> 20, reserve >> 20);
        let what = format!(
            "only {free} MiB are free on the disk of {}: below {least} MiB (disk_reserve_bytes) the \
             server refuses new messages",
            dir.display()
        );
        found.problem(what, "free space, or change limits.disk_reserve_bytes in config.json");
    } else if free < FREE_BYTES_MIN {
        let what = format!("only {} MiB are free on the disk of {}", free >> 20, dir.display());
        found.problem(what, "free space: a server stores nothing on a full disk");
    }
}

/// An address on which the server listens.
struct Wanted {
    key: &'static str,
    address: SocketAddr,
    /// Whether it accepts only its own family (IPv4 or IPv6).
    apart: bool,
}

/// Returns whether one server cannot listen on both addresses. `[::]` accepts IPv4 too, unless it
/// is apart. `0.0.0.0` accepts IPv4 only.
fn collide(one: &Wanted, other: &Wanted) -> bool {
    let (a, b) = (one.address.ip().to_canonical(), other.address.ip().to_canonical());
    let takes = |any: IpAddr, apart: bool, ip: IpAddr| {
        any.is_unspecified() && (any.is_ipv4() == ip.is_ipv4() || (any.is_ipv6() && !apart))
    };
    let same_port = one.address.port() == other.address.port() && one.address.port() != 0;
    same_port && (a == b || takes(a, one.apart, b) || takes(b, other.apart, a))
}

/// Whether a server could listen on its addresses; a running server does already.
fn addresses(home: &Home, wanted: &[Wanted], found: &mut Findings) {
    for (number, one) in wanted.iter().enumerate() {
        if let Some(other) = wanted[..number].iter().find(|other| collide(one, other)) {
            let (key, address, other) = (one.key, one.address, other.key);
            let what = format!("{key}: {address} is the server's own address for {other}");
            found.problem(what, "choose another port in config.json");
        }
    }
    match home.is_locked() {
        Ok(true) => return found.notes.push("a server runs in this home".into()),
        Ok(false) => {}
        Err(error) => found.fault(&error.into()),
    }
    // One listener at a time, so that each error is reported.
    for one in wanted {
        found.take(Listener::bind_one(one.address, 1, one.apart));
    }
}

/// Folders in place of files, and files in place of folders.
fn shapes(home: &Home, found: &mut Findings) {
    let files =
        [home.lock_file(), home.reserve_file(), home.ledger_file(), home.ledger_head_file()];
    for path in files.iter().filter(|path| path.is_dir()) {
        let what = format!("{} is a folder, where the server makes a file", path.display());
        found.problem(what, "remove the folder");
    }
    let [keys, data] = ["keys", "data"].map(|folder| home.dir().join(folder));
    let folders = [keys, data, home.users_dir(), home.files_dir()];
    for path in folders.iter().filter(|path| path.exists() && !path.is_dir()) {
        let what = format!("{} is a file, where the server makes a folder", path.display());
        found.problem(what, "give the file another name");
    }
}

/// Where `pychat ctl` reaches the server.
fn socket(path: &Path, found: &mut Findings) {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_BYTES_MAX {
        let what = format!(
            "{} has {bytes} bytes, and a socket can have {SOCKET_BYTES_MAX}",
            path.display()
        );
        found.problem(what, "choose a home with a shorter path, or another read_socket");
    }
    if path.is_dir() {
        let what = format!("{} is a folder, where the server makes a socket", path.display());
        found.problem(what, "remove the folder");
    }
}

fn writable(path: &Path, found: &mut Findings) {
    if path.exists() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        let what = format!("this account cannot write {}", path.display());
        found.problem(what, "run the command as the server's account, or give it the file");
    }
}

/// Checks whether the log can be written. Creates nothing.
fn log_file(home: &Home, file: &Path, found: &mut Findings) {
    let path = &home.dir().join(file);
    let Some(path) = end_of_links(path) else {
        let what = format!("the log cannot be written: {} is a loop of links", path.display());
        return found.problem(what, "choose another file in config.json (log.file)");
    };
    let path = path.as_path();
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() && home.makes(folder) {
        // The first start creates it.
        return;
    }
    let opened = match path.exists() {
        // A pipe that nobody reads is an error, and not waited for.
        true => {
            let flags = OFlags::NONBLOCK.bits() as i32;
            fs::OpenOptions::new().append(true).custom_flags(flags).open(path).map(drop)
        }
        false => fs::read_dir(folder).map(drop),
    };
    if let Err(error) = opened {
        let what = format!("the log cannot be written: {}: {error}", path.display());
        found.problem(what, "choose another file in config.json (log.file)");
    }
    if !path.exists() {
        writable(folder, found);
    }
}

/// Returns the path at the end of links, where the server creates a missing file; `None` for a loop
/// of links.
fn end_of_links(path: &Path) -> Option<PathBuf> {
    /// As many as Linux follows.
    const LINKS_MAX: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(to) = fs::read_link(&path) else { return Some(path) };
        path = path.parent().unwrap_or(Path::new(".")).join(to);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_where_one_server_cannot_have_both() {
        for (one, other, wanted) in [
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5000", "[::ffff:127.0.0.1]:5000", true),
            ("127.0.0.1:5000", "127.0.0.1:5001", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:5000", "192.0.2.7:5000", true),
            ("0.0.0.0:5000", "[::1]:5000", false),
            ("[::]:5000", "[::1]:5000", true),
            ("[::]:5000", "192.0.2.7:5000", true),
            ("[::]:5000", "0.0.0.0:5000", true),
        ] {
            let at = |text: &str, apart| Wanted { key: "", address: text.parse().unwrap(), apart };
            let collides = |apart| {
                let [one, other] = [at(one, apart), at(other, apart)];
                [collide(&one, &other), collide(&other, &one)]
            };
            assert_eq!(collides(false), [wanted; 2], "{one} {other}");
            // One of several addresses accepts its own family only.
            let of_both = one == "[::]:5000" && !other.starts_with("[::1]");
            assert_eq!(collides(true), [wanted && !of_both; 2], "{one} {other} apart");
        }
    }
}
