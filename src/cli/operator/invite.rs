//! `pychat invite`: prints the address and key of the server, for the client or for a browser.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::args::{HomeArgs, address};
use super::serve::{invite_to, own_address};
use crate::config::{Config, InviteHost};
use crate::fault::{Fault, code};
use crate::home::Home;
use crate::invite::Invite;
use crate::print::{err, out};
use crate::server::operator::ctl;

#[derive(clap::Args)]
pub struct Args {
    /// Who is invited; used in the text around the line only
    name: Option<String>,
    #[command(flatten)]
    home: HomeArgs,
    /// The server's address, if it differs from that of the running server or of config.json
    #[arg(long, value_name = "IP:PORT", env = "PYCHAT_LISTEN", value_parser = address,
          value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Print the address of the page for browsers instead
    #[arg(long)]
    web: bool,
    /// Also print a QR code
    #[arg(long)]
    qr: bool,
    /// Print one line of JSON instead
    #[arg(long, conflicts_with = "qr")]
    json: bool,
}

/// Prints the invite of a home's server.
///
/// # Errors
/// There is no server in the home, or nobody can reach its address.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = args.home.open();
    let config = Config::load(&home.config_file())?;
    let Some(keys) = home.server_keys()? else {
        let error = format!("there is no server in {} yet", home.dir().display());
        let hint = "pychat server creates it; --home DIR selects another home";
        return Err(Fault::new(code::UNREADABLE, error, hint).into());
    };
    let (listens, web) = running(&home);
    let web = web.or(config.web);
    let is_here = |web: SocketAddr| web.ip().to_canonical().is_loopback();
    let addresses = match args.listen.is_empty() {
        true => listens.unwrap_or_else(|| config.addresses()),
        false => args.listen.clone(),
    };
    let own = keys.own.public().fingerprint();
    let invite = match args.web {
        true => None,
        false => Some(invite_to(&config, &addresses, &own, &keys.founding())?),
    };
    let line = match &invite {
        Some(invite) => invite.to_string(),
        None => {
            let founding = Some(keys.founding()).filter(|founding| *founding != own);
            let founding = founding.map_or(String::new(), |print| format!("/{}", print.to_url()));
            format!("{}/#{}{founding}", page(&config, web)?, own.to_url())
        }
    };
    if args.json {
        let print = own.to_string();
        let object = match invite {
            Some(Invite { host, port, .. }) => {
                json!({"invite": line, "host": host, "port": port, "fingerprint": print})
            }
            None => json!({"invite": line, "fingerprint": print}),
        };
        out!("{object}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.qr {
        picture(&line)?;
    }
    err!("send this line to {} (it is public):", args.name.as_deref().unwrap_or("your friend"));
    out!("{line}")?;
    if let Some(invite) = &invite {
        err!("the command is:  pychat client {line}");
        err!("the server's key, to read aloud:  {}", own.spoken());
        if invite.host.parse().is_ok_and(|host: InviteHost| host.is_loopback()) {
            err!(
                "note: others cannot connect by this line, because it names this computer only: see"
            );
            err!("server_ip and invite_host in config.json");
        }
    } else if line.starts_with("http://") {
        err!("note: only browsers on this computer can open it: see web_tls in config.json");
    } else if config.web_origins.is_empty() && web.is_some_and(is_here) {
        err!("note: the web port listens on this computer only: see web in config.json");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the origin of the page: the first `https://` origin of `web_origins`, or the web port at
/// this address.
fn page(config: &Config, web: Option<SocketAddr>) -> Result<String, Fault> {
    let unreachable = |error: &str, hint| Err(Fault::new(code::UNREADABLE, error, hint));
    if let Some(origin) = config.web_origins.iter().find(|origin| origin.is_https()) {
        return Ok(origin.to_string());
    }
    let Some(web) = web else {
        let hint = "set web in config.json, for example 127.0.0.1:5080";
        return unreachable("the server has no web port", hint);
    };
    if web.port() == 0 {
        let hint = "start the server, then repeat this command";
        return unreachable("the server chooses the web port at its start", hint);
    }
    let ip = web.ip().to_canonical();
    if config.web_tls.is_none() && config.web_names.is_empty() {
        return match ip.is_loopback() {
            true => Ok(format!("http://{}", SocketAddr::new(ip, web.port()))),
            false => unreachable(
                "browsers need an address with https",
                "set web_tls, web_names or web_origins in config.json (docs/web.md)",
            ),
        };
    }
    let own = config.web_names.first().filter(|_| config.web_tls.is_none());
    let host = match &config.invite_host {
        _ if own.is_some() => own.map(ToString::to_string),
        Some(host) => Some(host.to_string()),
        None if ip.is_unspecified() => own_address(ip, false).map(|ip| ip.to_string()),
        None => Some(ip.to_string()),
    };
    let Some(host) = host else {
        let hint = "set invite_host in config.json";
        return unreachable("this computer has no address that others can reach", hint);
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{}", web.port()))
}

/// Prints a QR code.
fn picture(line: &str) -> anyhow::Result<()> {
    let level = qrcode::EcLevel::L;
    let code = qrcode::QrCode::with_error_correction_level(line, level);
    let code = code.context("the invite is too long for a picture")?;
    let picture = code.render::<qrcode::render::unicode::Dense1x2>().build();
    // Cameras need black on white, whatever the terminal's colours are.
    let (paint, end) = match std::io::stderr().is_terminal() {
        true => ("\x1b[38;5;16;48;5;231m", "\x1b[0m"),
        false => ("", ""),
    };
    picture.lines().for_each(|row| err!("{paint}{row}{end}"));
    Ok(())
}

/// Returns the addresses of a home's running server and the address of its web port, if it answers:
/// its command line may override config.json.
fn running(home: &Home) -> (Option<Vec<SocketAddr>>, Option<SocketAddr>) {
    let Some(stats) = ctl::ask(home, &["stats".to_owned()]).ok().flatten() else {
        return (None, None);
    };
    let addresses: Option<Vec<_>> = serde_json::from_value(stats.data["addresses"].clone()).ok();
    let web = stats.data["web"].as_str().and_then(|web| web.parse().ok());
    (addresses.filter(|addresses| !addresses.is_empty()), web)
}
