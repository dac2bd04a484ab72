//! What a recording costs: bytes on disk for each fault, and the time and memory that a report of a long one takes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::say::{result, say};
use crate::workspace::Workspace;
use crate::{cargo, command, debian};

/// Faults of the long recording.
const LONG: u64 = 10_000_000;
/// GNU time, which tells the memory that a program took.
const TIME: &str = "/usr/bin/time";

/// What was measured.
pub(super) struct Recordings {
    /// Faults of the recorded trace that copied a page.
    copies: u64,
    /// Listed faults of it.
    faults: u64,
    /// Bytes of the file.
    bytes: u64,
    /// Seconds that the report of the long one took.
    seconds: f64,
    /// Its memory, KiB.
    memory: u64,
}

/// Records a Python program, lengthens the recording, reports it.
pub(super) fn measure(workspace: &Workspace, cowtrace: &Path, folder: &Path) -> Result<Recordings> {
    debian::ensure(&[("time", TIME), ("python3", "/usr/bin/python3")])?;
    let (short, long) = (folder.join("short.cow"), folder.join("long.cow"));
    say("recording a million copies");
    let mut record = command::as_root(cowtrace.as_os_str(), &[])?;
    record.args(["record", "-q", "-o"]).arg(&short).arg("--").arg("/usr/bin/python3");
    command::output(record.arg(workspace.join("tests/programs/bench_recording.py")))?;
    let info = info(cowtrace, &short)?;
    let report = command::output(Command::new(cowtrace).arg("report").arg(&short).arg("--json"))?;
    let report: Value = serde_json::from_str(&report).context("the report is no JSON")?;
    let number =
        |value: &Value, name: &str| value[name].as_u64().with_context(|| format!("there is no {name}"));
    let lengthened = lengthened(workspace)?;
    say(format_args!("lengthening the recording to {LONG} faults"));
    command::run(Command::new(lengthened).arg(&short).arg(LONG.to_string()).arg(&long))?;
    let (seconds, memory) = timed(cowtrace, &long)?;
    Ok(Recordings {
        copies: number(&report["summary"], "copies")?,
        faults: number(&info, "faults")?,
        bytes: number(&info, "bytes")?,
        seconds,
        memory,
    })
}

fn info(cowtrace: &Path, file: &Path) -> Result<Value> {
    let info = command::output(Command::new(cowtrace).arg("info").arg("--json").arg(file))?;
    serde_json::from_str(&info).context("info is no JSON")
}

fn lengthened(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let mut cargo = command::cargo(workspace.root());
    let built =
        cargo::build(cargo.args(["build", "--release", "--package", "cowtrace", "--example", "lengthened"]))?;
    let programs = built.into_iter().filter(|artifact| artifact.name == "lengthened");
    programs.filter_map(|artifact| artifact.executable).next_back().context("cargo built no lengthened")
}

/// Seconds and KiB of a report: the fastest of three, the most memory.
fn timed(cowtrace: &Path, file: &Path) -> Result<(f64, u64)> {
    let mut all: Option<(f64, u64)> = None;
    for _ in 0..3 {
        let mut time = Command::new(TIME);
        time.args(["-f", "%e %M"]).arg(cowtrace).arg("report").arg(file);
        let output = time.output().context("failed to start time")?;
        let told = String::from_utf8_lossy(&output.stderr);
        let last = told.lines().next_back().unwrap_or_default();
        let numbers = last.split_once(' ').and_then(|(s, k)| Some((s.parse().ok()?, k.parse().ok()?)));
        let (Some((seconds, memory)), true) = (numbers, output.status.success()) else {
            bail!("the report of the long recording failed: {told}");
        };
        all = Some(all.map_or((seconds, memory), |(s, m): (f64, u64)| (s.min(seconds), m.max(memory))));
    }
    all.context("nothing was timed")
}

impl Recordings {
    #[expect(clippy::cast_precision_loss, reason = "figures of three digits are shown")]
    pub(super) fn print(&self) {
        result(format_args!(
            "recording  {} copies with stacks ({} listed faults): {:.2} bytes a copy on disk",
            self.copies,
            self.faults,
            self.bytes as f64 / self.copies.max(1) as f64
        ));
        result(format_args!(
            "report     {LONG} faults: {:.2} s, {} MiB (the fastest of three, the most memory)",
            self.seconds,
            self.memory >> 10
        ));
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "copies": self.copies,
            "faults": self.faults,
            "bytes": self.bytes,
            "report_faults": LONG,
            "report_seconds": self.seconds,
            "report_kib": self.memory,
        })
    }
}
