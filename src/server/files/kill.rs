//! Named points at which tests end the server as a loss of its process does.

/// Ends the process at once where `PYCHAT_KILL_AT` names this point: nothing is flushed, and no
/// destructor runs. Builds without debug assertions have no such points.
pub fn kill_point(_name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("PYCHAT_KILL_AT").is_some_and(|at| at == _name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::park();
    }
}
