//! `cargo xtask test`: everything that the project checks.
//!
//! A step that fails does not stop the others. The last line is the sum, in one fixed form that programs can read.

mod arm64;
pub(crate) mod counts;
mod dependencies;
mod steps;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use self::counts::Counts;
use self::steps::{Run, STEPS, Step};
use crate::pythons;
use crate::say::{in_words, result, say};
use crate::workspace::Workspace;

/// Runs the steps that `filters` name; other filters are parts of names of tests. Without any, everything but the steps that
/// run only when they are named, which are listed as left out. With `make_pythons`, the newest interpreters are made sure of.
pub(crate) fn run(workspace: Workspace, filters: Vec<String>, make_pythons: bool) -> Result<ExitCode> {
    let begun = Instant::now();
    let is_step = |word: &String| STEPS.iter().any(|step| step.name == word);
    let (named, filters): (Vec<String>, Vec<String>) = filters.into_iter().partition(is_step);
    let wanted = |step: &&Step| {
        named.iter().any(|name| name == step.name)
            || (named.is_empty() && !step.asked && (filters.is_empty() || step.tests))
    };
    let steps: Vec<&Step> = STEPS.iter().filter(wanted).collect();
    if !filters.is_empty() && !steps.iter().any(|step| step.tests) {
        bail!("{} names neither a step nor, without `unit` or `integration`, a test", filters.join(", "));
    }

    let (mut all, mut failed) = (Counts::default(), Vec::new());
    let mut python_roots = None;
    if make_pythons || steps.iter().any(|step| step.tests) {
        say("\n== interpreters");
        let found = pythons::find(make_pythons)?;
        python_roots = Some(found.roots);
        for minor in found.missing {
            all += Counts::allowed_skip(&format!("no CPython 3.{minor} here"));
        }
        all.skipped.iter().for_each(say);
    }
    if named.is_empty() && filters.is_empty() {
        for step in STEPS.iter().filter(|step| step.asked) {
            let Step { name, heading, .. } = step;
            all += Counts::allowed_skip(&format!(
                "{heading}: runs only when it is named, `cargo xtask test {name}`"
            ));
        }
    }
    let mut run = Run { workspace, begun, filters, object: None, python_roots };
    for step in steps {
        say(format_args!("\n== {}: {}", step.name, step.heading));
        let step_begun = Instant::now();
        let mut counts = (step.run)(&mut run).unwrap_or_else(|error| {
            say(format_args!("error: {error:#}"));
            Counts::check(false)
        });
        if counts == Counts::default() && run.filters.is_empty() {
            say("error: there was nothing to run");
            counts = Counts::check(false);
        }
        for line in counts.skipped.iter().filter(|_| !step.tests) {
            say(line);
        }
        if counts.failed > 0 {
            failed.push(step.name);
        }
        say(format_args!("-- {} took {}", step.name, in_words(step_begun.elapsed())));
        all += counts;
    }
    Ok(summary(all, &failed))
}

/// Says what was left out and what failed, and the sum as the last line.
pub(crate) fn summary(all: Counts, failed: &[&str]) -> ExitCode {
    say("");
    for line in &all.skipped {
        say(line);
    }
    for line in &all.unsteady {
        say(line);
    }
    if all.ignored > 0 {
        say(format_args!("{} tests are marked #[ignore]", all.ignored));
    }
    let strict = env::var("CI").is_ok_and(|value| value == "true");
    let before = all.failed;
    let all = if strict { all.strict() } else { all };
    if all.failed > before {
        say(format_args!("failures by skips that CI does not allow: {}", all.failed - before));
    }
    for (test, complaint) in &all.complaints {
        say(format_args!("FAILED: {test}: {complaint}"));
    }
    if !failed.is_empty() {
        say(format_args!("failed: {}", failed.join(", ")));
    }
    let skipped = all.skipped.len() + all.ignored;
    let nothing = all.passed + all.failed + skipped == 0;
    if nothing {
        say("error: no test has such a name");
    }
    result(format_args!("{} passed, {} failed, {skipped} skipped", all.passed, all.failed));
    if all.failed == 0 && !nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
