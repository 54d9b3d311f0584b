//! `pychat-fuzz TARGET [FILE ...]`: runs a decoder on files, or on stdin.
#![forbid(unsafe_code)]

use std::io::Read;
use std::process::ExitCode;

use pychat_fuzz::TARGETS;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let wanted = words.next().unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("error: which decoder?\nhint:  pychat-fuzz {} [FILE ...]", names.join("|"));
        return ExitCode::from(2);
    };
    let files: Vec<String> = words.collect();
    if files.is_empty() {
        let mut bytes = Vec::new();
        if let Err(error) = std::io::stdin().lock().read_to_end(&mut bytes) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
        target(&bytes);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => target(&bytes),
            Err(error) => {
                eprintln!("error: {file}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
