//! What a guest says, turned into verdicts.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::guest::{Job, MARK};
use super::machine::{Ended, How};
use crate::say::{result, say};
use crate::test::counts::{Counts, Reader};

/// What a kernel says when something is wrong with it.
const COMPLAINTS: [&str; 6] = ["BUG:", "Oops", "WARNING:", "Kernel panic", "Call Trace:", "soft lockup"];
/// So many lines of a job's output are shown when it fails, and of the kernel's.
const SHOWN: usize = 400;

/// Reads the lines of one guest. Other guests may run at the same time: what it prints at once it prints whole, and every line
/// begins with the kernel.
pub(super) struct Console<'a> {
    /// The kernel's version.
    kernel: &'a str,
    jobs: &'a [&'static Job],
    running: Option<Running>,
    /// Jobs that ended.
    ended: Vec<&'static str>,
    counts: Counts,
}

/// The job that is running.
struct Running {
    job: &'static Job,
    begun: Instant,
    reader: Reader,
    /// What it has said.
    said: Vec<String>,
    /// The test that is running, if something was printed behind its name.
    test: Option<String>,
    /// A test that is run again, and what was counted before.
    again: Option<(String, Counts)>,
}

impl Running {
    fn new(job: &'static Job) -> Self {
        let reader = Reader::default();
        Self { job, begun: Instant::now(), reader, said: Vec::new(), test: None, again: None }
    }

    /// What was counted so far; the program of tests that ran last has ended.
    fn counted(&mut self) -> Counts {
        let found = std::mem::take(&mut self.reader).finish();
        match self.again.take() {
            None => found,
            Some((test, mut counts)) => {
                counts.run_again(&test, &found);
                counts
            }
        }
    }
}

