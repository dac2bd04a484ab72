//! What a guest says, turned into verdicts.

use std::fs;
use std::path::Path;

use super::guest::{Job, MARK};
use super::machine::{Ended, How};
use crate::say::{result, say};
use crate::test::counts::{Counts, Reader};

/// What a kernel says when something is wrong with it.
const COMPLAINTS: [&str; 6] = ["BUG:", "Oops", "WARNING:", "Kernel panic", "Call Trace:", "soft lockup"];
/// So many lines of a job's output are shown when it fails, and of the kernel's.
const SHOWN: usize = 400;

/// Reads the lines of one guest.
pub(super) struct Console<'a> {
    /// The kernel's version, which begins every verdict.
    kernel: &'a str,
    jobs: &'a [Job],
    /// The job that is running, and what it has said.
    running: Option<(&'a Job, Reader, Vec<String>)>,
    /// The test that is running, if something was printed behind its name.
    test: Option<String>,
    /// Jobs that ended.
    ended: Vec<&'a str>,
    counts: Counts,
}

impl<'a> Console<'a> {
    pub(super) fn new(kernel: &'a str, jobs: &'a [Job]) -> Self {
        Self { kernel, jobs, running: None, test: None, ended: Vec::new(), counts: Counts::default() }
    }

    pub(super) fn line(&mut self, line: &str) {
        if let Some(word) = line.strip_prefix(MARK) {
            let words: Vec<&str> = word.split(' ').collect();
            match words[..] {
                ["begin", name] => {
                    let job = self.jobs.iter().find(|job| job.name == name);
                    self.running = job.map(|job| (job, Reader::default(), Vec::new()));
                }
                ["end", name, status] => self.end(name, status),
                _ => say(format_args!("not understood: {line}")),
            }
            return;
        }
        let Some((job, reader, said)) = &mut self.running else {
            say(format_args!("{}: {line}", self.kernel));
            return;
        };
        reader.line(line);
        if job.has_tests
            && let Some((test, verdict)) = verdict(line, &mut self.test)
        {
            result(format_args!("{} {} {test}: {verdict}", self.kernel, job.name));
        }
        said.push(line.to_owned());
    }

    fn end(&mut self, name: &str, status: &str) {
        let Some((job, reader, said)) = self.running.take().filter(|(job, ..)| job.name == name) else {
            say(format_args!("{name} ended and had not begun"));
            return;
        };
        self.ended.push(job.name);
        let mut counts = if job.has_tests { reader.finish() } else { Counts::check(status == "0") };
        if job.has_tests && (status != "0" || counts == Counts::default()) && counts.failed == 0 {
            // It was killed, or there was nothing to run.
            counts.failed = 1;
        }
        if counts.failed > 0 || !job.has_tests {
            said.iter().rev().take(SHOWN).rev().for_each(|line| say(format_args!("{}: {line}", self.kernel)));
        }
        if !job.has_tests || counts.failed > 0 {
            let verdict = if counts.failed > 0 { "FAILED" } else { "ok" };
            result(format_args!("{} {}: {verdict} (status {status})", self.kernel, job.name));
        }
        self.counts += counts;
    }

    /// The sum, when the guest has ended. What did not come to its end has failed.
    pub(super) fn finish(mut self, ended: &Ended, log: &Path) -> Counts {
        if let Some((job, _, said)) = self.running.take() {
            said.iter().rev().take(SHOWN).rev().for_each(|line| say(format_args!("{}: {line}", self.kernel)));
            say(format_args!("{} {}: it was running when the guest ended", self.kernel, job.name));
        }
        let kernels = fs::read(log).unwrap_or_default();
        let kernels = String::from_utf8_lossy(&kernels);
        let complaint = kernels.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
        let missing: Vec<&str> =
            self.jobs.iter().map(|job| job.name).filter(|name| !self.ended.contains(name)).collect();
        for name in &missing {
            result(format_args!("{} {name}: FAILED (did not end)", self.kernel));
            self.counts += Counts::check(false);
        }
        if !missing.is_empty() || complaint.is_some() || ended.how != How::Itself {
            let lines: Vec<&str> = kernels.lines().collect();
            let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN));
            shown.for_each(|line| say(format_args!("{} kernel: {line}", self.kernel)));
        }
        let verdict = complaint.map_or_else(|| "ok".to_owned(), |line| format!("FAILED ({})", line.trim()));
        result(format_args!("{} kernel has no complaints: {verdict}", self.kernel));
        self.counts += Counts::check(complaint.is_none());
        self.counts
    }
}

/// The test that a line tells the end of, and how it ended. What goes past the harness' capture stands between a test's name
/// and its verdict, so that the name is kept until the verdict comes.
fn verdict<'l>(line: &'l str, running: &mut Option<String>) -> Option<(String, &'l str)> {
    let text = match line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
        Some((test, text)) => {
            *running = Some(test.to_owned());
            text
        }
        None => line,
    };
    let verdict = ["ok", "FAILED", "ignored"].into_iter().find(|verdict| text == *verdict)?;
    Some((running.take()?, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Options, guest};
    use std::time::Duration;

    fn sum(lines: &[&str], kernels: &str) -> Counts {
        let options = Options { job: vec!["doctor".into(), "seed".into()], ..Options::default() };
        let jobs = guest::jobs(&options).unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), kernels).unwrap();
        let mut console = Console::new("6.1", &jobs);
        lines.iter().for_each(|line| console.line(line));
        console.finish(&Ended { how: How::Itself, after: Duration::ZERO }, log.path())
    }

    const SEED: [&str; 5] = [
        "=matrix= begin seed",
        "test a ... ok",
        "test b ... FAILED",
        "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        "=matrix= end seed 101",
    ];

    #[test]
    fn what_a_test_prints_does_not_hide_its_verdict() {
        let mut running = None;
        assert_eq!(verdict("test a ... ok", &mut running), Some(("a".to_owned(), "ok")));
        assert_eq!(verdict("test b ... CPython 3.11", &mut running), None);
        assert_eq!(verdict("more", &mut running), None);
        assert_eq!(verdict("FAILED", &mut running), Some(("b".to_owned(), "FAILED")));
        assert_eq!(verdict("ok", &mut running), None, "no test is running");
    }

    /// The kernel's silence about itself is a check, too.
    #[test]
    fn tests_are_counted_one_by_one() {
        let doctor = ["=matrix= begin doctor", "all is well", "=matrix= end doctor 0"];
        let counts = sum(&[&doctor[..], &SEED].concat(), "");
        assert_eq!((counts.passed, counts.failed), (3, 1));
    }

    #[test]
    fn what_does_not_end_has_failed() {
        let counts = sum(&SEED[..2], "[    1.0] Kernel panic - not syncing: oops\n");
        assert_eq!((counts.passed, counts.failed), (0, 3));
    }

    #[test]
    fn a_program_without_tests_has_failed() {
        let counts = sum(&["=matrix= begin seed", "Killed", "=matrix= end seed 0"], "");
        assert_eq!((counts.passed, counts.failed), (1, 2));
    }
}
