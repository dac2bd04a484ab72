//! Options of `doctor`.

use std::ffi::OsString;

use clap::Args;

use super::values::{DEFAULT_BUFFER, buffer};
use crate::doctor::Request;

pub(super) const STATUSES: &str = "\
Exit status:
  0  everything that cowtrace needs is there, limited or not
  1  something that it needs is missing
  2  cowtrace was called wrongly";

/// What clap reads of `doctor`.
#[derive(Args, Debug)]
pub(super) struct DoctorArguments {
    /// Processes by their numbers, and programs by name or path, whose interpreters and symbols are looked at as well
    #[arg(value_name = "PID|PROGRAM")]
    targets: Vec<OsString>,

    /// Room for records that a trace is to have (units K, M, G)
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_BUFFER, value_parser = buffer)]
    buffer: u32,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// What.
    pub request: Request,
    /// As JSON.
    pub json: bool,
}

impl DoctorArguments {
    pub(super) fn checked(self) -> Doctor {
        let Self { targets, buffer, json } = self;
        Doctor { request: Request { targets, buffer }, json }
    }
}
