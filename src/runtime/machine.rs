//! What the process asks of its operating system for itself.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Keeps the process's memory, which holds keys and records, out of core dumps and from other processes of its user
/// (PR_SET_DUMPABLE in prctl(2)).
///
/// # Errors
/// If the system refuses.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Lets the process open as many files as an administrator allows (RLIMIT_NOFILE in getrlimit(2)), since connections take
/// them; how many these are, `None` if there is no limit.
///
/// # Errors
/// If the system refuses.
pub fn open_files_max() -> io::Result<Option<u64>> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    /// G10: a crash leaves no keys on a disk.
    #[test]
    fn memory_is_private() {
        keep_memory_private().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
