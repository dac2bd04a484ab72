use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::{
    Arguments, Color, Options, Target, Task, format_names, format_of, parse_from, report_names, sort_names,
};
use crate::process::identity::RunAs;

fn parsed(words: &str) -> Result<Task, clap::Error> {
    parse_from(["cowtrace"].into_iter().chain(words.split_whitespace()).map(OsString::from))
}

fn options(words: &str) -> Options {
    trace(parsed(words).unwrap())
}

fn trace(task: Task) -> Options {
    match task {
        Task::Trace(options) => *options,
        other => panic!("{other:?}"),
    }
}

/// The command that is to be run, and whom as.
fn command(options: Options) -> (Vec<OsString>, RunAs) {
    match options.target {
        Target::Command { words, run_as } => (words, run_as),
        other @ Target::Attach { .. } => panic!("{other:?}"),
    }
}

fn command_of(words: &str) -> Vec<OsString> {
    command(options(words)).0
}

/// Refused with status 2 and these words.
fn refused(words: &str, with: &str) {
    let error = parsed(words).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{words}");
    assert!(error.to_string().contains(with), "{words}: {error}");
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn what_follows_the_command_belongs_to_it() {
    for (words, expected) in [
        ("ls", vec!["ls"]),
        ("-- ls", vec!["ls"]),
        ("-q ls -q --by x", vec!["ls", "-q", "--by", "x"]),
        ("-q -- ls -v", vec!["ls", "-v"]),
        ("ls --help", vec!["ls", "--help"]),
        ("sh -c x -- y", vec!["sh", "-c", "x", "--", "y"]),
        ("-- sh -- y", vec!["sh", "--", "y"]),
        ("-- -odd --version", vec!["-odd", "--version"]),
        ("--limit 3 python -m http.server -d .", vec!["python", "-m", "http.server", "-d", "."]),
    ] {
        assert_eq!(command_of(words), expected, "{words}");
    }
}

#[test]
fn a_command_may_be_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(vec![b'a', 0xff]);
    let words = ["cowtrace".into(), "x".into(), odd.clone(), String::new().into()];
    assert_eq!(command(trace(parse_from(words).unwrap())).0, ["x".into(), odd, OsString::new()]);
}

#[test]
fn options_have_their_defaults() {
    let options = options("ls");
    assert_eq!(command(options.clone()).1, RunAs::Caller);
    assert_eq!((options.duration, options.buffer, options.memory), (None, 64 << 20, None));
    assert!(options.output.is_none());
    assert!(!options.latency && !options.all && options.verbose == 0);
    let report = options.report.unwrap();
    assert_eq!((report.by, report.sort, report.limit, report.json), (None, None, None, false));
    assert_eq!(report.color, Color::Auto);
}

#[test]
fn options_are_read() {
    assert_eq!(command(options("--as-root ls")).1, RunAs::AsIs);
    assert_eq!(command(options("--user ann ls")).1, RunAs::User("ann".into()));
    assert_eq!(options("-d 0.25 ls").duration, Some(Duration::from_millis(250)));
    assert_eq!(options("-vv ls").verbose, 2);
    assert_eq!(options("-q ls").report, None);
    let report = options("--by site --sort pages --limit 0 --json --color never ls").report.unwrap();
    assert_eq!((report.by.as_deref(), report.sort.as_deref()), (Some("site"), Some("pages")));
    assert_eq!((report.limit, report.json, report.color), (Some(0), true, Color::Never));
}

/// Processes and a control group stand for a command, and for nothing that is about one.
#[test]
fn processes_may_be_named() {
    let attach = |words: &str| match options(words).target {
        Target::Attach { pids, cgroup } => (pids, cgroup),
        other @ Target::Command { .. } => panic!("{other:?}"),
    };
    assert_eq!(attach("-p 7"), (vec![7], None));
    assert_eq!(attach("-p 7,8 --pid 9 -d 3"), (vec![7, 8, 9], None));
    assert_eq!(attach("record -p 7 -o x.cow"), (vec![7], None));
    assert_eq!(attach("--cgroup a/b.service"), (vec![], Some("a/b.service".into())));
    assert_eq!(options("-p 7,8").target.name(), "7, 8");
    refused("-p 7 ls", "cannot be used with");
    refused("-p 7 -- ls", "cannot be used with");
    refused("--cgroup x ls", "cannot be used with");
    refused("-p 7 --as-root", "cannot be used with");
    refused("-p 7 --user ann", "cannot be used with");
    for odd in ["0", "=-1", "x", "4294967295", "7,x", "7,", "''"] {
        refused(&format!("-p {odd}"), "number of a process");
    }
    refused("-p -1", "-1");
    refused("-p", "PID");
}

