//! The server's own certificate authority for the web port: public authorities certify no names of
//! home networks. Its name constraints permit only such names and private addresses. A thief of its
//! key therefore cannot impersonate public sites to devices that apply the constraints. RFC 5280,
//! section 4.2.1.10.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::{HOME_DOMAINS, HomeName, PRIVATE_V4, PRIVATE_V6, WebTls};
use crate::file::{FileError, make_folder, replace};
use crate::home::Home;

/// Validity of a certificate, in days. Browsers reject certificates that are valid for longer.
const LEAF_DAYS: i64 = 397;
/// Age at which a certificate is replaced, in days.
const RENEWS_DAYS: i32 = 300;
const AUTHORITY_DAYS: i64 = 3_650;

/// The folder of the files, below the home.
const FOLDER: &str = "keys/web";
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const LEAF: &str = "server.pem";
const LEAF_KEY: &str = "server.key";
/// The file with the certificate's day and names.
const NAMES: &str = "names";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("the authority of the web port: {0}; remove keys/web to get another one")]
    Make(#[from] rcgen::Error),
    #[error("{}: the system clock has no usable date", .0.display())]
    Clock(PathBuf),
    #[error(
        "{}: one of ca.key and ca.crt is missing; restore it, or remove the folder and install the \
         new authority on each device", .0.display()
    )]
    Half(PathBuf),
}

/// Issues a certificate for these names, unless a current one exists. Returns its files, as paths
/// below the home.
///
/// # Errors
/// The files cannot be read or written, or are damaged.
pub fn issue(home: &Home, names: &[HomeName]) -> Result<WebTls, AuthorityError> {
    let folder = home.dir().join(FOLDER);
    let [certificate, key] = [LEAF, LEAF_KEY].map(|name| folder.join(name));
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let is_there = key.is_file() && certificate.is_file();
    let expired = validity(&folder.join(AUTHORITY)).is_some_and(|(_, until)| until < today);
    if is_for(&folder, &text, today) && is_there && !expired {
        return Ok(issued());
    }
    make_folder(&folder, 0o700)?;
    let days = |from: Date, days: i64| {
        let date = from.checked_add(Span::new().days(days));
        date.map_err(|_| AuthorityError::Clock(folder.clone()))
    };
    let yesterday = days(today, -1)?;
    let authority = authority(&folder, today, (yesterday, days(yesterday, AUTHORITY_DAYS)?))?;
    let mut params =
        CertificateParams::new(names.iter().map(HomeName::to_string).collect::<Vec<_>>())?;
    dated(&mut params, "pychat", (yesterday, days(yesterday, LEAF_DAYS)?));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let own = KeyPair::generate()?;
    let leaf = params.signed_by(&own, &authority)?;
    // The file of names is written last, because a later call checks it.
    replace(&key, own.serialize_pem().as_bytes(), 0o600)?;
    replace(&certificate, leaf.pem().as_bytes(), 0o600)?;
    replace(&folder.join(NAMES), format!("{today}\n{text}").as_bytes(), 0o600)?;
    log::info!("the server's own authority has issued a new certificate for the web port");
    Ok(issued())
}

/// The files of the issued certificate, as paths below the home.
pub fn issued() -> WebTls {
    let [certificate, key] = [LEAF, LEAF_KEY].map(|name| Path::new(FOLDER).join(name));
    WebTls { certificate, key }
}

/// Returns whether the certificate has these names and is not old. The times of the files are not
/// used, because copies are newer.
fn is_for(folder: &Path, names: &str, today: Date) -> bool {
    let Ok(text) = fs::read_to_string(folder.join(NAMES)) else { return false };
    let Some((day, known)) = text.split_once('\n') else { return false };
    let age = day.parse::<Date>().map(|day| (today - day).get_days());
    known == names && age.is_ok_and(|age| (0..RENEWS_DAYS).contains(&age))
}

/// Returns the authority's certificate in PEM form, which phones and computers install.
pub fn certificate(home: &Home) -> Option<String> {
    fs::read_to_string(home.dir().join(FOLDER).join(AUTHORITY)).ok()
}

/// Reads the authority, or makes one that is valid on these days. A certificate that has expired,
/// such as one that was made by a clock of 1970, is replaced by one of the same key.
fn authority(
    folder: &Path,
    today: Date,
    valid: (Date, Date),
) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
    let [path, certificate] = [AUTHORITY_KEY, AUTHORITY].map(|name| folder.join(name));
    let mut params = CertificateParams::default();
    dated(&mut params, "pychat at home", valid);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Name constraints apply neither to code signing nor to all mail certificates.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(constraints());
    let there = [&path, &certificate].map(|path| path.exists());
    if there[0] != there[1] {
        return Err(AuthorityError::Half(folder.to_owned()));
    }
    if there[0] {
        let pem = fs::read_to_string(&path);
        let pem = pem.map_err(|error| AuthorityError::Read { path: path.clone(), error })?;
        let key = KeyPair::from_pem(&pem)?;
        if !is_current(&certificate, today) {
            let own = params.self_signed(&key)?;
            replace(&certificate, own.pem().as_bytes(), 0o644)?;
            log::warn!(
                "the certificate of the server's own authority had expired and was replaced: \
                 install it again on each device"
            );
        }
        return Ok(Issuer::new(params, key));
    }
    let key = KeyPair::generate()?;
    let own = params.self_signed(&key)?;
    replace(&path, key.serialize_pem().as_bytes(), 0o600)?;
    replace(&certificate, own.pem().as_bytes(), 0o644)?;
    Ok(Issuer::new(params, key))
}

