//! `cargo xtask bench`: what tracing adds to a fault.
//!
//! Each round runs a program untraced, under cowtrace, and under perf where that works, in an order that turns from
//! round to round. Absolute times move with the machine's state; the ratios within a round do not, so the result is
//! the median of those.

mod programs;
mod recordings;
mod stats;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::programs::Program;
use self::stats::{Spread, ratios};
use crate::say::{result, say};
use crate::workspace::Workspace;
use crate::{cargo, command, ebpf};

/// What the command line says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds per program
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Measure this program instead of building cowtrace
    #[arg(long, value_name = "PATH")]
    cowtrace: Option<PathBuf>,
    /// Measure only the program of this name, or `recordings`
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
}

/// Measures and prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let cowtrace = match &options.cowtrace {
        Some(path) => path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?,
        None => {
            ebpf::build_if_stale(workspace)?;
            cargo::cowtrace(workspace, None)?
        }
    };
    let folder = tempfile::tempdir().context("failed to create a temporary directory")?;
    let bench = Bench { cowtrace, with_perf: perf_works(), folder: folder.path() };
    if !bench.with_perf {
        say("perf is not there or may not record here: left out");
    }
    let mut rows = Vec::new();
    for program in programs::all(workspace, folder.path())? {
        if options.program.as_deref().is_some_and(|name| !name.eq_ignore_ascii_case(program.name)) {
            continue;
        }
        let mut runs = Runs::default();
        for round in 0..options.rounds {
            bench
                .round(&program, round, &mut runs)
                .with_context(|| format!("failed in round {}", round + 1))?;
        }
        rows.push(Row::of(program.name, runs)?);
    }
    let recordings = match options.program.as_deref() {
        None | Some("recordings") => Some(recordings::measure(workspace, &bench.cowtrace, folder.path())?),
        Some(_) => None,
    };
    if rows.is_empty() && recordings.is_none() {
        bail!("there is no program of that name to measure");
    }
    if options.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        let recordings = recordings.as_ref().map(recordings::Recordings::json);
        result(json!({ "rounds": options.rounds, "programs": rows, "recordings": recordings }));
    } else {
        result(format_args!("medians of {} rounds (range)", options.rounds));
        result(Row::HEADING);
        rows.iter().for_each(|row| result(row.text()));
        if let Some(recordings) = &recordings {
            recordings.print();
        }
    }
    Ok(())
}

struct Bench<'a> {
    cowtrace: PathBuf,
    with_perf: bool,
    folder: &'a Path,
}

/// Nanoseconds per fault of each round, and what cowtrace's summaries add up to.
#[derive(Debug, Default)]
struct Runs {
    untraced: Vec<f64>,
    traced: Vec<f64>,
    perf: Vec<f64>,
    faults: u64,
    lost: u64,
    tool_ns: u64,
}

impl Bench<'_> {
    fn round(&self, program: &Program, round: u32, runs: &mut Runs) -> Result<()> {
        // What runs first in a round may find the machine in another state than what runs last.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => runs.untraced.push(measured(&mut program.command())?),
                1 => self.traced(program, runs)?,
                _ if self.with_perf => runs.perf.push(measured(&mut perf(&program.words)?)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn traced(&self, program: &Program, runs: &mut Runs) -> Result<()> {
        let recording = self.folder.join("run.jsonl");
        let mut command = command::as_root(self.cowtrace.as_os_str(), &[])?;
        command.arg("-q").arg("-o").arg(&recording).arg("--").args(&program.words);
        runs.traced.push(measured(&mut command)?);
        let summary = summary(&recording)?;
        let field =
            |name: &str| summary[name].as_u64().with_context(|| format!("the summary has no number {name}"));
        runs.faults += field("faults")?;
        runs.lost += field("lost")?;
        runs.tool_ns += field("tool_cpu_ns")?;
        // cowtrace does not write over a recording.
        std::fs::remove_file(&recording).with_context(|| format!("failed to remove {}", recording.display()))
    }
}

/// Runs a program that ends with printing a number.
fn measured(command: &mut Command) -> Result<f64> {
    let printed = command::output(command)?;
    let last = printed.lines().next_back().unwrap_or_default();
    let number: f64 =
        last.parse().with_context(|| format!("{last:?} is no time, from: {}", command::show(command)))?;
    if !(number.is_finite() && number > 0.0) {
        bail!("{number} is no time, from: {}", command::show(command));
    }
    Ok(number)
}

/// The last line of a recording in JSON Lines.
fn summary(recording: &Path) -> Result<Value> {
    let file = File::open(recording).with_context(|| format!("failed to open {}", recording.display()))?;
    let mut last = String::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("failed to read {}", recording.display()))?;
        if line.starts_with(r#"{"type":"summary""#) {
            last = line;
        }
    }
    serde_json::from_str(&last).with_context(|| format!("{} has no summary", recording.display()))
}

