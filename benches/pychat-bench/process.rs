//! A server's process: its CPU and memory from /proc, and its end.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Killed when dropped.
pub struct Process(pub Child);

impl Process {
    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        self.times(2)
    }

    /// The same, with that of its children that have ended.
    pub fn cpu_with_children(&self) -> Duration {
        self.times(4)
    }

    fn times(&self, fields: usize) -> Duration {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(") ").next().unwrap();
        let ticks =
            after_name.split(' ').skip(11).take(fields).map(|field| field.parse::<u64>().unwrap());
        // Linux shows these in hundredths of a second.
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// Waits for the process to exit. Returns its CPU time and the largest observed memory, in KiB.
    ///
    /// # Panics
    /// The exit code is not 0.
    pub fn ends(mut self) -> (Duration, u64) {
        let pid = Pid::from_child(&self.0);
        let mut memory_kib = 0;
        loop {
            // The CPU times can be read until the process is reaped.
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if waitid(WaitId::Pid(pid), how).unwrap().is_some() {
                break;
            }
            memory_kib = self.high_water_kib().unwrap_or(0).max(memory_kib);
            thread::sleep(Duration::from_millis(5));
        }
        let cpu = self.cpu_with_children();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
        (cpu, memory_kib)
    }

    /// Peak memory in KiB; `None` for a process that has exited.
    pub fn high_water_kib(&self) -> Option<u64> {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
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