/// Returns whether the authority's certificate has not expired. One whose validity begins later
/// stays: the clock may be wrong now, and devices have installed the certificate.
fn is_current(certificate: &Path, today: Date) -> bool {
    let Some((from, until)) = validity(certificate) else { return true };
    if today < from {
        log::warn!(
            "the certificate of the server's own authority is valid from {from} on: browsers \
             reject it before. If the system clock is right, remove keys/web and install the new \
             authority on each device"
        );
    }
    today <= until
}

/// Returns the first and the last day of a certificate's validity (RFC 5280, section 4.1.2.5), if
/// the file can be read and both days are before 2050.
fn validity(certificate: &Path) -> Option<(Date, Date)> {
    const UTC_TIME: [u8; 2] = [0x17, 13];
    let der = CertificateDer::from_pem_file(certificate).ok()?;
    let mut times = der.windows(15).filter_map(|part| {
        let text = std::str::from_utf8(part.strip_prefix(&UTC_TIME)?.strip_suffix(b"Z")?).ok()?;
        let number = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
        let year = i16::from(number(0)?);
        let year = if year < 50 { 2_000 + year } else { 1_900 + year };
        Date::new(year, number(2)?, number(4)?).ok()
    });
    Some((times.next()?, times.next()?))
}

fn constraints() -> NameConstraints {
    let domains = HOME_DOMAINS.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned()));
    let v4 = PRIVATE_V4.iter().map(|(at, bits): &(Ipv4Addr, u8)| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix((*at).into(), *bits))
    });
    let v6 = PRIVATE_V6.iter().map(|(at, bits): &(Ipv6Addr, u8)| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix((*at).into(), *bits))
    });
    NameConstraints {
        permitted_subtrees: domains.chain(v4).chain(v6).collect(),
        excluded_subtrees: Vec::new(),
    }
}

fn dated(params: &mut CertificateParams, name: &str, (from, until): (Date, Date)) {
    let day =
        |date: Date| rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8);
    (params.not_before, params.not_after) = (day(from), day(until));
    params.distinguished_name.push(DnType::CommonName, name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_valid_for_the_days_that_browsers_accept() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let before = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let tls = issue(&home, &["chat.home.arpa".parse().unwrap()]).unwrap();
        let after = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let authority = home.dir().join(FOLDER).join(AUTHORITY);
        let leaf = home.dir().join(tls.certificate);
        for (path, days) in [(&authority, 3_650), (&leaf, 397)] {
            let (from, until) = validity(path).unwrap();
            let yesterday = [before, after].map(|day| day.yesterday().unwrap());
            assert!(yesterday.contains(&from), "{from}");
            assert_eq!((until - from).get_days(), days, "{}", path.display());
            // serverAuth and nothing else: `SEQUENCE { OID 1.3.6.1.5.5.7.3.1 }`.
            const SERVER_AUTH: [u8; 12] = *b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
            let der = CertificateDer::from_pem_file(path).unwrap();
            assert!(der.windows(12).any(|part| part == SERVER_AUTH), "{}", path.display());
        }
    }

    #[test]
    fn an_authority_that_a_wrong_clock_made_is_replaced_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let day = |text: &str| text.parse::<Date>().unwrap();
        let made = |today: &str, from: &str, until: &str| {
            let issuer = authority(folder.path(), day(today), (day(from), day(until)));
            (
                issuer.unwrap().key().serialize_pem(),
                validity(&folder.path().join(AUTHORITY)).unwrap(),
            )
        };
        let (key, first) = made("1970-01-01", "1969-12-31", "1979-12-29");
        assert_eq!(first, (day("1969-12-31"), day("1979-12-29")));
        assert_eq!(made("1979-12-29", "1979-12-28", "1989-12-28"), (key.clone(), first));
        let right = (day("2026-11-29"), day("2036-11-26"));
        assert_eq!(made("2026-11-30", "2026-11-29", "2036-11-26"), (key.clone(), right));
        // A clock that is wrong later replaces no certificate that devices have.
        assert_eq!(made("1970-01-01", "1969-12-31", "1979-12-29"), (key, right));
    }

    #[test]
    fn a_certificate_is_issued_again_when_it_is_old_or_has_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let [one, other]: [[HomeName; 1]; 2] =
            [["192.168.1.7".parse().unwrap()], ["chat.home.arpa".parse().unwrap()]];
        let leaf = |names: &[HomeName]| {
            let tls = issue(&home, names).unwrap();
            assert!(tls.certificate.is_relative() && tls.key.is_relative());
            fs::read(home.dir().join(tls.certificate)).unwrap()
        };
        let file = |name: &str| home.dir().join(FOLDER).join(name);
        let first = leaf(&one);
        assert_eq!(leaf(&one), first);
        assert_ne!(leaf(&other), first);
        let second = leaf(&one);
        // The file of the certificate is new, as a copy is.
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        for (days, is_issued) in [(-299, false), (-300, true), (1, true)] {
            let before = leaf(&one);
            let day = today.checked_add(Span::new().days(days)).unwrap();
            fs::write(file(NAMES), format!("{day}\n192.168.1.7\n")).unwrap();
            assert_eq!(leaf(&one) != before, is_issued, "{days}");
        }
        assert_ne!(leaf(&one), second);
        // Half of an authority is not replaced: devices have installed the other half.
        for name in [AUTHORITY_KEY, AUTHORITY] {
            let kept = fs::read(file(name)).unwrap();
            fs::remove_file(file(name)).unwrap();
            assert!(matches!(issue(&home, &other), Err(AuthorityError::Half(_))), "{name}");
            fs::write(file(name), kept).unwrap();
        }
        assert_ne!(leaf(&other), second);
    }
}
