//! `cowtrace top` in a terminal: what it shows is what the report says, keys do what they are for, and the terminal is as
//! it was, however it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use cowtrace_tests::terminal::Terminal;
use cowtrace_tests::{Trace, binary, needs, programs};

/// Pages that each child of [`hold`] copies.
const PAGES: usize = 500;

/// A command line that traces `programs/hold.c` with three children; `options` are cowtrace's.
fn hold(terminal: &Terminal, options: &str) -> String {
    let (cowtrace, program) = (binary::cowtrace().display(), programs::built("hold"));
    let go = terminal.file("go");
    format!("{cowtrace} top --as-root {options} -- {} {} 3 {PAGES}", program.display(), go.display())
}

/// Lets the children of `hold` end.
fn go(terminal: &Terminal) {
    fs::write(terminal.file("go"), "").unwrap();
}

/// Runs `hold` until its children have copied all that they will, and the picture stands.
fn holding(terminal: &Terminal, options: &str) -> String {
    terminal.run(&format!("clear; {}; echo \"status $?.\"", hold(terminal, options)));
    terminal.wait("three children that hold still", |screen| {
        let sums = screen.lines().nth(1).unwrap_or_default();
        pages(sums).is_some_and(|pages| pages >= 3 * PAGES as u64) && sums.contains(" 0/s")
    })
}

/// The copied pages in the line of sums: `copied 5.9 MiB (1,512 pages)`.
fn pages(sums: &str) -> Option<u64> {
    let inside = sums.split_once('(')?.1.split_once(" page")?.0;
    inside.replace(',', "").parse().ok()
}

/// Bytes as the report writes them.
fn size(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1023.95 => format!("{kib:.1} KiB"),
        kib => format!("{:.1} MiB", kib / 1024.0),
    }
}

/// Settings of the terminal, by a shell in it.
fn settings(terminal: &Terminal, name: &str) -> String {
    let path = terminal.file(name);
    terminal.run(&format!("clear; stty -a > {}; echo do\"\"ne", path.display()));
    terminal.until("done");
    fs::read_to_string(path).unwrap()
}

/// What is shown is, at both sizes, what the report says when the view is ended at once: the sums, each process, the causes.
#[test]
fn the_numbers_are_the_reports() {
    if !needs::tracing() {
        return;
    }
    for (width, height) in [(80, 24), (200, 50)] {
        let terminal = Terminal::new(width, height);
        let file = terminal.file("trace.jsonl");
        let screen = holding(&terminal, &format!("-o {}", file.display()));
        for line in screen.lines() {
            assert!(line.chars().count() <= usize::from(width), "{line:?}");
        }
        for text in ["cowtrace top", "hold", "lost 0", "4 processes, 4 running", "not seen:", "q quit"] {
            assert!(screen.contains(text), "no {text:?}:\n{screen}");
        }
        terminal.press("q");
        terminal.until("goes on");
        go(&terminal);
        terminal.until("status 7.");
        let trace = Trace::read(&file);
        assert_eq!(trace.losses.iter().map(|loss| loss.count).sum::<u64>(), 0);
        let mut copied: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for fault in trace.faults.iter().filter(|fault| fault.outcome != "reuse") {
            let (all, anonymous) = copied.entry(fault.pid).or_default();
            *all += 1;
            *anonymous += if fault.outcome == "copy" { fault.bytes } else { 0 };
        }
        let all: u64 = copied.values().map(|(pages, _)| pages).sum();
        assert_eq!(pages(screen.lines().nth(1).unwrap()), Some(all), "{screen}");
        for process in &trace.processes {
            let row = screen.lines().find(|line| line.trim_start().starts_with(&format!("{} ", process.pid)));
            let row = row.unwrap_or_else(|| panic!("no row of {}:\n{screen}", process.pid));
            let (_, bytes) = copied.get(&process.pid).copied().unwrap_or_default();
            assert!(row.contains(&size(bytes)), "{} of {row:?}", size(bytes));
            if process.generation > 0 {
                assert!(row.contains(&size(process.inherited_bytes)), "{row:?}");
            }
        }
        let history = terminal.history();
        let total = history.lines().find(|line| line.starts_with("total ")).unwrap();
        assert_eq!(total.split_whitespace().nth(1).unwrap().replace(',', ""), all.to_string(), "{total}");
        // The children write at one place: its row, the first, has the same number in the report and on the screen.
        let row =
            history.lines().skip_while(|line| line.trim_end() != "your code").nth(1).unwrap_or_default();
        let pages = |word: &&str| word.replace(',', "").parse().is_ok_and(|pages: usize| pages >= 3 * PAGES);
        let number = row.split_whitespace().find(pages).unwrap_or_else(|| panic!("{row:?} of:\n{history}"));
        assert!(screen.split_whitespace().any(|word| word == number), "no {number}:\n{screen}");
    }
}

