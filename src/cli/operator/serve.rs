//! `pychat server`: the first start, what it asks, and the invite that it prints.

use std::io::{BufRead, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;

use super::args::{HomeArgs, Web, address, level, web};
use crate::chat::rights::Role;
use crate::chat::{UserName, look};
use crate::cli::report::error_text;
use crate::client::storage::data_folder::{DataFolder, Server};
use crate::config::{Config, check_listen, is_reachable};
use crate::crypto::lineage::Lineage;
use crate::crypto::{Fingerprint, PublicKey};
use crate::fault::{Fault, code};
use crate::file;
use crate::home::{self, Home, Settings, Users};
use crate::invite::Invite;
use crate::print::{self, err};
use crate::server::{self, OnReady, Options, Overrides};
use crate::system::programs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    home: HomeArgs,
    /// Who can reach the server; asked on a terminal when there is no config.json
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Listen on this address instead of config.json's; port 0 chooses a free port. Can be
    /// repeated; with several addresses, [::] accepts IPv6 only
    #[arg(long, value_name = "IP:PORT", env = "PYCHAT_LISTEN", value_parser = address,
          value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Accept WebSocket at this address instead of config.json's, or not at all
    #[arg(long, value_name = "IP:PORT|off", env = "PYCHAT_WEB", value_parser = web)]
    web: Option<Web>,
    /// Do not register the account that starts the server
    #[arg(long)]
    no_owner: bool,
    /// Begin without messages where the ledger of a home that was used before is missing
    #[arg(long)]
    new_ledger: bool,
    /// The log level instead of config.json's
    #[arg(long, value_name = "LEVEL", env = "PYCHAT_LOG", value_parser = level)]
    log: Option<log::LevelFilter>,
    /// Print the line for programs as JSON
    #[arg(long)]
    json: bool,
}

/// Who should reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Only this computer
    Localhost,
    /// The home network
    Lan,
    /// Everybody who has the address and a registered key
    Internet,
}

