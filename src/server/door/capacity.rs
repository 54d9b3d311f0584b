//! How many connections this system lets the server have. A thread that cannot get its mappings
//! aborts the whole process, so the cap is known before the first is taken.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory mappings of one thread: its stack, the stack's guard, and its signal stack with a guard.
const MAPS_PER_THREAD: usize = 4;
/// Mappings, descriptors and threads that the rest of the process needs.
const RESERVE: usize = 512;

/// Descriptors that are in use whoever comes: the standard three, the listener, the operator's
/// socket, the bell, the lock, and three for each of the ledger's connections.
const OWN_DESCRIPTORS: usize = 32;

/// How many may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Sessions and strangers.
    pub connections: usize,
    /// On top of those, newcomers who wait to be told that the house is full.
    pub turned_away: usize,
}

/// `wanted` connections (0 for as many as can be), bounded by what the system allows. Raises the
/// soft limit of descriptors to the hard one.
pub fn room(wanted: usize) -> Room {
    let bounds = [
        number("/proc/sys/vm/max_map_count")
            .map(|maps| maps.saturating_sub(2048) / MAPS_PER_THREAD),
        number("/proc/sys/kernel/threads-max"),
        own_cgroup().and_then(|group| number(&format!("/sys/fs/cgroup{group}/pids.max"))),
        limit(Resource::Nproc),
        Some(descriptors().saturating_sub(OWN_DESCRIPTORS)),
    ];
    let bound = bounds.into_iter().flatten().min().unwrap_or(1024);
    let room = within(bound, wanted);
    log::info!("room for {} connections (the system allows {bound})", room.connections);
    room
}

/// The room where the system allows `bound` of what each connection needs.
fn within(bound: usize, wanted: usize) -> Room {
    let reserve = RESERVE.min(bound / 4);
    let able = (bound - reserve).max(1);
    let connections = if wanted == 0 { able } else { wanted.min(able) };
    Room { connections, turned_away: (reserve / 4).max(1) }
}

/// The path of this process in the tree of cgroups (version 2).
fn own_cgroup() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
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
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_system_has_room() {
        let able = room(0);
        assert!(able.connections >= 1);
        assert_eq!(room(1).connections, 1);
        assert_eq!(room(usize::MAX), able);
    }

    #[test]
    fn a_reserve_is_kept_for_the_rest_of_the_process() {
        assert_eq!(within(20_000, 0), Room { connections: 19_488, turned_away: 128 });
        assert_eq!(within(64, 0), Room { connections: 48, turned_away: 4 });
        assert_eq!(within(64, 10).connections, 10);
        assert_eq!(within(0, 0).connections, 1, "a server for nobody would be none");
    }

    proptest! {
        #[test]
        fn all_that_come_at_once_fit_with_half_of_the_reserve_to_spare(
            bound in 8usize..100_000,
            wanted in any::<usize>(),
        ) {
            let room = within(bound, wanted);
            let reserve = RESERVE.min(bound / 4);
            prop_assert!(room.connections + room.turned_away + reserve / 2 <= bound);
        }
    }
}
