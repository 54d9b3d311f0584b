//! A server's process: its CPU and memory from /proc, and its end.

use std::fs;
use std::process::Child;
use std::time::Duration;

/// Killed when dropped.
pub struct Process(pub Child);

impl Process {
    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(") ").next().unwrap();
        let ticks =
            after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        // Linux shows these in hundredths of a second.
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// CPU of the threads that run now, in microseconds, finer than `cpu`.
    pub fn cpu_of_threads_us(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let used = |task: fs::DirEntry| {
            // A thread may end between the two looks.
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
        };
        tasks.map(|task| used(task.unwrap())).sum()
    }

    pub fn memory_kib(&self) -> u64 {
        self.status("VmRSS:").trim_end_matches(" kB").parse().unwrap()
    }

    pub fn threads(&self) -> u64 {
        self.status("Threads:").parse().unwrap()
    }

    fn status(&self, field: &str) -> String {
        let status = self.proc("status");
        status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
