//! The harness itself: it must notice what it is there to notice.

use std::panic::catch_unwind;

use cowtrace_tests::check::{self, Listing};
use cowtrace_tests::facts::{self, Fact};
use cowtrace_tests::{Run, Trace};

const TOTALS: &str = r#"{"copy":{"faults":2,"unlisted":1,"lost":0},"file_copy":{"faults":0,"unlisted":0,"lost":0},
"reuse":{"faults":0,"unlisted":0,"lost":0},"zero_fill":{"faults":5,"unlisted":5,"lost":0},
"shared_write":{"faults":0,"unlisted":0,"lost":0},"read":{"faults":0,"unlisted":0,"lost":0},
"swap_in":{"faults":0,"unlisted":0,"lost":0},"other":{"faults":0,"unlisted":0,"lost":0},
"failed":{"faults":0,"unlisted":0,"lost":0}}"#;

/// An export as DESIGN.md has it, with one listed copy of page 0x1000 in process 7.
fn export() -> String {
    let totals = TOTALS.replace('\n', "");
    [
        r#"{"type":"header","schema":1,"version":"0","command":["x"],"start":"","kernel":"6","rung":"base","probes":[],"missing":[],"interpreters":[]}"#.to_owned(),
        format!(r#"{{"type":"process","pid":7,"ppid":5,"generation":1,"start":0,"end":9,"comm":"x","exe":"/x","command":["x"],"inherited_bytes":8192,"exit_status":0,"totals":{totals},"copied_bytes":8192}}"#),
        r#"{"type":"fault","time":1,"pid":7,"tid":7,"address":"0x107b","ip":"0x2","outcome":"copy","bytes":4096,"latency":null,"region":{"kind":"anonymous","path":null,"offset":null},"operation":{"kind":"native","name":null,"confidence":"certain"},"write":{"kind":"unknown","type":null,"name":null},"site":null,"python":[],"native":[]}"#.to_owned(),
        r#"{"type":"loss","stage":"ring","cpu":0,"count":0}"#.to_owned(),
        r#"{"type":"later","field":1}"#.to_owned(),
        r#"{"type":"summary","faults":7,"copies":2,"copied_bytes":8192,"file_copies":0,"reuses":0,"lost":0,"tool_cpu_ns":1,"processes":[{"pid":7,"copies":2,"copied_bytes":8192,"inherited_bytes":8192}]}"#.to_owned(),
    ]
    .join("\n")
}

fn fact() -> Fact {
    let line = r#"{"region":"r","start":"0x1000","end":"0x3000","pid":7,"tid":7,"generation":1,"outcome":"copy","pages":1,"bytes":4096,"mode":"user","before_fork":false,"offset":123,"differ":1,"faults":1}"#;
    facts::parse(line).remove(0)
}

fn fails(check: impl FnOnce() + std::panic::UnwindSafe) {
    assert!(catch_unwind(check).is_err(), "the check let it pass");
}

/// A true export passes every check.
#[test]
fn truth_passes() {
    let trace = Trace::parse(&export());
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    check::facts(&trace, &[fact()], Listing::Default);
}

/// Each of these is one lie in the export.
#[test]
fn lies_are_noticed() {
    let lie = |from: &str, to: &str| {
        let text = export();
        assert!(text.contains(from), "{from}");
        Trace::parse(&text.replacen(from, to, 1))
    };
    let lost = lie(r#""cpu":0,"count":0"#, r#""cpu":0,"count":1"#);
    fails(|| check::nothing_lost(&lost));
    for (from, to) in [
        (r#""unlisted":1"#, r#""unlisted":0"#),
        (r#""copied_bytes":8192}"#, r#""copied_bytes":4096}"#),
        (r#""faults":7"#, r#""faults":8"#),
        (r#""copies":2"#, r#""copies":3"#),
        (r#""pid":7,"tid":7"#, r#""pid":8,"tid":7"#),
    ] {
        let trace = lie(from, to);
        fails(|| check::totals_add_up(&trace));
    }
    for (from, to) in [
        ("0x107b", "0x1000"),
        ("0x107b", "0x307b"),
        (r#""tid":7"#, r#""tid":8"#),
        (r#""outcome":"copy""#, r#""outcome":"reuse""#),
        (r#""bytes":4096"#, r#""bytes":0"#),
        (r#""generation":1"#, r#""generation":2"#),
        (r#""kind":"native""#, r#""kind":"kernel""#),
    ] {
        let trace = lie(from, to);
        fails(|| check::facts(&trace, &[fact()], Listing::Default));
    }
}

/// An export that is cut off is not taken for a whole one.
#[test]
fn cut_off_export_is_noticed() {
    let text = export();
    let (cut, _) = text.rsplit_once('\n').expect("lines");
    fails(|| drop(Trace::parse(cut)));
}

/// A program that does not end is ended, with what it started, and the test fails.
#[test]
fn endless_program_is_ended() {
    fails(|| drop(Run::new("/bin/sh").arg("-c").arg("sleep 1000 & echo $!; wait").timeout(1).alone()));
}

/// Input, output, errors and status come through.
#[test]
fn program_comes_through() {
    let finished = Run::new("/bin/sh").arg("-c").arg("cat; echo oops >&2; exit 3").input(b"abc").alone();
    assert_eq!((finished.code(), finished.stdout.as_slice()), (3, &b"abc"[..]));
    assert_eq!(finished.stderr_text(), "oops\n");
    let finished = Run::new("/bin/sh").arg("-c").arg("[ -t 1 ] && echo terminal").on_terminal().alone();
    assert_eq!((finished.code(), finished.stdout_text().trim_end()), (0, "terminal"));
}