/// A trace of which sums are kept says at its end what one does that keeps every fault.
#[test]
fn sums_are_kept_of_many_faults() {
    if !needs::tracing() {
        return;
    }
    let terminal = Terminal::new(100, 50);
    let (cowtrace, program) = (binary::cowtrace().display(), programs::built("hold"));
    let (report, file) = (terminal.file("report.json"), terminal.file("run.cow"));
    go(&terminal);
    // 2 children, 5,000 pages, 25 rounds.
    terminal.run(&format!(
        "{cowtrace} top --as-root --json -o {} -- {} {} 2 5000 25 2> {}; echo \"status $?.\"",
        file.display(),
        program.display(),
        terminal.file("go").display(),
        report.display()
    ));
    terminal.until("status 7.");
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let text = fs::read_to_string(&report).unwrap();
    let kept = json(text.lines().find(|line| line.starts_with('{')).unwrap());
    let read = Command::new(binary::cowtrace()).args(["report", "--json"]).arg(&file).output().unwrap();
    let read = json(&String::from_utf8(read.stdout).unwrap());
    assert_eq!(kept["causes"], read["causes"]);
    assert_eq!(kept["processes"], read["processes"]);
    assert_eq!(kept["losses"], read["losses"]);
    let copies = kept["summary"]["copies"].as_u64().unwrap();
    assert!((250_000..255_000).contains(&copies), "{copies}");
    assert_eq!(kept["summary"]["lost"], 0, "{text}");
}

/// Keys do what the help says.
#[test]
fn keys() {
    if !needs::tracing() {
        return;
    }
    let terminal = Terminal::new(80, 24);
    holding(&terminal, "");
    for key in ["s", "s"] {
        terminal.press(key);
    }
    terminal.until("copies/s↓");
    terminal.press("r");
    terminal.until("copies/s↑");
    terminal.press("b");
    terminal.until("by: write");
    terminal.until("first write");
    terminal.press("Tab");
    terminal.type_in("/no such row");
    terminal.until("no row has the text of the filter");
    terminal.press("Escape");
    terminal.until("library data");
    terminal.press("Tab");
    terminal.press("Enter");
    terminal.until("causes of");
    terminal.press("Escape");
    terminal.press("p");
    terminal.until("PAUSED");
    // The command is not stopped, and its end ends a picture that stands still, too.
    terminal.press("?");
    terminal.until("any key leads back");
    terminal.press("x");
    terminal.resize(50, 10);
    terminal.until("needs 60 columns");
    terminal.resize(120, 40);
    terminal.until("PAUSED");
    assert!(terminal.colored().contains("\u{1b}[3"), "there are colours");
    go(&terminal);
    terminal.until("status 7.");
}

/// However it ends, the terminal is as it was, and the report follows.
#[test]
fn the_terminal_is_as_it_was() {
    if !needs::tracing() {
        return;
    }
    let terminal = Terminal::new(80, 24);
    let before = settings(&terminal, "before");
    for (end, status) in [("q", 7), ("C-c", 7), ("TERM", 143), ("HUP", 129), ("INT", 7), ("its own", 7)] {
        let _ = fs::remove_file(terminal.file("go"));
        holding(&terminal, "");
        assert_eq!(terminal.flags(), "1 0", "{end}: the screen is taken over");
        match end {
            "q" | "C-c" => terminal.press(end),
            "its own" => go(&terminal),
            signal => {
                let pid = cowtrace_of(&terminal);
                let killed = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
                assert!(killed.success());
            }
        }
        terminal.wait("the shell's screen", |_| terminal.flags() == "0 1");
        if status == 7 && end != "its own" {
            terminal.until("the command was running");
            go(&terminal);
        }
        let screen = terminal.until(&format!("status {status}."));
        assert!(screen.contains("seen by"), "{end}: the report follows:\n{screen}");
        assert_eq!(settings(&terminal, "after"), before, "{end}");
    }
}

