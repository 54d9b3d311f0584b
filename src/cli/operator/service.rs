//! `pychat install-service`: the systemd unit of a home's server, as a text or as a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::fault::{Fault, code};
use crate::file;
use crate::print::{self, err, out};

/// The unit of the Debian package: its own binary, home and account.
const UNIT: &str = include_str!("../../../packaging/pychat.service");
const BINARY: &str = "/usr/bin/pychat";
const HOME: &str = "/var/lib/pychat";

#[derive(clap::Args)]
pub struct Args {
    /// The folder with config.json, users/, keys/ and data/
    #[arg(long, env = "PYCHAT_HOME", default_value = HOME)]
    home: PathBuf,
    /// The account that runs the server
    #[arg(long, default_value = "pychat")]
    user: String,
    /// Write it to this file instead of printing it
    #[arg(long, value_name = "FILE", num_args = 0..=1,
          default_missing_value = "/etc/systemd/system/pychat.service")]
    write: Option<PathBuf>,
    /// Accepted like in other commands; this one asks nothing
    #[arg(long)]
    yes: bool,
    /// Print the unit, and the file that was written, as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn install(args: &Args) -> anyhow::Result<ExitCode> {
    let binary = std::env::current_exe()?;
    let home = std::path::absolute(&args.home)?;
    let unit = unit(plain(&binary)?, plain(&home)?, &args.user)?;
    if let Some(path) = &args.write {
        file::replace(path, unit.as_bytes(), 0o644)?;
    }
    if args.json {
        out!("{}", json!({"unit": unit, "file": args.write}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(path) = &args.write else {
        print::result(unit)?;
        return Ok(ExitCode::SUCCESS);
    };
    err!("wrote {}; next, as root:", path.display());
    let (user, at) = (&args.user, home.display());
    err!("  useradd --system --home-dir {at} --shell /usr/sbin/nologin {user}");
    if home != Path::new(HOME) {
        // systemd creates the default home and gives it to the account.
        err!("  mkdir -p {at} && chown -R {user}: {at}");
    }
    let name = path.file_stem().unwrap_or_default().display();
    err!("  systemctl daemon-reload && systemctl enable --now {name}");
    err!("then register yourself; the first user is the owner:");
    err!("  sudo -u {user} {} users add LINE --home {at}", binary.display());
    Ok(ExitCode::SUCCESS)
}

fn unit(binary: &str, home: &str, user: &str) -> Result<String, Fault> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if user.is_empty() || !user.chars().all(legal) {
        return Err(Fault::new(
            code::USAGE,
            "an account name has letters, digits, - and _",
            "--user NAME",
        ));
    }
    let mut unit = UNIT.replace(BINARY, binary).replace("User=pychat", &format!("User={user}"));
    if home != HOME {
        unit = unit
            .replace("StateDirectory=pychat\nStateDirectoryMode=0700\n", "")
            .replace(HOME, home);
    }
    let private = ["/home/", "/root/"];
    if private.iter().any(|folder| binary.starts_with(folder) || home.starts_with(folder)) {
        unit = unit.replace("ProtectHome=yes", "ProtectHome=read-only");
    }
    Ok(unit)
}

/// A path that needs no quoting in a unit file.
fn plain(path: &Path) -> Result<&str, Fault> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.+@".contains(c);
    path.to_str().filter(|text| text.chars().all(legal)).ok_or_else(|| {
        let error =
            format!("{}: a unit file needs a path of letters, digits and /-_.+@", path.display());
        Fault::new(code::USAGE, error, "move it, or write the unit by hand")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_packages_own_for_its_own_paths() {
        assert_eq!(unit(BINARY, HOME, "pychat").unwrap(), UNIT);
        let own = unit("/home/olga/bin/pychat", "/srv/chat", "olga").unwrap();
        for line in [
            "ExecStart=/home/olga/bin/pychat server --no-owner --home /srv/chat",
            "ExecReload=/home/olga/bin/pychat ctl reload --home /srv/chat",
            "User=olga",
            "ReadWritePaths=/srv/chat",
            "ProtectHome=read-only",
        ] {
            assert!(own.lines().any(|one| one == line), "{line} in {own}");
        }
        assert!(!own.contains("StateDirectory") && !own.contains("/var/lib"));
        assert!(unit(BINARY, HOME, "a b").is_err() && unit(BINARY, HOME, "").is_err());
        assert!(plain(Path::new("/srv/my chat")).is_err() && plain(Path::new("/a%b")).is_err());
    }
}
