//! cowtrace.
pub mod interp;
pub mod memory;
pub mod process;
pub mod record;
pub mod symbolize;