impl<'a> Console<'a> {
    pub(super) fn new(kernel: &'a str, jobs: &'a [&'static Job]) -> Self {
        Self { kernel, jobs, running: None, ended: Vec::new(), counts: Counts::default() }
    }

    pub(super) fn line(&mut self, line: &str) {
        if let Some(word) = line.strip_prefix(MARK) {
            let words: Vec<&str> = word.split(' ').collect();
            match (&words[..], &mut self.running) {
                (["begin", name], _) => {
                    self.running =
                        self.jobs.iter().find(|job| job.name == *name).map(|job| Running::new(job));
                }
                (["again", test], Some(running)) => {
                    let counts = running.counted();
                    running.again = Some(((*test).to_owned(), counts));
                }
                (["end", name, status], _) => self.end(name, status),
                (["late", name], _) => {
                    let job = self.jobs.iter().find(|job| job.name == *name);
                    self.ended.extend(job.map(|job| job.name));
                    self.counts += late(self.kernel, name);
                }
                _ => say(format_args!("{}: not understood: {line}", self.kernel)),
            }
            return;
        }
        let Some(running) = &mut self.running else {
            say(format_args!("{}: {line}", self.kernel));
            return;
        };
        running.reader.line(line);
        if running.job.has_tests()
            && let Some((test, verdict)) = verdict(line, &mut running.test)
        {
            let again = if running.again.is_some() { " again" } else { "" };
            result(format_args!("{} {} {test}{again}: {verdict}", self.kernel, running.job.name));
        }
        running.said.push(line.to_owned());
    }

    fn end(&mut self, name: &str, status: &str) {
        let Some(mut running) = self.running.take().filter(|running| running.job.name == name) else {
            say(format_args!("{}: {name} ended and had not begun", self.kernel));
            return;
        };
        self.ended.push(running.job.name);
        let has_tests = running.job.has_tests();
        let mut counts = running.counted();
        let last = running.said.iter().rev().find(|line| !line.trim().is_empty());
        let last = last.map_or("it said nothing", String::as_str);
        if !has_tests {
            counts = if status == "0" { Counts::check(true) } else { Counts::failure("", last) };
        } else if counts == Counts::default() || (status != "0" && counts.failed + counts.unsteady.len() == 0)
        {
            // It was killed, or there was nothing to run.
            counts += Counts::failure("", &format!("did not come to its end, or had nothing to run: {last}"));
        }
        if counts.failed > 0 || !has_tests {
            self.show(&running.said);
        }
        let verdict = if counts.failed > 0 { "FAILED" } else { "ok" };
        let seconds = running.begun.elapsed().as_secs();
        result(format_args!("{} {name}: {verdict} (status {status}, {seconds} s)", self.kernel));
        self.counts += counts.of(&format!("{} {name}", self.kernel));
    }

    /// Shows the end of what was said.
    fn show<L: std::fmt::Display>(&self, said: &[L]) {
        let shown = said.iter().skip(said.len().saturating_sub(SHOWN));
        say(shown.map(|line| format!("{}: {line}", self.kernel)).collect::<Vec<_>>().join("\n"));
    }

    /// The sum, when the guest has ended. What did not come to its end has failed.
    pub(super) fn finish(mut self, ended: &Ended, log: &Path) -> Counts {
        let mut whole = Counts::default();
        if let Some(running) = self.running.take() {
            self.show(&running.said);
            let (name, test) = (running.job.name, running.test.unwrap_or_default());
            say(format_args!("{} {name}: it was running when the guest ended {test}", self.kernel));
        }
        let kernels = fs::read(log).unwrap_or_default();
        let kernels = String::from_utf8_lossy(&kernels);
        let complaint = kernels.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
        let missing: Vec<&str> =
            self.jobs.iter().map(|job| job.name).filter(|name| !self.ended.contains(name)).collect();
        for name in &missing {
            result(format_args!("{} {name}: FAILED (did not end)", self.kernel));
            whole += Counts::failure(name, &format!("did not end: the guest {}", ended.how));
        }
        if !missing.is_empty() || complaint.is_some() || ended.how != How::Itself {
            self.show(&kernels.lines().map(|line| format!("kernel: {line}")).collect::<Vec<_>>());
        }
        let verdict = complaint.map_or_else(|| "ok".to_owned(), |line| format!("FAILED ({})", line.trim()));
        result(format_args!("{} kernel has no complaints: {verdict}", self.kernel));
        whole += complaint.map_or_else(|| Counts::check(true), |line| Counts::failure("kernel", line.trim()));
        self.counts += whole.of(self.kernel);
        self.counts
    }
}

/// A job that was not begun, for the time was over.
pub(super) fn late(kernel: &str, job: &str) -> Counts {
    Counts::allowed_skip(&format!("{kernel} {job}: the time for other kernels was over"))
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
    fn what_fails_is_told_with_the_kernel_and_what_passes_when_it_is_run_again_is_not_steady() {
        let said = ["failures:", "---- b stdout ----", "thread 'b' (7) panicked at b.rs:3:5:", "no copy"];
        let again = [
            "=matrix= again b",
            "test b ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 1.50s",
        ];
        let first = [&SEED[..3], &said, &SEED[3..4]].concat();
        let steady =
            sum(&[&["=matrix= begin doctor", "=matrix= end doctor 0"], &first[..], &SEED[4..]].concat(), "");
        assert_eq!((steady.passed, steady.failed), (3, 1));
        assert_eq!(
            steady.complaints.iter().next().unwrap(),
            (&"6.1 seed b".to_owned(), &"no copy".to_owned())
        );
        let unsteady = sum(&[&first[..], &again, &SEED[4..]].concat(), "");
        assert_eq!((unsteady.passed, unsteady.failed), (3, 1), "the doctor did not end");
        assert_eq!(
            unsteady.unsteady,
            ["UNSTEADY: 6.1 seed: b failed, and passed when it was run again: no copy"]
        );
    }

    #[test]
    fn what_does_not_end_has_failed() {
        let counts = sum(&SEED[..2], "[    1.0] Kernel panic - not syncing: oops\n");
        assert_eq!((counts.passed, counts.failed), (0, 3));
    }

    #[test]
    fn what_is_late_is_left_out_by_name() {
        let counts = sum(&["=matrix= late doctor", "=matrix= late seed"], "");
        assert_eq!((counts.passed, counts.failed), (1, 0), "the kernel has no complaints");
        assert_eq!(counts.skipped.len(), 2);
        assert!(counts.skipped.iter().all(|line| line.contains("6.1 ") && line.contains("time")));
    }

    #[test]
    fn a_program_without_tests_has_failed() {
        let counts = sum(&["=matrix= begin seed", "Killed", "=matrix= end seed 0"], "");
        assert_eq!((counts.passed, counts.failed), (1, 2));
    }
}
