//! `pychat man`: one page with every command, generated from the definition of the command line.

use std::io;

use clap::Command;
use clap_mangen::Man;

/// The page, as roff.
pub fn page(mut program: Command) -> io::Result<Vec<u8>> {
    program = program.disable_help_subcommand(true);
    program.build();
    let mut page = Vec::new();
    let man = Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    for command in program.get_subcommands() {
        add(&mut page, command)?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// Adds a section for a command, or one for each of its subcommands.
fn add(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|below| add(page, below));
    }
    let man = Man::new(command.clone());
    let mut section = Vec::new();
    man.render_description_section(&mut section)?;
    man.render_synopsis_section(&mut section)?;
    man.render_options_section(&mut section)?;
    if command.get_after_help().is_some() {
        // A table: its lines must not be joined.
        man.render_extra_section(&mut section)?;
        section.extend_from_slice(b".fi\n");
    }
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_uppercase();
    page.extend(format!(".SH \"{name}\"\n").into_bytes());
    for line in String::from_utf8_lossy(&section).lines() {
        // The section's title replaces the heading of the description; the other headings go one
        // level down.
        if line != ".SH DESCRIPTION" {
            let line = line.replacen(".SH EXTRA", ".PP\n.nf", 1).replacen(".SH ", ".SS ", 1);
            page.extend(line.into_bytes());
            page.push(b'\n');
        }
    }
    Ok(())
}