#[test]
fn wrong_usage_is_refused_with_a_reason() {
    refused("--no-such-option ls", "--no-such-option");
    refused("-q", "COMMAND");
    refused("--as-root --user ann ls", "cannot be used with");
    refused("--by nothing ls", "operation");
    refused("-f jsonl ls", "--output");
    refused("-d 0 ls", "above 0");
    refused("-d -1 ls", "-1");
    refused("-d=-1 ls", "above 0");
    refused("-d inf ls", "above 0");
    refused("-d NaN ls", "above 0");
    refused("-d soon ls", "seconds");
    refused("-o trace.docx ls", "jsonl");
    refused("--limit x ls", "invalid");
    let nothing = parsed("").unwrap_err();
    assert_eq!(
        (nothing.exit_code(), nothing.kind()),
        (2, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    );
}

#[test]
fn help_and_version_are_no_failures() {
    for words in ["--help", "-h", "--version", "-V"] {
        assert_eq!(parsed(words).unwrap_err().exit_code(), 0, "{words}");
    }
    let help = parsed("--help").unwrap_err().to_string();
    assert!(help.contains("Examples:") && help.contains("[--] COMMAND [ARGS]..."), "{help}");
}

#[test]
fn a_buffer_is_a_power_of_two_in_bounds() {
    let buffer = |text: &str| options(&format!("--buffer {text} ls")).buffer;
    let page = u32::try_from(procfs::page_size()).unwrap();
    assert_eq!([buffer("1"), buffer("4096")], [page, page.max(4096)]);
    assert_eq!([buffer("100K"), buffer("100kB"), buffer("100KiB")], [128 << 10; 3]);
    assert_eq!(
        [buffer("64M"), buffer("65m"), buffer("1G"), buffer("2G")],
        [64 << 20, 128 << 20, 1 << 30, 1 << 31]
    );
    for (text, why) in [
        ("3G", "at most 2G"),
        ("99999999999G", "at most 2G"),
        ("0", "at least"),
        ("M", "not a size"),
        ("1.5M", "not a size"),
        ("1T", "not a size"),
        ("99999999999999999999999", "not a size"),
    ] {
        refused(&format!("--buffer {text} ls"), why);
    }
}

#[test]
fn memory_is_a_size_above_nothing() {
    let memory = |text: &str| options(&format!("--memory {text} ls")).memory;
    assert_eq!([memory("1"), memory("5000")], [Some(1), Some(5000)]);
    assert_eq!([memory("100K"), memory("100kB"), memory("100KiB")], [Some(100 << 10); 3]);
    assert_eq!([memory("96M"), memory("3g")], [Some(96 << 20), Some(3 << 30)]);
    // The last that 64 bits hold.
    assert_eq!(memory("17179869183G"), Some(17_179_869_183 << 30));
    for (text, why) in [
        ("0", "memory could have"),
        ("0G", "memory could have"),
        ("17179869184G", "memory could have"),
        ("M", "not a size"),
        ("-1", "-1"),
        ("=-1", "not a size"),
        ("1.5M", "not a size"),
        ("1T", "not a size"),
        ("half", "not a size"),
        ("99999999999999999999", "not a size"),
    ] {
        refused(&format!("--memory {text} ls"), why);
    }
    refused("--memory", "SIZE");
    // Wherever there is a trace, and nowhere else.
    assert_eq!(options("record --memory 1G -o x.cow ls").memory, Some(1 << 30));
    refused("report --memory 1G x.cow", "--memory");
}

#[test]
fn colours_are_for_terminals() {
    let answer = |color: Color, terminal, no_color: Option<&str>, term: Option<&str>| {
        color.applies(terminal, no_color.map(AsRef::as_ref), term.map(AsRef::as_ref))
    };
    assert!(answer(Color::Auto, true, None, Some("xterm")));
    assert!(answer(Color::Auto, true, Some(""), None));
    assert!(!answer(Color::Auto, false, None, None));
    assert!(!answer(Color::Auto, true, Some("1"), None));
    assert!(!answer(Color::Auto, true, None, Some("dumb")));
    assert!(answer(Color::Always, false, Some("1"), None));
    assert!(!answer(Color::Never, true, None, None));
}

#[test]
fn every_name_of_the_tables_is_accepted() {
    for name in report_names() {
        assert!(parsed(&format!("--by {name} ls")).is_ok());
    }
    for name in sort_names() {
        assert!(parsed(&format!("--sort {name} ls")).is_ok());
    }
    for name in format_names() {
        assert_eq!(options(&format!("-o x -f {name} ls")).output.unwrap().format, *name);
    }
    assert_eq!(format_of(Path::new("a/b.jsonl")), Ok("jsonl"));
    assert_eq!(format_of(Path::new("a/b.cow")), Ok("cow"));
    assert!(format_of(Path::new("jsonl")).is_err());
}

/// Pages are asked about by address or key, as often as one likes; the words are checked before anything runs.
#[test]
fn questions_about_pages() {
    use crate::report::private::Question;
    let asked = options("--page 0x7f00 --key sys.modules['os'] --page 12 --explain ls");
    let expected = [Question::Page(0x7f00), Question::Page(12), Question::Key("os".to_owned())];
    assert_eq!(asked.questions, expected);
    assert!(asked.report.is_some_and(|report| report.explain));
    refused("--page x ls", "not an address");
    refused("--key os ls", "not a key");
}

/// What is called like a subcommand is one, unless it comes behind `--`.
#[test]
fn subcommands_are_told_from_commands() {
    assert!(
        matches!(parsed("report run.cow").unwrap(), Task::Report(show) if show.file == Path::new("run.cow"))
    );
    assert!(matches!(parsed("info run.cow --json").unwrap(), Task::Info(info) if info.json));
    assert_eq!(command_of("-- report run.cow"), ["report", "run.cow"]);
    assert_eq!(command_of("env report run.cow"), ["env", "report", "run.cow"]);
    let recorded = options("record -d 2 -- ls -o x");
    assert_eq!(command(recorded.clone()).0, ["ls", "-o", "x"]);
    assert_eq!((recorded.report, recorded.duration), (None, Some(Duration::from_secs(2))));
    let output = recorded.output.unwrap();
    assert!(output.is_recording() && !output.force && output.path == Path::new("cowtrace.cow"));
    assert!(!options("record -o x.jsonl ls").output.unwrap().is_recording());
    assert!(options("-o x.cow --force ls").output.is_some_and(|output| output.force));
    refused("record", "COMMAND");
    refused("record --by site ls", "--by");
    refused("report", "FILE");
    refused("report x.cow y.cow", "y.cow");
    refused("export x.cow", "--output");
    refused("export x.cow -o y.cow", "another format");
    refused("export x.cow -o y", "--format");
    refused("export x.cow -o y.json", "choose one with --format (jsonl");
}

/// `top` takes what a trace takes, and what of the report's options has a meaning while it runs.
#[cfg(feature = "top")]
#[test]
fn a_trace_that_is_looked_at() {
    let top = |words: &str| match parsed(words).unwrap() {
        Task::Top(options) => *options,
        other => panic!("{other:?}"),
    };
    let plain = top("top -- ls --by x");
    assert_eq!(command(plain.clone()).0, ["ls", "--by", "x"]);
    assert_eq!(plain.output, None, "it writes no recording unless it is told to");
    let report = plain.report.unwrap();
    assert!(report.filter.is_everything() && !report.json && report.color == Color::Auto);
    let told = top("top --by site --json -d 2 -o x.cow --as-root ls");
    assert_eq!((told.duration, command(told.clone()).1), (Some(Duration::from_secs(2)), RunAs::AsIs));
    assert_eq!(told.report.map(|report| (report.by, report.json)), Some((Some("site".to_owned()), true)));
    assert!(told.output.is_some_and(|output| output.is_recording()));
    assert_eq!(top("top -q ls").report, None);
    assert_eq!(command_of("-- top ls"), ["top", "ls"]);
    assert!(matches!(top("top -p 7").target, Target::Attach { .. }));
    refused("top", "COMMAND");
    refused("top --page 0x7f00 ls", "--page");
}

/// Parts, budgets and comparisons are read, and what cannot be meant is refused.
#[test]
fn parts_budgets_and_diffs() {
    use crate::report::filter::{Filter, Selector};
    let report = |words: &str| match parsed(words).unwrap() {
        Task::Report(show) => *show,
        other => panic!("{other:?}"),
    };
    let shown =
        report("report a.cow --process 4711 --process worker --since 1.5s --until 2 --budget 10%/worker");
    let processes = vec![Selector::Pid(4711), Selector::Worker];
    let filter = Filter { processes, since: Some(1_500_000_000), until: Some(2_000_000_000) };
    assert_eq!((shown.report.filter, shown.budget), (filter, Some("10%/worker".parse().unwrap())));
    refused("report a.cow --since 2 --until 1", "no time is left");
    refused("report a.cow --since yesterday", "not a time");
    refused("report a.cow --budget 5", "not a budget");
    refused("report a.cow --key sys.modules[json] --process 1", "a whole trace");
    assert_eq!(options("--budget 1MiB ls").budget, options("record --budget 1MiB ls").budget);
    let diff = |words: &str| match parsed(words).unwrap() {
        Task::Diff(diff) => (diff.before.len(), diff.after.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(diff("diff a.cow b.cow"), (1, 1));
    assert_eq!(diff("diff --before a b --after c d e --json"), (2, 3));
    for words in [
        "diff",
        "diff a",
        "diff a b c",
        "diff --before a",
        "diff a b --before c --after d",
        "diff a --after b",
    ] {
        assert_eq!(parsed(words).unwrap_err().exit_code(), 2, "{words}");
    }
}
