//! Names the job and reports how it ended.

fn main() -> std::process::ExitCode {
    pychat::cli::run()
}
