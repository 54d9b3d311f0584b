//! The number of connections that the system allows. A thread that cannot map its stack aborts the
//! whole process, so the cap is computed before the first thread starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory mappings of one thread: its stack, the stack's guard, and its signal stack with a guard.
const MAPS_PER_THREAD: usize = 4;
/// Mappings, descriptors and threads that the rest of the process needs.
const RESERVE: usize = 512;

/// Descriptors of the server itself, an estimate: the standard three, the listeners, the operator's
/// socket, the pairs that wake the flusher and the login loop, the lock, three for each ledger
/// connection, and the files of downloads. `RESERVE` covers the rest, such as the files of uploads.
const OWN_DESCRIPTORS: usize = 32;

/// Address space of a connection, in bytes: the 132 KiB of its thread's stack, the guards, its
/// signal stack, and a share of the heap and of the threads that are logging in.
const ADDRESS_BYTES: u64 = 256 * 1024;
/// Address space for the server's own threads and caches, which begin after the count, in bytes.
const OWN_ADDRESS_BYTES: u64 = 96 << 20;
/// Below this remaining address space, no connection is accepted: a failed allocation would abort
/// the process.
const ADDRESS_BYTES_LEFT_MIN: u64 = 16 << 20;
/// Address space that glibc's allocator reserves per arena, in bytes.
const ARENA_BYTES: u64 = 64 << 20;
const ARENAS_PER_CORE: u64 = 8;
/// The variable that limits the number of arenas.
pub const ARENAS: &str = "MALLOC_ARENA_MAX";
/// Memory of a connection, in bytes. Measured: 20 KiB idle and twice that during the login. The
/// rest is for its send queue.
const MEMORY_BYTES: u64 = 64 * 1024;

/// Memory for the server's own caches, which grow after the count, in bytes: those of five
/// connections to the ledger, of 8 MiB at most, but seldom of all.
const OWN_MEMORY_BYTES: u64 = 24 << 20;

/// How many connections the server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Connections with a thread.
    pub connections: usize,
    /// Further connections without a thread.
    pub unauthenticated: usize,
}

/// Bounds `wanted` connections (0 means as many as possible) and `unauthenticated` ones by what the
/// system allows. Raises the soft limit of descriptors to the hard one.
pub fn room(wanted: usize, unauthenticated: usize) -> Room {
    let bounds = [
        number("/proc/sys/vm/max_map_count")
            .map(|maps| maps.saturating_sub(2048) as usize / MAPS_PER_THREAD),
        number("/proc/sys/kernel/threads-max").map(|threads| threads as usize),
        lowest(&own_cgroups("pids"), |folder| number(folder.join("pids.max")))
            .map(|pids| pids as usize),
        lowest(&own_cgroups("memory"), memory_left).map(in_memory),
        getrlimit(Resource::Nproc).current.map(|limit| limit as usize),
        space_left().map(|bytes| fitting(bytes, arenas())),
        Some(descriptors().saturating_sub(OWN_DESCRIPTORS)),
    ];
    let bound = bounds.into_iter().flatten().min().unwrap_or(1024);
    let room = within(bound, wanted, unauthenticated);
    log::info!("room for {} connections (the system allows {bound})", room.connections);
    room
}

/// Computes the room if the system has resources for `bound` connections.
fn within(bound: usize, wanted: usize, unauthenticated: usize) -> Room {
    let reserve = RESERVE.min(bound / 4);
    let able = bound - reserve;
    let unauthenticated = unauthenticated.min(able / 4).max(1);
    let able = able.saturating_sub(unauthenticated).max(1);
    let connections = if wanted == 0 { able } else { wanted.min(able) };
    Room { connections, unauthenticated }
}

/// The limits of address space, and the column of /proc/self/statm that counts against each.
const SPACES: [(Resource, usize); 2] = [(Resource::As, 0), (Resource::Data, 5)];

/// Whether a limit is so low that the allocator's arenas may exhaust it.
pub fn has_little_address_space() -> bool {
    space_left().is_some_and(|bytes| bytes < 64 * ARENA_BYTES)
}

/// Whether the process is about to run out of address space.
pub fn is_short_of_space() -> bool {
    space_left().is_some_and(|bytes| bytes < ADDRESS_BYTES_LEFT_MIN)
}

/// Returns the bytes of address space that the limits leave; `None` without a limit.
fn space_left() -> Option<u64> {
    let limits = SPACES.map(|(limit, column)| Some((getrlimit(limit).current?, column)));
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        return None;
    }
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Vec<u64> = pages.split(' ').map_while(|count| count.trim().parse().ok()).collect();
    let page = rustix::param::page_size() as u64;
    let left = |(limit, column): (u64, usize)| {
        limit.saturating_sub(pages.get(column).map_or(0, |pages| pages * page))
    };
    limits.into_iter().map(left).min()
}

/// Returns the number of arenas that the allocator may create.
fn arenas() -> u64 {
    let own = std::env::var(ARENAS).ok().and_then(|text| text.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    own.unwrap_or_else(|| ARENAS_PER_CORE * cores())
}

/// Returns how many connections fit into `bytes` of address space beside the server itself. Arenas
/// take up to half.
fn fitting(bytes: u64, arenas: u64) -> usize {
    let bytes = bytes.saturating_sub(OWN_ADDRESS_BYTES);
    let arenas = (ARENA_BYTES * arenas).min(bytes / 2);
    ((bytes - arenas) / ADDRESS_BYTES) as usize
}

/// Returns the folders of this process for a controller: its own and those above it, in the tree of
/// version 2 and in that of the controller of version 1.
fn own_cgroups(controller: &str) -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_folders(&groups, controller)
}

