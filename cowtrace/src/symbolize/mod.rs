//! Names for native code and for system calls. Stage 7.

pub mod instruction;
pub mod native;
pub mod syscalls;