/// The pid of the cowtrace that runs in a terminal, by the file that is in its command line alone.
fn cowtrace_of(terminal: &Terminal) -> String {
    let go = terminal.file("go").display().to_string();
    let is = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(&go) && line.split('\0').nth(1) == Some("top")
    };
    let names =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let found: Vec<String> = names.filter(|name| is(name)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

/// The command's input is empty and its output comes before the report, unless they are redirected: then they stay so.
#[test]
fn input_and_output() {
    if !needs::tracing() {
        return;
    }
    let terminal = Terminal::new(100, 50);
    holding(&terminal, "");
    terminal.press("o");
    terminal.until("the command's output (16 B");
    go(&terminal);
    terminal.until("status 7.");
    let history = terminal.history();
    let at = |text: &str| history.find(text).unwrap_or_else(|| panic!("no {text:?}:\n{history}"));
    assert!(at("input 0") < at("\nholding") && at("\ngoing") < at("3 child processes"), "{history}");

    let (input, output) = (terminal.file("input"), terminal.file("output"));
    fs::write(&input, "12345").unwrap();
    let hold = hold(&terminal, "-q");
    terminal.run(&format!("clear; {hold} < {} > {}; echo \"ended $?.\"", input.display(), output.display()));
    // Not the words of the run before, which may still stand there.
    terminal.until("ended 7.");
    assert_eq!(fs::read_to_string(output).unwrap(), "input 5\nholding\ngoing\n");
    assert!(!terminal.screen().contains("seen by"), "-q says nothing");
}

/// Processes that run already are looked at and let go: the end of the view is none of theirs.
#[test]
fn processes_that_run_already() {
    if !needs::tracing() {
        return;
    }
    let terminal = Terminal::new(120, 30);
    let (path, output) = (terminal.file("go"), terminal.file("output"));
    let mut hold = Command::new(programs::built("hold"))
        .args([path.to_str().unwrap(), "3", &PAGES.to_string()])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output).unwrap())
        .spawn()
        .unwrap();
    while !fs::read_to_string(&output).unwrap().contains("holding") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (cowtrace, pid) = (binary::cowtrace().display(), hold.id());
    terminal.run(&format!("clear; {cowtrace} top -p {pid}; echo \"status $?.\""));
    let screen = terminal.until("4 processes, 4 running");
    assert!(screen.contains(&format!("-p {pid}: ")) && screen.contains("lost 0"), "{screen}");
    terminal.press("q");
    terminal.until("status 0.");
    assert_eq!(terminal.flags(), "0 1");
    assert!(hold.try_wait().unwrap().is_none(), "it goes on");
    go(&terminal);
    assert_eq!(hold.wait().unwrap().code(), Some(7));
}

/// What cannot be shown, and what cannot be run, is said in a sentence; the terminal is not touched.
#[test]
fn refusals() {
    if !needs::tracing() {
        return;
    }
    let top = |term: &str| {
        let mut command = Command::new(binary::cowtrace());
        command.args(["top", "--", "true"]).env("TERM", term).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, words) = top("xterm");
    assert_eq!(status, Some(125));
    assert!(words.contains("neither stdout nor stderr is one") && words.lines().count() == 1, "{words}");
    let (status, words) = top("dumb");
    assert!(status == Some(125) && words.contains("TERM"), "{words}");
    let terminal = Terminal::new(80, 24);
    terminal.run(&format!("{} top -- no-such-command; echo \"status $?.\"", binary::cowtrace().display()));
    let screen = terminal.until("status 127.");
    assert!(screen.contains("command not found"), "{screen}");
}
