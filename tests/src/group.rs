//! Who is in a process group.

use nix::unistd::Pid;

use crate::process::{stat_field, state_of};

/// Every living process of a group, zombies aside: whose parent has gone waits for a process that nobody here has any say in.
#[must_use]
pub fn members(of: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let inside = |pid: &i32| stat_field(*pid, 2).is_some_and(|group| group == of.to_string());
    let living = |pid: &Pid| state_of(*pid).is_some_and(|state| state != "Z" && state != "X");
    pids.filter(inside).map(Pid::from_raw).filter(living).collect()
}
