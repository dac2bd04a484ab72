//! `cargo xtask fuzz`: gives cowtrace's readers inputs that libFuzzer makes up.
//!
//! The targets are those of `tests/fuzz`. They are built by cargo-fuzz with the caller's own compiler: what libFuzzer needs of
//! it (counters of edges, traced comparisons) a stable one does, too. A sanitizer is not used; cowtrace's own code is safe Rust,
//! with overflows and assertions checked here.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::say::{result, say};
use crate::tool::Tool;
use crate::workspace::Workspace;
use crate::{command, debian};

const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };
/// MiB of memory that a target may take: what cowtrace makes of 64 KiB needs far less, whatever they are.
const MEMORY: u32 = 1024;
/// Seconds that one input may take; on a machine that is busy with other things one takes a hundred times as long as alone.
const SECONDS: u32 = 10;
/// Bytes of an input at most.
const LONGEST: u32 = 64 << 10;
/// Lines that are shown of a target that failed.
const SHOWN: usize = 60;

/// What the command line says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this target
    target: Option<String>,
    /// Inputs for each target
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
}

/// When a target has seen enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// It was given so many inputs.
    Runs(u64),
    /// It ran for so long.
    Seconds(u64),
}

/// What a target has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Inputs.
    pub(crate) inputs: u64,
    /// Most memory that it took, MiB.
    memory: u64,
}

/// Runs what the command line says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut targets = targets(workspace)?;
    if let Some(name) = &options.target {
        targets.retain(|target| target == name);
        if targets.is_empty() {
            bail!("tests/fuzz has no target {name}");
        }
    }
    let programs = build(workspace)?;
    let (mut inputs, mut failed) = (0, Vec::new());
    for target in &targets {
        match one(workspace, &programs, target, Until::Runs(options.runs)) {
            Ok(done) => inputs += done.inputs,
            Err(error) => {
                say(format_args!("error: {error:#}"));
                failed.push(target.as_str());
            }
        }
    }
    result(format_args!("{inputs} inputs, {} of {} targets failed", failed.len(), targets.len()));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The names of all targets.
pub(crate) fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.join("tests/fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; the directory of the programs.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    if debian::may_install() {
        debian::ensure(&[("g++", "/usr/bin/g++")])?;
    }
    let bin = CARGO_FUZZ.ensure(workspace)?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = command::cargo(workspace.root());
    cargo.args(["fuzz", "build", "--sanitizer", "none", "--release", "--target", &triple]);
    cargo.arg("--fuzz-dir").arg(workspace.join("tests/fuzz"));
    cargo.arg("--target-dir").arg(folder(workspace));
    cargo.env("PATH", command::path_with(&[&bin])?);
    command::run(&mut cargo)?;
    Ok(folder(workspace).join(triple).join("release"))
}

/// Where the targets are built, and where they leave what they find.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.join("target/fuzz")
}

/// Runs one target. What it found on the way it begins with the next time.
pub(crate) fn one(workspace: &Workspace, programs: &Path, target: &str, until: Until) -> Result<Done> {
    let found = folder(workspace).join("corpus").join(target);
    let broken = folder(workspace).join("broken").join(target);
    for folder in [&found, &broken] {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    let kept = ["corpus", "regressions"].map(|kind| workspace.join("tests/fuzz").join(kind).join(target));
    let mut program = Command::new(programs.join(target));
    program.arg(match until {
        Until::Runs(runs) => format!("-runs={runs}"),
        Until::Seconds(seconds) => format!("-max_total_time={seconds}"),
    });
    program.args([
        format!("-rss_limit_mb={MEMORY}"),
        format!("-timeout={SECONDS}"),
        format!("-max_len={LONGEST}"),
        "-print_final_stats=1".to_owned(),
        // The folder's name ends where the file's name begins.
        format!("-artifact_prefix={}/", broken.display()),
    ]);
    program.arg(&found).args(kept.iter().filter(|folder| folder.is_dir()));
    let begin = Instant::now();
    let done = watch(&mut program).with_context(|| {
        format!(
            "{target}: what broke it lies in {}; once it is mended, keep that in tests/fuzz/regressions/{target}",
            broken.display()
        )
    })?;
    say(told(target, done, begin.elapsed()));
    Ok(done)
}

fn told(target: &str, Done { inputs, memory }: Done, took: Duration) -> String {
    format!("{target}: {inputs} inputs in {:.1} s, {memory} MiB", took.as_secs_f64())
}

/// Runs a target to its end, and shows its last lines if that is not a good one.
fn watch(program: &mut Command) -> Result<Done> {
    let shown = command::show(program);
    let mut child = program
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start: {shown}"))?;
    let output = child.stderr.take().context("the target's output is not piped")?;
    let (mut done, mut last) = (Done::default(), VecDeque::new());
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line).into_owned();
        count(&line, &mut done);
        last.push_back(line);
        if last.len() > SHOWN {
            last.pop_front();
        }
    }
    let status = child.wait().with_context(|| format!("failed to wait for: {shown}"))?;
    if !status.success() {
        last.iter().for_each(say);
        bail!("{status} from: {shown}");
    }
    if done.inputs == 0 {
        bail!("no inputs were counted by: {shown}");
    }
    Ok(done)
}

/// Takes a line of libFuzzer's last figures.
fn count(line: &str, done: &mut Done) {
    let figure = |name| line.strip_prefix(name).and_then(|rest: &str| rest.trim().parse().ok());
    done.inputs = figure("stat::number_of_executed_units:").unwrap_or(done.inputs);
    done.memory = figure("stat::peak_rss_mb:").unwrap_or(done.memory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let mut done = Done::default();
        for line in ["#7 DONE", "stat::number_of_executed_units: 1234", "stat::peak_rss_mb:              48"]
        {
            count(line, &mut done);
        }
        assert_eq!(told("lines", done, Duration::from_millis(2050)), "lines: 1234 inputs in 2.0 s, 48 MiB");
    }

    #[test]
    fn a_target_that_breaks_is_an_error() {
        let broken =
            watch(Command::new("sh").args(["-c", "echo stat::number_of_executed_units: 5 >&2; exit 77"]));
        assert!(broken.unwrap_err().to_string().starts_with("exit status: 77"));
        let idle = watch(Command::new("sh").args(["-c", "exit 0"]));
        assert!(idle.unwrap_err().to_string().starts_with("no inputs"));
    }
}
