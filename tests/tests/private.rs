//! Since when a page is private in each process, and by which write: `--key` and `--page`, in the text and in JSON.
#![expect(clippy::panic, clippy::print_stdout, reason = "helpers of tests; what is told is worth reading")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cowtrace_tests::process::Output;
use cowtrace_tests::python::Interpreter;
use cowtrace_tests::trace::Page;
use cowtrace_tests::{Fault, Run, Started, Trace, Traced, binary, check, needs, programs, python, seed};
use serde::Deserialize;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// What is asked.
const KEY: &str = "sys.modules[statistics]";
/// How it is called in the answer.
const NAME: &str = "sys.modules['statistics']";
/// Kinds of operations and writes that name nothing.
const NAMELESS: &str = "unknown";

/// What one script did, asked about the key.
struct Asked {
    trace: Trace,
    /// The report's words.
    report: String,
    /// The script, as the program sees it.
    script: PathBuf,
    /// The workers that ran a task.
    workers: BTreeSet<u32>,
}

impl Asked {
    fn new(run: Run, script: PathBuf) -> Self {
        let Traced { trace, finished } = run.flag("--key").flag(KEY).reported();
        let (report, stdout) = (finished.stderr_words(), finished.stdout_text());
        assert_eq!(finished.code(), 0, "{report}\n{stdout}");
        check::nothing_lost(&trace);
        check::totals_add_up(&trace);
        Self { trace, report, script, workers: seed::workers(&stdout) }
    }

    /// What is told of a process, in JSON, and in the text the same.
    fn answers(&self, pid: u32) -> Vec<&Page> {
        let found: Vec<&Page> = self.trace.pages.iter().filter(|page| page.pid == pid).collect();
        for page in &found {
            assert_eq!(page.key.as_deref(), Some(NAME), "{page:?}");
            let begin = match (page.state.as_str(), page.outcome.as_deref()) {
                ("replaced", _) => "its table was full at the fork; the key went to a new one, after ",
                (_, Some("copy")) => "copied at ",
                (_, Some("reuse")) => "taken over as its last owner at ",
                _ => panic!("{page:?}\n{}", self.report),
            };
            assert!(self.sentence(page).starts_with(begin), "{page:?}: {}", self.sentence(page));
        }
        found
    }

    /// What is told of a process that had the key when it was forked: there must be one answer.
    fn answer(&self, pid: u32) -> &Page {
        let found = self.answers(pid);
        let [page] = found[..] else { panic!("answers for process {pid}: {found:#?}\n{}", self.report) };
        assert_eq!(page.added, None, "{page:?}");
        page
    }

    /// What is told is the import, at its line.
    fn is_import(&self, page: &Page, line: u32) {
        let operation = page.operation.as_ref();
        assert_eq!(operation.map(|operation| operation.kind.as_str()), Some("import"), "{page:?}");
        assert!(operation.is_some_and(|o| o.chain.iter().any(|module| module == "statistics")), "{page:?}");
        assert_eq!(page.site.as_ref().and_then(|site| site.line_in(&self.script)), Some(line), "{page:?}");
    }

    fn in_task(&self, fault: &Fault) -> bool {
        fault.python.iter().any(|frame| Path::new(&frame.file) == self.script && frame.function == "f")
    }

    /// The report's words about this page, behind the process and the address.
    fn sentence(&self, page: &Page) -> &str {
        let comm = &self.trace.process(page.pid).comm;
        let added = match page.added.as_deref() {
            None => "",
            Some("here") => ", added after its fork",
            Some(_) => " or another page, added after its fork",
        };
        let begin = format!("{} {comm} ({:#x}{added}): ", page.pid, page.address);
        let at = self.report.find(&begin);
        at.map_or_else(
            || panic!("{begin:?} is not in {}", self.report),
            |at| &self.report[at + begin.len()..],
        )
    }

    /// The write that an answer speaks of, which must be one of the listed ones.
    fn told(&self, page: &Page) -> &Fault {
        assert_eq!(page.state, "private", "{page:?}\n{}", self.report);
        let found = self.trace.faults_of(page.pid).find(|fault| Some(fault.time) == page.time);
        let fault =
            found.unwrap_or_else(|| panic!("no fault of process {} at that time: {page:?}", page.pid));
        assert_eq!(fault.address / PAGE, page.address / PAGE, "{page:?}: {fault:?}");
        assert_eq!(page.outcome.as_deref(), Some(fault.outcome.as_str()), "{page:?}: {fault:?}");
        let kinds = (page.operation.as_ref().map(|o| &o.kind), page.write.as_ref().map(|w| &w.kind));
        assert_eq!(kinds, (Some(&fault.operation.kind), Some(&fault.write.kind)), "{page:?}: {fault:?}");
        let line = page.site.as_ref().and_then(|site| site.line);
        assert_eq!(line, fault.site.as_ref().and_then(|site| site.line), "{page:?}: {fault:?}");
        fault
    }

