//! Names for native code and for system calls. Stage 7.

pub mod native;
pub mod syscalls;
