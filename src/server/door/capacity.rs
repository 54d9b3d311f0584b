//! How many connections this system lets the server have. A thread that cannot get its mappings
//! aborts the whole process, so the cap is known before the first is taken.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory mappings of one thread: its stack, the stack's guard, and its signal stack with a guard.
const MAPS_PER_THREAD: usize = 4;
/// Mappings, descriptors and threads that the rest of the process needs.
const RESERVE: usize = 512;

/// The cap of connections: `wanted` (0 for as many as can be), bounded by what the system allows.
/// Raises the soft limit of descriptors to the hard one.
pub fn connections(wanted: usize) -> usize {
    let threads = [
        number("/proc/sys/vm/max_map_count")
            .map(|maps| maps.saturating_sub(2048) / MAPS_PER_THREAD),
        number("/proc/sys/kernel/threads-max"),
        number("/sys/fs/cgroup/pids.max"),
        limit(Resource::Nproc),
        Some(descriptors()),
    ];
    let bound = threads.into_iter().flatten().min().unwrap_or(1024);
    let able = bound.saturating_sub(RESERVE.min(bound / 4)).max(1);
    let cap = if wanted == 0 { able } else { wanted.min(able) };
    log::info!("room for {cap} connections (the system allows {able})");
    cap
}

fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |limit| limit as usize)
}

fn limit(resource: Resource) -> Option<usize> {
    getrlimit(resource).current.map(|limit| limit as usize)
}

fn number(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn the_cap_is_what_was_wanted_or_what_is_possible() {
        let able = connections(0);
        assert!(able >= 1);
        assert_eq!(connections(1), 1);
        assert_eq!(connections(usize::MAX), able);
    }
}