    fn swap_in(&self, pid: u32) -> Option<&Fault> {
        self.trace.faults_of(pid).find(|fault| fault.operation.kind == "module_swap")
    }

    /// The answer for a worker that swapped is the swap itself, at its own address and line.
    fn is_the_swap(&self, page: &Page, swap: &Fault, line: u32) {
        let told = self.told(page);
        assert_eq!((told.time, told.address), (swap.time, swap.address), "{page:?}: {swap:?}");
        assert_eq!(page.address, swap.address, "another place is told: {page:?}");
        let operation = page.operation.as_ref().and_then(|operation| operation.name.as_deref());
        assert_eq!(operation, Some("statistics"), "{page:?}");
        let write = page.write.as_ref().map(|write| (write.kind.as_str(), write.name.as_deref()));
        assert_eq!(write, Some(("dict_entry", Some(NAME))), "{page:?}");
        assert_eq!(page.site.as_ref().and_then(|site| site.line_in(&self.script)), Some(line), "{page:?}");
        let name = self.script.file_name().expect("a script has a name").to_string_lossy();
        let end = format!("at {name}:{line} (f)");
        let words = self.sentence(page);
        let words = &words[..words.find(&end).map_or(words.len(), |at| at + end.len())];
        assert!(words.ends_with(&end), "{words}");
        assert!(words.contains(&format!("by dict entry {NAME}, ")), "{words}");
    }
}

fn on_some(wanted: impl Fn(&Interpreter) -> bool, check: impl Fn(&Interpreter)) {
    if needs::tracing() {
        python::on_each(1, |interpreter| {
            if wanted(interpreter) {
                check(interpreter);
            }
        });
    }
}

/// Checks the answer for every worker that ran a task of the scripts that swap: with the swap, if it wrote its page first.
fn of_each_swapper(
    wanted: impl Fn(&Interpreter) -> bool,
    check: impl Fn(&Asked, u32, &Page, Option<&Fault>, u32),
) {
    on_some(wanted, |interpreter| {
        for (name, assignment) in [("5_swap_same", "= 12345678902345678"), ("6_swap_each", "= n")] {
            let script = seed::script(name);
            let line = programs::line_ending(&script, assignment);
            let asked = Asked::new(seed::run(interpreter, &script), interpreter.seen(&script));
            for &worker in &asked.workers {
                check(&asked, worker, asked.answer(worker), asked.swap_in(worker), line);
            }
        }
    });
}

/// Where pools fork, every worker that ran a task has swapped the entry, and the answer is that swap.
#[test]
fn key_that_forked_workers_swap() {
    of_each_swapper(seed::forks_by_default, |asked, worker, page, swap, line| {
        let swap = swap.unwrap_or_else(|| panic!("no swap in worker {worker}"));
        asked.is_the_swap(page, swap, line);
    });
}

/// Where a server forks the workers, their own start may have made the page private before: then the answer is that, with
/// its time, and otherwise the swap. It is never nothing.
#[test]
fn key_that_workers_of_a_server_swap() {
    of_each_swapper(
        |interpreter| !seed::forks_by_default(interpreter),
        |asked, _, page, swap, line| match swap {
            Some(swap) => asked.is_the_swap(page, swap, line),
            None => is_earlier(asked, page),
        },
    );
}

/// The page was made private by something that has a name, before the task was run.
fn is_earlier(asked: &Asked, page: &Page) {
    let told = asked.told(page);
    is_named(page, told);
    let task = asked.trace.faults_of(page.pid).find(|fault| asked.in_task(fault));
    assert!(task.is_none_or(|task| told.time < task.time), "not before the task: {page:?}");
}

/// What made a page private has a name, not only a time.
fn is_named(page: &Page, told: &Fault) {
    println!("{}, {:?}: {:?}, {:?}", page.pid, page.added, told.write, told.operation);
    for kind in [&told.operation.kind, &told.write.kind] {
        assert_ne!(kind, NAMELESS, "{page:?}");
    }
}

/// Modules that only the workers import, forked or not: for every worker that ran a task is told which write made the page
/// private to which the entry was added. That was the import, or something before it.
#[test]
fn key_that_workers_add() {
    on_some(
        |_| true,
        |interpreter| {
            let script = seed::script("4_import_in_worker");
            let line = programs::line_ending(&script, "import statistics");
            let asked = Asked::new(seed::run(interpreter, &script), interpreter.seen(&script));
            for &worker in &asked.workers {
                let pages = asked.answers(worker);
                assert!(!pages.is_empty(), "nothing is told of worker {worker}: {}", asked.report);
                let added = if pages.len() == 1 { "here" } else { "perhaps" };
                for page in pages {
                    if page.state == "replaced" {
                        // Which is so where the parent's table happens to be full, as Debian's 3.11 has it.
                        asked.is_import(page, line);
                        continue;
                    }
                    assert_eq!(page.added.as_deref(), Some(added), "{page:?}");
                    let told = asked.told(page);
                    is_named(page, told);
                    if told.line_in(&asked.script) == Some(line) {
                        asked.is_import(page, line);
                    }
                    assert!(told.line_in(&asked.script) == Some(line) || !asked.in_task(told), "{told:?}");
                }
            }
            // Who ran no task has no such key.
            for page in &asked.trace.pages {
                assert!(asked.workers.contains(&page.pid), "{page:?}");
            }
        },
    );
}

