//! Counts of tests, read from what test programs print.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// Begins the line of a test that could not run here.
const SKIPPED: &str = "SKIPPED: ";
/// The same, for reasons that may hold on every machine.
const ALLOWED: &str = "SKIPPED (allowed): ";

/// Begins the line of a test that passed only when it was run again.
const UNSTEADY: &str = "UNSTEADY: ";

/// Characters kept of what a failed test said.
const COMPLAINT: usize = 400;

/// How many tests and checks passed and failed, and which were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Tests marked `#[ignore]`.
    pub(crate) ignored: usize,
    /// The lines of skipped tests, markers included.
    pub(crate) skipped: Vec<String>,
    /// What each failed test said, by its name.
    pub(crate) complaints: BTreeMap<String, String>,
    /// Tests that failed at first and passed when they were run again, counted as passed: a line each.
    pub(crate) unsteady: Vec<String>,
}

impl Counts {
    /// One check that is no test of its own.
    pub(crate) fn check(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), ..Self::default() }
    }

    /// One failed check, and what was wrong.
    pub(crate) fn failure(name: &str, complaint: &str) -> Self {
        let complaints = BTreeMap::from([(name.to_owned(), complaint.to_owned())]);
        Self { complaints, ..Self::check(false) }
    }

    /// The same where it is one of several in which tests have the same names.
    pub(crate) fn of(mut self, place: &str) -> Self {
        let complaints = std::mem::take(&mut self.complaints).into_iter();
        self.complaints = complaints.map(|(test, said)| (format!("{place} {test}"), said)).collect();
        let line = |line: String, marks: &[&str]| {
            let mark = marks.iter().find(|mark| line.starts_with(**mark)).copied().unwrap_or_default();
            format!("{mark}{place}: {}", line.get(mark.len()..).unwrap_or_default())
        };
        self.skipped = self.skipped.into_iter().map(|text| line(text, &[SKIPPED, ALLOWED])).collect();
        self.unsteady = self.unsteady.into_iter().map(|text| line(text, &[UNSTEADY])).collect();
        self
    }

    /// One check that could not be made.
    pub(crate) fn skip(reason: &str) -> Self {
        Self { skipped: vec![format!("{SKIPPED}{reason}")], ..Self::default() }
    }

    /// One check that could not be made, for a reason that may hold on every machine.
    pub(crate) fn allowed_skip(reason: &str) -> Self {
        Self { skipped: vec![format!("{ALLOWED}{reason}")], ..Self::default() }
    }

    /// What came of running one failed test again: if it passed, it is a passed test that is not steady.
    pub(crate) fn run_again(&mut self, test: &str, again: &Self) {
        if (again.passed, again.failed) != (1, 0) {
            return;
        }
        self.failed -= 1;
        self.passed += 1;
        let complaint = self.complaints.remove(test).unwrap_or_default();
        self.unsteady.push(format!("{UNSTEADY}{test} failed, and passed when it was run again: {complaint}"));
    }

    /// Where nothing may be left out without notice, a skip is a failure unless it says that it is allowed.
    pub(crate) fn strict(mut self) -> Self {
        self.failed += self.skipped.iter().filter(|line| !line.starts_with(ALLOWED)).count();
        self.skipped.retain(|line| line.starts_with(ALLOWED));
        self
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped.extend(other.skipped);
        self.complaints.extend(other.complaints);
        self.unsteady.extend(other.unsteady);
    }
}

