//! The traced processes: how the command is started and waited for.

pub mod child;
pub mod command;
pub mod identity;
pub mod launch;
pub mod output;
pub mod signals;