/// The nearest thing that everybody has: every minor fault with its address and stack, thrown away.
fn perf(words: &[PathBuf]) -> Result<Command> {
    let mut command = command::as_root("perf".as_ref(), &[])?;
    command
        .args(["record", "-e", "minor-faults", "-c", "1", "-d", "-g", "-o", "/dev/null", "--"])
        .args(words);
    Ok(command)
}

fn perf_works() -> bool {
    let Ok(mut command) = perf(&["true".into()]) else { return false };
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The result of one program.
struct Row {
    name: &'static str,
    untraced: Spread,
    traced: Spread,
    perf: Option<Spread>,
    lost: u64,
    /// Nanoseconds of the tool's own CPU time per fault.
    tool: f64,
}

impl Row {
    const HEADING: &'static str = "program   untraced ns/fault   traced ÷ untraced      perf ÷ untraced        lost   tool CPU ns/fault";

    fn of(name: &'static str, runs: Runs) -> Result<Self> {
        let Runs { untraced, traced, perf, faults, lost, tool_ns } = runs;
        #[expect(clippy::cast_precision_loss, reason = "a figure of three digits is shown")]
        let tool = tool_ns as f64 / faults.max(1) as f64;
        Ok(Self {
            name,
            traced: Spread::of(ratios(&traced, &untraced)).context("no round was run")?,
            perf: Spread::of(ratios(&perf, &untraced)),
            untraced: Spread::of(untraced).context("no round was run")?,
            lost,
            tool,
        })
    }

    fn text(&self) -> String {
        let ratio = |spread: &Spread| format!("{:.2} ({:.2}–{:.2})", spread.median, spread.min, spread.max);
        format!(
            "{:<9} {:>17.0}   {:<20}   {:<20} {:>6}   {:>17.0}",
            self.name,
            self.untraced.median,
            ratio(&self.traced),
            self.perf.as_ref().map_or_else(|| "–".to_owned(), ratio),
            self.lost,
            self.tool
        )
    }

    fn json(&self) -> Value {
        let spread =
            |spread: &Spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max });
        json!({
            "program": self.name,
            "untraced_ns": spread(&self.untraced),
            "traced_ratio": spread(&self.traced),
            "perf_ratio": self.perf.as_ref().map(spread),
            "lost": self.lost,
            "tool_cpu_ns_per_fault": self.tool,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_behind_other_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        std::fs::write(&path, "{\"type\":\"header\"}\n{\"type\":\"summary\",\"lost\":3}\n").unwrap();
        assert_eq!(summary(&path).unwrap()["lost"], 3);
        std::fs::write(&path, "{\"type\":\"header\"}\n").unwrap();
        assert!(summary(&path).is_err());
    }

    #[test]
    fn a_program_has_to_print_a_time() {
        assert_eq!(measured(Command::new("echo").arg("starting\n3100.5")).unwrap(), 3100.5);
        assert!(measured(Command::new("echo").arg("fast")).is_err());
        assert!(measured(Command::new("echo").arg("0")).is_err());
    }
}
