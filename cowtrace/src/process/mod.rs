//! The traced processes: how the command is started and waited for, the tree that it grows, what each has mapped.

pub mod baseline;
pub mod cgroup;
pub mod child;
pub mod command;
pub mod container;
pub mod existing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod hugetlb;
pub mod identity;
pub mod launch;
pub mod maps;
pub mod mmap_log;
pub mod object;
pub mod output;
pub mod signals;
pub mod tree;