/// Reads the lines of one or more test programs, run with `--show-output`.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    counts: Counts,
    /// The test whose output is being shown.
    shown: Option<String>,
    /// Tests of the current program that printed a skip: the harness counts them as passed.
    skipping: BTreeSet<String>,
    /// Tests of the current program that failed: a skip of a part does not make them passed.
    failing: BTreeSet<String>,
    /// The last line was a panic's first, of the test whose output is being shown; its message comes next.
    panicked: bool,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        if std::mem::take(&mut self.panicked) {
            self.complain(line);
        }
        if let Some(test) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.shown = Some(test.to_owned());
        } else if line.starts_with("test result: ") {
            self.result(line);
        } else if let Some(test) =
            line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failing.insert(test.to_owned());
        } else if let Some(skip) = skip_in(line) {
            // What goes past the harness' capture stands behind the name of the test that is running.
            let running = line.strip_prefix("test ").and_then(|line| line.split(" ... ").next());
            let test = running.map(str::to_owned).or_else(|| self.shown.clone());
            self.skipping.extend(test);
            self.counts.skipped.push(skip.to_owned());
        } else if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.panicked = true;
        }
    }

    /// The message of the first panic of a failed test.
    fn complain(&mut self, message: &str) {
        let Some(test) = self.shown.as_ref().filter(|test| self.failing.contains(*test)) else { return };
        let complaint = self.counts.complaints.entry(test.clone()).or_default();
        if complaint.is_empty() {
            *complaint = message.chars().take(COMPLAINT).collect();
        }
    }

    /// A program's last line: "test result: ok. 3 passed; 0 failed; 1 ignored; …".
    fn result(&mut self, line: &str) {
        let count = |what: &str| {
            let numbers = line.split([';', '.']).filter_map(|part| part.trim().strip_suffix(what));
            numbers.filter_map(|number| number.trim().parse::<usize>().ok()).sum::<usize>()
        };
        self.counts.passed += count("passed").saturating_sub(self.skipping.difference(&self.failing).count());
        self.counts.failed += count("failed");
        self.counts.ignored += count("ignored");
        self.skipping.clear();
        for test in std::mem::take(&mut self.failing) {
            self.counts.complaints.entry(test).or_default();
        }
        self.shown = None;
    }

    pub(crate) fn finish(self) -> Counts {
        self.counts
    }
}

/// The skip that a line says, if any.
fn skip_in(line: &str) -> Option<&str> {
    let text = match line.strip_prefix("test ") {
        Some(rest) => rest.split_once(" ... ").map_or(line, |(_, text)| text),
        None => line,
    };
    (text.starts_with(SKIPPED) || text.starts_with(ALLOWED)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Counts {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish()
    }

    #[test]
    fn results_of_all_programs_are_added() {
        let counts = read(
            "running 3 tests\ntest a ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s\n\
             test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n",
        );
        assert_eq!(counts, Counts { passed: 13, failed: 2, ignored: 1, ..Counts::default() });
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        let counts = read(
            "test a ... ok\ntest b ... ok\nsuccesses:\n\n---- b stdout ----\nSKIPPED: no python3.8\n\
             SKIPPED (allowed): no python3.15\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n",
        );
        assert_eq!(counts.passed, 1);
        assert_eq!(counts.skipped, ["SKIPPED: no python3.8", "SKIPPED (allowed): no python3.15"]);
    }

    #[test]
    fn a_failed_test_stays_failed_when_it_skipped_a_part() {
        let counts = read(
            "test a ... ok\ntest b ... FAILED\n---- b stdout ----\nSKIPPED: no python3.8\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n",
        );
        assert_eq!((counts.passed, counts.failed, counts.skipped.len()), (1, 1, 1));
    }

    #[test]
    fn failed_tests_are_told_by_name_with_what_they_said() {
        let text = "test a ... FAILED\ntest b ... FAILED\nfailures:\n---- a stdout ----\n\
             thread 'a' (7) panicked at tests/a.rs:3:5:\nassertion failed: x\nthread 'a' (8) panicked at b.rs:1:1:\nno\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let mut counts = read(text);
        let said = |test: &str, what: &str| (test.to_owned(), what.to_owned());
        assert_eq!(counts.complaints, BTreeMap::from([said("a", "assertion failed: x"), said("b", "")]));
        counts.run_again("b", &Counts::check(false));
        counts.run_again("b", &Counts::default());
        assert_eq!((counts.passed, counts.failed, counts.unsteady.len()), (0, 2, 0));
        counts.run_again("a", &Counts::check(true));
        assert_eq!((counts.passed, counts.failed), (1, 1));
        assert_eq!(counts.complaints, BTreeMap::from([said("b", "")]));
        assert_eq!(
            counts.unsteady,
            ["UNSTEADY: a failed, and passed when it was run again: assertion failed: x"]
        );
    }

    #[test]
    fn a_skip_that_was_not_captured_is_seen_too() {
        let counts = read(
            "test a ... SKIPPED: no kprobes\nok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n",
        );
        assert_eq!(counts, Counts { skipped: vec!["SKIPPED: no kprobes".into()], ..Counts::default() });
    }

    #[test]
    fn where_it_is_strict_only_allowed_skips_remain() {
        let mut counts = Counts::skip("no root");
        counts += Counts { skipped: vec!["SKIPPED (allowed): arm64 only".into()], ..Counts::check(true) };
        let strict = counts.strict();
        assert_eq!((strict.passed, strict.failed), (1, 1));
        assert_eq!(strict.skipped, ["SKIPPED (allowed): arm64 only"]);
    }
}