fn cgroup_folders(groups: &str, controller: &str) -> Vec<PathBuf> {
    let folders = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, own) = (fields.next().unwrap_or(""), fields.next().unwrap_or("/"));
        let tree = match controllers {
            "" => Some(Path::new("/sys/fs/cgroup").to_owned()),
            _ if controllers.split(',').any(|one| one == controller) => {
                Some(Path::new("/sys/fs/cgroup").join(controller))
            }
            _ => None,
        };
        let groups = Path::new(own.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| Some(tree.as_ref()?.join(group))).collect::<Vec<_>>()
    });
    folders.collect()
}

/// Returns the lowest value of the folders; `max` is no bound.
fn lowest(folders: &[PathBuf], of: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
    folders.iter().filter_map(|folder| of(folder)).min()
}

/// Returns the bytes that a cgroup may still allocate: the kernel takes back pages of files.
fn memory_left(folder: &Path) -> Option<u64> {
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| number(folder.join(name)));
    let max = first(["memory.max", "memory.limit_in_bytes"])?;
    let used = first(["memory.current", "memory.usage_in_bytes"]).unwrap_or(0);
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let files = |name| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let files: u64 = files("total_inactive_file ").or_else(|| files("inactive_file ")).unwrap_or(0);
    Some(max.saturating_sub(used.saturating_sub(files)))
}

/// Returns how many connections fit into `bytes` of memory beside the server itself.
fn in_memory(bytes: u64) -> usize {
    (bytes.saturating_sub(OWN_MEMORY_BYTES) / MEMORY_BYTES) as usize
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

fn number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_system_has_room() {
        let able = room(0, 512);
        assert!(able.connections >= 1);
        assert_eq!(room(1, 512).connections, 1);
        assert_eq!(room(usize::MAX, 512), able);
    }

    #[test]
    fn a_reserve_is_kept_for_the_rest_of_the_process() {
        let room = |connections, unauthenticated| Room { connections, unauthenticated };
        assert_eq!(within(20_000, 0, 512), room(18_976, 512));
        assert_eq!(within(64, 0, 512), room(36, 12));
        assert_eq!(within(64, 10, 5), room(10, 5));
        assert_eq!(within(0, 0, 512).connections, 1, "at least one connection");
    }

    #[test]
    fn address_space_bounds_the_connections_beside_the_arenas() {
        let own = OWN_ADDRESS_BYTES;
        assert_eq!(fitting(own + (64 << 30), 16), 258_048, "64 GiB, of which 16 arenas have 1");
        assert_eq!(fitting(own + (512 << 20), 16), 1_024, "half of 512 MiB");
        assert_eq!(fitting(own + (512 << 20), 1), 1_792, "but for one arena");
        assert_eq!(fitting(own, 16), 0);
        assert_eq!(fitting(0, 2), 0);
    }

    #[test]
    fn the_strictest_group_above_bounds_the_memory() {
        let tree = tempfile::tempdir().unwrap();
        let group = |name: &str, max: &str, current: &str| {
            let folder = tree.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("memory.max"), max).unwrap();
            fs::write(folder.join("memory.current"), current).unwrap();
            folder
        };
        let own = group("a/b", "max\n", "900\n");
        assert_eq!(lowest(std::slice::from_ref(&own), memory_left), None);
        let above = group("a", "5000\n", "1000\n");
        assert_eq!(lowest(&[own, above.clone()], memory_left), Some(4_000));
        let inside = group("c", "100\n", "200\n");
        assert_eq!(lowest(&[above, inside.clone()], memory_left), Some(0));
        // Files that were read do not count.
        fs::write(inside.join("memory.stat"), "anon 50\ninactive_file 150\n").unwrap();
        assert_eq!(memory_left(&inside), Some(50));
        let old = tree.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::write(old.join("memory.limit_in_bytes"), "700\n").unwrap();
        fs::write(old.join("memory.usage_in_bytes"), "300\n").unwrap();
        assert_eq!(memory_left(&old), Some(400));
    }

    #[test]
    fn a_process_is_in_one_tree_of_version_2_or_in_one_of_each_controller() {
        let folders = |groups: &str| {
            let folders = cgroup_folders(groups, "memory").into_iter();
            folders.map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let wanted = "/sys/fs/cgroup/a/b /sys/fs/cgroup/a /sys/fs/cgroup/";
        assert_eq!(folders("0::/a/b\n"), wanted);
        let wanted = "/sys/fs/cgroup/memory/a /sys/fs/cgroup/memory/ /sys/fs/cgroup/";
        assert_eq!(folders("8:pids:/x\n4:cpu,memory:/a\n0::/\n"), wanted);
        assert_eq!(folders(""), "");
    }

    proptest! {
        #[test]
        fn all_connections_fit_with_half_of_the_reserve_to_spare(
            bound in 8usize..100_000,
            wanted in any::<usize>(),
            unauthenticated in 0usize..10_000,
        ) {
            let room = within(bound, wanted, unauthenticated);
            let reserve = RESERVE.min(bound / 4);
            prop_assert!(room.connections + room.unauthenticated + reserve / 2 <= bound);
        }
    }
}