/// An address in memory that nothing else is near.
const FIXED: u64 = 0x1000_0000_0000;

/// What the script of a fixed address says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    /// The child.
    pid: u32,
    /// What is mapped.
    start: u64,
    end: u64,
}

/// The first write to a page is told with its time, line and outcome, whatever part of the page is asked about; of a page
/// that only its parent wrote, before the fork, a child is told to share it.
#[test]
fn page_by_its_address() {
    let source = programs::workload("experiments/fixed.py");
    let line = programs::line_ending(&source, "  # the write");
    on_some(
        |_| true,
        |interpreter| {
            let (written, unwritten) = (FIXED + 100, FIXED + PAGE);
            let mut run = interpreter.run(&source).arg(format!("{FIXED:#x}"));
            // One as people copy it from elsewhere, one in decimal.
            for address in [format!("{written:#x}"), unwritten.to_string()] {
                run = run.flag("--page").flag(address);
            }
            let Traced { trace, finished } = run.reported();
            let report = finished.stderr_words();
            assert_eq!(finished.code(), 0, "{report}\n{}", finished.stdout_text());
            check::nothing_lost(&trace);
            check::totals_add_up(&trace);
            let told: Told =
                serde_json::from_slice(&finished.stdout).expect("the script prints one JSON object");
            assert_eq!(told.start, FIXED);

            let faults: Vec<&Fault> =
                trace.faults.iter().filter(|fault| (told.start..told.end).contains(&fault.address)).collect();
            let [fault] = faults[..] else { panic!("faults there: {faults:#?}") };
            assert_eq!((fault.pid, fault.address), (told.pid, FIXED + 5), "{fault:?}");
            assert_eq!(fault.line_in(&interpreter.seen(&source)), Some(line), "{fault:?}");

            let parent = trace.process(told.pid).ppid;
            let answers: Vec<(u32, u64, &str)> =
                trace.pages.iter().map(|page| (page.pid, page.address, page.state.as_str())).collect();
            let expected = [
                (parent, written, "shared"),
                (told.pid, written, "private"),
                (parent, unwritten, "shared"),
                (told.pid, unwritten, "shared"),
            ];
            assert_eq!(answers, expected, "{:#?}", trace.pages);
            for page in &trace.pages {
                let write = (page.state == "private").then_some(fault);
                assert_eq!(page.time, write.map(|fault| fault.time), "{page:?}");
                assert_eq!(page.outcome.as_deref(), write.map(|fault| fault.outcome.as_str()), "{page:?}");
                let site = page.site.as_ref().and_then(|site| site.line_in(&interpreter.seen(&source)));
                assert_eq!(site, write.map(|_| line), "{page:?}");
            }
            let comm = |pid| format!("{pid} {}", trace.process(pid).comm);
            let (parent, child) = (comm(parent), comm(told.pid));
            for sentence in [
                format!(
                    "the page of {written:#x}: {parent}: never written by this process after its last fork: still shared"
                ),
                format!(" {child}: copied at "),
                format!(" at fixed.py:{line} "),
                format!(
                    "the page of {unwritten:#x}: {parent}: never written by this process after its last fork: still \
                     shared, if it is mapped {child}: never written by this process after its fork: still shared, if it is \
                     mapped"
                ),
            ] {
                assert!(report.contains(&sentence), "{sentence:?} is not in {report}");
            }
        },
    );
}

/// What is no address and no key is refused before anything is run, in one sentence that says what would be one.
#[test]
fn what_is_no_question() {
    for (flag, value, reason) in [
        ("--page", "7f00deadbeef", "not an address: a number as in 0x7f00deadbeef or 140000"),
        ("--page", "0x", "not an address: a number as in 0x7f00deadbeef or 140000"),
        ("--page", "0x10000000000000000", "not an address: a number as in 0x7f00deadbeef or 140000"),
        ("--key", "statistics", "not a key as in sys.modules[statistics]"),
        ("--key", "sys.modules[]", "not a key as in sys.modules[statistics]"),
        ("--key", "os.environ[HOME]", "not a key as in sys.modules[statistics]"),
    ] {
        let mut command = Command::new(binary::cowtrace());
        command.args([flag, value, "--", "echo", "it was run"]);
        let finished = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(30)).finish();
        let text = finished.stderr_text();
        assert_eq!(finished.code(), 2, "{flag} {value}: {text}");
        assert!(finished.stdout.is_empty(), "{flag} {value}: {}", finished.stdout_text());
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains(value) && first.contains(flag) && first.ends_with(reason), "{text}");
        assert!(text.lines().count() <= 3, "{text}");
    }
}
