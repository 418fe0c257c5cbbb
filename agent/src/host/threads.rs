//! The agent's own threads.

use super::task::Task;
use super::{HostFiles, task};

impl HostFiles {
    /// Every thread of this process with its id; empty where /proc is not readable.
    #[must_use]
    pub fn own_threads(&self) -> Vec<(i32, Task)> {
        let tids = self.names("proc/self/task").into_iter().filter_map(|name| name.parse::<i32>().ok());
        tids.filter_map(|tid| Some((tid, task::parse(&self.read(&format!("proc/self/task/{tid}/stat"))?)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_among_them() {
        let this = nix::unistd::gettid().as_raw();
        let threads = HostFiles::default().own_threads();
        let (_, own) = threads.iter().find(|(tid, _)| *tid == this).unwrap();
        assert!(own.state == 'R' && own.cpu.is_some());
    }
}
