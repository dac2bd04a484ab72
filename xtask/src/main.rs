//! The project's own chores: `cargo xtask <command>`.
//!
//! Does not depend on cowtrace, so that it can build the kernel program that cowtrace cannot be built without.

mod command;
mod debian;
#[path = "../../cowtrace/build/digest.rs"]
mod digest;
mod ebpf;
mod say;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::say::say;
use crate::workspace::Workspace;

/// Builds, runs, checks and measures cowtrace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Compile the kernel program into cowtrace/ebpf/cowtrace.bpf.o
    BuildEbpf {
        /// Write nothing; fail if the committed object is not what its sources compile to
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().chore.run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Chore {
    fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        match self {
            Self::BuildEbpf { check: false } => ebpf::build(&workspace)?,
            Self::BuildEbpf { check: true } => {
                ebpf::check(&workspace)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