/// Creates what is missing in the home, reports it, and runs the server.
pub fn serve(args: Args) -> anyhow::Result<ExitCode> {
    if server::has_little_address_space() {
        // glibc reserves 64 MiB for each of 8 arenas a core, and fails where the last is gone.
        programs::begin_again_with(server::ARENAS, "1");
    }
    let level = args.log.unwrap_or(log::LevelFilter::Info);
    server::observe::log::start(level).context("cannot start the log's thread")?;
    let home = args.home.open_to_write()?;
    let mut made = Vec::new();
    let mode = args.mode.or(args.home.yes.then_some(Mode::Localhost));
    let config = configure(&home, mode, &mut made)?;
    let listen = match args.mode {
        _ if !args.listen.is_empty() => args.listen,
        Some(mode) => vec![SocketAddr::new(mode.listen(), config.server_port)],
        None => config.addresses(),
    };
    check_listen(&listen).map_err(|problem| Fault::plain(code::USAGE, problem))?;
    home.make_folders()?;
    let keys = match home.server_keys()? {
        Some(keys) => keys,
        None => {
            err!("  generating the server's RSA-3072 key ...");
            made.push("keys/server.pem (0600)");
            home.make_server_key()?
        }
    };
    if !made.is_empty() {
        err!("  wrote {}", made.join(", "));
    }
    let owner = if args.no_owner { None } else { owner(&home) };
    let on_ready = greet(keys.own.public().clone(), &keys.lineage, owner, &config, args.json);
    let overrides = Overrides { log_level: args.log, web: args.web.map(Web::address) };
    let new_ledger = args.new_ledger;
    let options = Options { home, config, keys, listen, overrides, new_ledger, on_ready };
    let served = server::run(options);
    server::observe::log::print_plainly();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the configuration; where there is none, writes one for the chosen mode.
fn configure(home: &Home, mode: Option<Mode>, made: &mut Vec<&str>) -> anyhow::Result<Config> {
    let path = home.config_file();
    if let Some(config) = Config::read(&path)? {
        return Ok(config);
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let mode = match mode {
        Some(mode) => mode,
        None if terminal => ask_mode()?,
        None => Mode::Localhost,
    };
    let config = Config { server_ip: mode.listen(), ..Config::default() };
    let (ip, port) = (config.server_ip, config.server_port);
    let text = format!("{{\"server_ip\": \"{ip}\", \"server_port\": {port}}}\n");
    file::make_folder(home.dir(), 0o755)?;
    file::write_new(&path, text.as_bytes(), 0o644)?;
    made.push("config.json");
    Ok(config)
}

impl Mode {
    fn listen(self) -> IpAddr {
        match self {
            Mode::Localhost => Ipv4Addr::LOCALHOST.into(),
            Mode::Lan | Mode::Internet => Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}

fn ask_mode() -> anyhow::Result<Mode> {
    err!("Who can reach this server?");
    err!("  1) only this computer   2) the home network   3) the internet");
    loop {
        print::aside("  [1]: ");
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            let hint = "add --mode localhost, lan or internet";
            return Err(
                Fault::new(code::USAGE, "it is not known who can reach the server", hint).into()
            );
        }
        match line.trim() {
            "" | "1" | "localhost" => return Ok(Mode::Localhost),
            "2" | "lan" => return Ok(Mode::Lan),
            "3" | "internet" => {
                err!("  open the port in your router, and set invite_host in config.json");
                return Ok(Mode::Internet);
            }
            _ => err!("  1, 2 or 3"),
        }
    }
}

/// Registers the account that starts the server in an empty users/, with the key of its client.
/// Later starts find it again, so that its client follows the server to another port.
fn owner(home: &Home) -> Option<(DataFolder, UserName)> {
    let admit = || -> anyhow::Result<Option<(DataFolder, UserName)>> {
        let data_folder = DataFolder::open()?;
        let (users, _) = Users::load(&home.users_dir())?;
        let known =
            data_folder.public()?.and_then(|key| users.by_key(&key).map(|one| one.0.clone()));
        if let Some(name) = known {
            return Ok(Some((data_folder, name)));
        }
        if !users.is_empty() {
            return Ok(None);
        }
        let key = match data_folder.public()? {
            Some(key) => key,
            None => data_folder.create_identity()?.public().clone(),
        };
        let name = account_name();
        home::add(&home.users_dir(), &key, &name, None, false)?;
        Settings::change(&home.users_dir(), &name, |settings| settings.role = Role::Owner)?;
        err!("  registered you as {name}, the owner of this server (users/{name}.pem)");
        Ok(Some((data_folder, name)))
    };
    admit().unwrap_or_else(|error| {
        err!("  you were not registered: {}", error_text(&error));
        None
    })
}

/// The account's name in the operating system, as far as it is a valid user name.
fn account_name() -> UserName {
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).take(32).collect();
    let name = name.parse().ok().filter(|name| !look::is_word(name));
    name.unwrap_or_else(|| "host".parse().expect("host is a name"))
}

/// Prints where the server listens: one line for programs on stdout, the rest for people on stderr.
fn greet(
    key: PublicKey,
    lineage: &Lineage,
    owner: Option<(DataFolder, UserName)>,
    config: &Config,
    json: bool,
) -> OnReady {
    let (config, lineage) = (config.clone(), lineage.clone());
    Box::new(move |all| {
        let print = key.fingerprint();
        all.iter().for_each(|bound| err!("  listening on {bound}"));
        // Programs on this computer use a loopback address, and invites name another one.
        let own = all.iter().find(|bound| accepts_loopback(bound)).unwrap_or(&all[0]);
        let bound = address_for_invites(all);
        err!("  server fingerprint  {print}");
        if let Some((data_folder, name)) = owner {
            let host = match own.ip() {
                ip if is_ipv6_only(ip, all) => Ipv6Addr::LOCALHOST.to_string(),
                ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
                ip => ip.to_string(),
            };
            let server = Server::new(host, own.port(), &print, Some(name)).after(&lineage);
            let kept =
                data_folder.remember_server_key(&key).and_then(|()| data_folder.remember(&server));
            match kept {
                Ok(()) => err!("  to chat here:       pychat client"),
                Err(error) => err!("  your client does not know the server: {error}"),
            }
        }
        err!("  to invite a friend: pychat invite bob");
        if !bound.ip().is_loopback() {
            let founding = lineage.prints().next().unwrap_or(print);
            match invite_to(&config, all, &print, &founding) {
                Ok(invite) => err!("  the line to share:  {invite}"),
                Err(fault) => err!("  no invite: {fault}; {INVITE_HOST}"),
            }
        }
        // Stdout may be closed.
        print::signal(match json {
            true => {
                let print = print.to_string();
                format!("{}\n", json!({"address": all[0], "addresses": all, "fingerprint": print}))
            }
            false => {
                let at = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                format!("ready addr={at} fingerprint={print}\n")
            }
        });
    })
}

/// Returns whether programs on this computer can connect to it at a loopback address.
fn accepts_loopback(bound: &SocketAddr) -> bool {
    let ip = bound.ip().to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// Returns whether an address accepts every IPv6 address and no IPv4 address: `[::]` beside others.
fn is_ipv6_only(ip: IpAddr, all: &[SocketAddr]) -> bool {
    ip.is_unspecified() && ip.is_ipv6() && all.len() > 1
}

/// Returns the address for invites: the first that is no loopback address. `[::]` beside others is
/// the last choice, because more people have IPv4.
fn address_for_invites(all: &[SocketAddr]) -> SocketAddr {
    let others = all.iter().filter(|bound| !bound.ip().to_canonical().is_loopback());
    let best = others.clone().find(|bound| !is_ipv6_only(bound.ip(), all));
    *best.or_else(|| others.clone().next()).unwrap_or(&all[0])
}

/// What to do where no address is known that others reach.
const INVITE_HOST: &str =
    "set invite_host in config.json to this server's public host name or address";

/// Returns the invite to a server that listens on these addresses, at least one.
///
/// # Errors
/// Others cannot connect to the address or the port.
pub fn invite_to(
    config: &Config,
    all: &[SocketAddr],
    key: &Fingerprint,
    founding: &Fingerprint,
) -> Result<Invite, Fault> {
    let unreachable = |error: &str, hint| Err(Fault::new(code::UNREADABLE, error, hint));
    let bound = address_for_invites(all);
    let apart = all.len() > 1;
    let host = match (&config.invite_host, bound.ip().to_canonical()) {
        (Some(host), _) => Some(host.to_string()),
        (None, ip) if ip.is_unspecified() => {
            own_address(bound.ip(), apart).map(|ip| ip.to_string())
        }
        (None, ip) => is_reachable(ip).then(|| ip.to_string()),
    };
    let Some(host) = host else {
        return unreachable("this computer has no address that others can reach", INVITE_HOST);
    };
    if bound.port() == 0 {
        let hint = "start the server, or set server_port in config.json";
        return unreachable("the server chooses its port when it starts", hint);
    }
    let founding = Some(*founding).filter(|founding| founding != key);
    Ok(Invite { host, port: bound.port(), fingerprint: Some(*key), founding })
}

/// The address of this computer in its network: the source address of a packet to elsewhere. No
/// packet is sent. A server that listens on every IPv6 address listens on every IPv4 address, too,
/// unless it is `apart`: it has several addresses, and each accepts its own family only.
pub fn own_address(bound: IpAddr, apart: bool) -> Option<IpAddr> {
    let source = |own: IpAddr, other: IpAddr| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((other, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| is_reachable(*ip) && !ip.is_loopback())
    };
    // Addresses of documentation: RFC 5737 and RFC 3849.
    let v4 = || source(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let v6 = || source(Ipv6Addr::UNSPECIFIED.into(), elsewhere.into());
    match (bound.is_ipv6(), apart) {
        (true, true) => v6(),
        (true, false) => v4().or_else(v6),
        (false, _) => v4(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invites_name_an_address_that_the_server_listens_on() {
        for (all, wanted) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::]:1", "[::]:1"),
            ("127.0.0.1:1,192.0.2.7:2", "192.0.2.7:2"),
            ("[::]:1,0.0.0.0:2", "0.0.0.0:2"),
            ("[::]:1,[2001:db8::7]:2", "[2001:db8::7]:2"),
            ("127.0.0.1:1,[::]:2", "[::]:2"),
        ] {
            let all: Vec<SocketAddr> = all.split(',').map(|text| text.parse().unwrap()).collect();
            assert_eq!(address_for_invites(&all).to_string(), wanted, "{all:?}");
        }
        // Beside another address, [::] accepts no IPv4 connection.
        let every = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let apart = own_address(every, true);
        assert!(apart.is_none_or(|ip| ip.is_ipv6()), "{apart:?}");
        let all = [SocketAddr::new(every, 1), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1)];
        assert!(is_ipv6_only(every, &all) && !is_ipv6_only(every, &all[..1]));
    }
}
