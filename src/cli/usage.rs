//! Errors of the command line: what is wrong, and what to type. They repeat options and commands
//! only: an argument may be a password in a wrong place.

use std::error::Error;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::chat::TimeSpanError;
use crate::clean;
use crate::fault::{Fault, code};

/// The server parses the arguments of `ctl`, and any of them may be a text.
const CTL: &str = "pychat ctl --help lists the commands and their arguments; put -- before a text that begins with -";

/// Describes what is wrong with `typed`, the arguments behind the program's name.
pub fn fault(mut program: Command, error: &clap::Error, typed: &[String]) -> Fault {
    program.build();
    let command = meant(&program, typed);
    let hint = match (command.get_name(), suggested(error)) {
        ("ctl", _) => CTL.to_owned(),
        (_, Some(near)) => format!("did you mean {near}?"),
        (_, None) => {
            let usage = command.clone().render_usage().to_string();
            let usage = usage.trim_start_matches("Usage:").split_whitespace();
            format!("{}  (--help has details)", usage.collect::<Vec<_>>().join(" "))
        }
    };
    Fault::new(code::USAGE, what(command, error, typed), hint)
}

/// The subcommand that the arguments name, as far as they do.
fn meant<'a>(program: &'a Command, typed: &[String]) -> &'a Command {
    let mut command = program;
    for word in typed {
        match command.find_subcommand(word) {
            Some(below) => command = below,
            None => break,
        }
    }
    command
}

fn what(command: &Command, error: &clap::Error, typed: &[String]) -> String {
    let about = context(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument if !about.starts_with('-') => {
            "there is an argument too many".into()
        }
        ErrorKind::UnknownArgument => {
            // Of `-1d` clap reports `-1`.
            let whole = typed.iter().find(|word| word.starts_with(&about)).unwrap_or(&about);
            let number = whole.trim_start_matches(['-', '.', ',']).starts_with(char::is_numeric);
            if number && command.get_name() == "ctl" {
                return format!("{}: {TimeSpanError}: nothing was done", clean::line(whole));
            }
            format!("there is no option {}", clean::line(&about))
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(error, ContextKind::InvalidSubcommand);
            format!("there is no command {}", clean::line(&word))
        }
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{about}: {source}"),
            None => format!("{about}: invalid value"),
        },
        ErrorKind::InvalidValue => match context(error, ContextKind::ValidValue) {
            known if known.is_empty() => format!("{about}: a value is missing"),
            known => format!("{about} is one of {known}"),
        },
        ErrorKind::MissingRequiredArgument => format!("{about} is missing"),
        ErrorKind::ArgumentConflict => match context(error, ContextKind::PriorArg) {
            prior if prior == about => format!("{about} is given twice"),
            prior => format!("{about} cannot be combined with {prior}"),
        },
        kind => kind.to_string(),
    }
}

fn suggested(error: &clap::Error) -> Option<String> {
    let kinds =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    // In a list the best one is the last.
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(all) => all.last().cloned(),
        _ => None,
    })
}

/// A part of the error's context, as text.
fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(one)) => one.clone(),
        Some(ContextValue::Strings(all)) => all.join(", "),
        _ => String::new(),
    }
}
