//! What is in the page: totals, limits, and nothing of the target as markup.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::*;
use crate::record::fixture::{Builder, Page, line, operation, page as copied, symbol, unknown};
use crate::record::schema::{NativeFrame, Outcome, PageSize, PythonFrame};

/// Text that is markup, ends a script, or hides, wherever it is let through.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)><!--\u{2028}\u{202e}\0\x1b[31m\"'`${1}{{data}}";

fn page(trace: &Trace) -> String {
    let mut out = Vec::new();
    write(trace, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What stands between the first of `before` and the next of `after`.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// The data of a page, as its scripts get it.
fn data(page: &str) -> Value {
    let digits = between(page, "id=\"data\">", "</script>").trim_end_matches('=');
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{digit} is no digit"),
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(column: &Value) -> Vec<u64> {
    column.as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}

fn sum(column: &Value) -> u64 {
    numbers(column).iter().sum()
}

/// Sum over the rows of a table of objects.
fn over(rows: &Value, field: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
}

/// The value of a total in the page.
fn total(page: &str, id: &str) -> u64 {
    between(page, &format!("id=\"total-{id}\" value=\""), "\"").parse().unwrap()
}

fn write_of(kind: &'static str, of: &str) -> crate::record::schema::Write {
    crate::record::fixture::write(kind, of, "")
}

fn python(function: &str, line: u32) -> PythonFrame {
    let (function, file) = (function.to_owned(), "/srv/app/multi.py".to_owned());
    PythonFrame { function, file, line: Some(line), approximate: false, op: None, ..PythonFrame::default() }
}

fn own(line_number: u32) -> Page {
    let mut page = copied(
        operation("call", ""),
        write_of("refcount", "str"),
        line("/srv/app/multi.py", line_number, "f"),
    );
    page.python = vec![python("f", line_number), python("<module>", 90)];
    page.native = vec![NativeFrame {
        symbol: None,
        object: Some("/usr/lib/libc.so.6".to_owned()),
        offset: 0x99,
        ..NativeFrame::default()
    }];
    page
}

/// Every part of the page has the same totals, which are the trace's.
fn check_totals(trace: &Trace, page: &str, data: &Value) {
    let view = View::new(trace);
    let (all, lost) = (view.total(), view.without_details());
    assert_eq!((total(page, "shared-bytes"), total(page, "shared-pages")), (all.bytes, all.pages));
    assert_eq!(total(page, "kernel-bytes"), trace.summary.copied_bytes);
    assert_eq!(total(page, "kernel-pages"), trace.summary.copies);
    assert_eq!(total(page, "lost"), trace.summary.lost);
    assert_eq!((&data["total"]["bytes"], &data["lost"]["bytes"]), (&all.bytes.into(), &lost.bytes.into()));
    let listed = (all.bytes - lost.bytes, all.pages - lost.pages);
    assert_eq!((over(&data["causes"], "bytes"), over(&data["causes"], "pages")), listed, "causes");
    assert_eq!(
        (over(&data["processes"], "bytes"), over(&data["processes"], "pages")),
        (all.bytes, all.pages)
    );
    for part in ["timeline", "flame"] {
        assert_eq!((sum(&data[part]["bytes"]), sum(&data[part]["pages"])), listed, "{part}");
    }
    assert_eq!(data["faults"]["of"], listed.1);
    // Cause by cause, and process by process.
    let cells = |of: &str, column: &str| -> HashMap<u64, u64> {
        let mut sums = HashMap::new();
        for (row, bytes) in numbers(&data[of][column]).into_iter().zip(numbers(&data[of]["bytes"])) {
            *sums.entry(row).or_default() += bytes;
        }
        sums
    };
    for (row, cause) in data["causes"].as_array().unwrap().iter().enumerate() {
        for part in ["timeline", "flame"] {
            let of_cause = cells(part, "cause").get(&(row as u64)).copied().unwrap_or_default();
            assert_eq!(of_cause, cause["bytes"].as_u64().unwrap(), "{cause} in {part}");
        }
    }
}

/// Own code, a pool, native code, files, what is not known and what was lost.
fn mixed() -> Trace {
    let mut b = Builder::new(&["python3", "multi.py"]);
    b.missing("get_user_pages writes raise no fault");
    let parent = b.process(None, "python3", 0);
    let one = b.process(Some(parent), "python3", 400 << 12);
    b.faults(parent, 3, &own(8));
    let two = b.process(Some(parent), "python3", 400 << 12);
    for worker in [one, two] {
        b.faults(
            worker,
            20,
            &copied(operation("worker_bookkeeping", "multiprocessing"), write_of("refcount", "code"), None),
        );
        b.faults(worker, 50, &own(9));
    }
    b.faults(one, 7, &own(10));
    let native =
        copied(operation("native", ""), write_of("malloc", ""), symbol("malloc", "/usr/lib/libc.so.6"));
    b.faults(two, 4, &native);
    b.faults(two, 2, &Page { outcome: Outcome::FileCopy, ..native });
    b.faults(one, 5, &copied(unknown("<b>nobody knows</b>"), write_of("unknown", ""), None));
    b.collection(one, Some(2), 6, &copied(operation("gc", ""), write_of("gc_header", "tuple"), None));
    let mut import = own(7);
    import.operation = operation("import", "statistics");
    b.faults(two, 11, &import);
    b.faults(two, 9, &Page { outcome: Outcome::Reuse, ..own(9) });
    b.lost(one, Outcome::Copy, 3, 1);
    b.finish()
}

#[test]
fn totals_are_the_traces() {
    let trace = mixed();
    let page = page(&trace);
    let data = data(&page);
    check_totals(&trace, &page, &data);
    // Few faults are there one by one.
    let faults = &data["faults"];
    assert_eq!(faults["time"].as_array().unwrap().len() as u64, faults["of"].as_u64().unwrap());
    assert_eq!(sum(&faults["bytes"]), over(&data["causes"], "bytes"));
    // Own code comes first, and the line that cost most is named in the page itself.
    assert_eq!(data["causes"][0]["place"], "multi.py:9 (f)");
    assert_eq!(data["causes"][0]["path"], "/srv/app/multi.py");
    assert_eq!(between(&page, "<p class=\"place\">", "</p>"), "multi.py:9 (f)");
    assert!(page.contains("line of your own code that copied most") && page.contains("data-cause=\"0\""));
    // What was lost and what cannot be seen is told.
    assert!(page.contains("3 records at ring") && page.contains("get_user_pages writes raise no fault"));
    assert!(page.contains("<div class=\"strong\"><dt>lost</dt>"));
    assert_eq!(data["spans"]["of"], 2);
    let strings = data["strings"].as_array().unwrap();
    let span = |at: usize| &strings[data["spans"]["shown"][at]["name"].as_u64().unwrap() as usize];
    assert_eq!(
        (span(0), span(1)),
        (&"import statistics".into(), &"garbage collection 1, generation 2".into())
    );
}

/// Nothing of the target is markup, ends the data or is invisible, wherever it stands.
#[test]
fn names_are_hostile() {
    let mut b = Builder::new(&["sh", HOSTILE]);
    b.python(HOSTILE, None);
    b.missing(HOSTILE);
    let parent = b.process(None, HOSTILE, 0);
    let child = b.process(Some(parent), HOSTILE, 1 << 20);
    let mut page_ = copied(
        operation("import", HOSTILE),
        crate::record::fixture::write("dict_entry", HOSTILE, HOSTILE),
        line(&format!("/srv/{HOSTILE}"), 3, HOSTILE),
    );
    page_.python = vec![PythonFrame { file: HOSTILE.to_owned(), ..python(HOSTILE, 3) }];
    page_.native = vec![NativeFrame {
        symbol: Some(HOSTILE.to_owned()),
        object: Some(HOSTILE.to_owned()),
        offset: 1,
        ..NativeFrame::default()
    }];
    page_.region.path = Some(HOSTILE.to_owned());
    page_.region.kind = "file";
    b.faults(child, 5, &page_);
    page_.operation = unknown(HOSTILE);
    page_.site.as_mut().unwrap().function = Some("x".repeat(1 << 20) + HOSTILE);
    b.faults(child, 5, &page_);
    b.lost(child, Outcome::Copy, 3, 1);
    let mut trace = b.finish();
    trace.header.start = HOSTILE.to_owned();
    trace.header.kernel = HOSTILE.to_owned();
    trace.header.version = HOSTILE.to_owned();
    trace.losses[0].stage = HOSTILE.to_owned();
    let page = page(&trace);
    let data = data(&page);
    check_totals(&trace, &page, &data);
    assert!(!page.contains("<img") && !page.contains("<!--"), "markup");
    assert_eq!(page.matches("<script").count(), 2, "data and script");
    assert_eq!(page.matches("</script>").count(), 2, "data and script");
    let invisible = |text: &str| text.chars().any(|c| c != '\n' && crate::record::json::is_invisible(c));
    assert!(!invisible(&page), "invisible characters in the page");
    assert!(!invisible(&data.to_string()), "invisible characters in the data");
    assert!(page.len() < 1 << 20, "1 MiB of a name is bounded: {}", page.len());
}

/// The page may load, send and run nothing but itself: its policy allows the script by its own hash, and the scripts do not
/// try, nor do they make markup of text.
#[test]
fn nothing_is_asked_of_a_network() {
    let page = page(&Trace::default());
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\">");
    let script = between(&page, "<script type=\"module\">", "</script>");
    let style = between(&page, "<style>", "</style>");
    let hash = |text: &str| format!("'sha256-{}'", base64::encode(&Sha256::digest(text.as_bytes())));
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for (source, text) in [("script-src", script), ("style-src", style)] {
        assert!(policy.contains(&format!("{source} {};", hash(text))), "{source} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
    for forbidden in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
    {
        assert!(!script.contains(forbidden), "{forbidden}");
    }
    for forbidden in ["http:", "https:", "//cdn", "fetch(", "XMLHttpRequest", "import(", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(!page.contains("{{") || script.contains("{{"), "a slot was not filled");
}

/// Nothing traced is a page, too.
#[test]
fn empty() {
    let page = page(&Trace::default());
    assert!(page.contains("<h1>No process was seen.</h1>"));
    let data = data(&page);
    assert_eq!((total(&page, "shared-bytes"), data["duration"].as_u64()), (0, Some(1)));
    assert!(data["causes"].as_array().unwrap().is_empty());
}

/// 1 M faults of 64 processes in 300 places, over all the time, at many addresses.
fn million() -> Trace {
    let mut b = Builder::new(&["python3", "multi.py"]);
    let parent = b.process(None, "python3", 0);
    let workers: Vec<usize> = (0..64).map(|_| b.process(Some(parent), "python3", 1 << 30)).collect();
    for round in 0..25_u32 {
        for (nth, worker) in workers.iter().enumerate() {
            let worker_number = u32::try_from(nth).unwrap();
            for place in 0..5 {
                b.faults(*worker, 125, &own(1 + (round * 5 + place + worker_number * 7) % 300));
            }
        }
    }
    let mut trace = b.finish();
    // Addresses as a heap's: a page is copied once, neighbours at about the same time.
    let mut next: HashMap<usize, u64> = HashMap::new();
    for (number, fault) in trace.faults.iter_mut().enumerate() {
        let at = next.entry(fault.process).or_default();
        fault.address = 0x7f00_0000_0000 + ((*at * 7919) % 65_521) * 4096 + number as u64 % 4096;
        *at += 1;
    }
    trace
}

/// The map and the timeline count in pages of the machine that the trace comes from.
#[test]
fn larger_pages() {
    for bytes in [4096, 16384, 65536] {
        let mut b = Builder::new(&["python3", "multi.py"]);
        b.pages(PageSize::of_bytes(bytes).unwrap());
        let parent = b.process(None, "python3", 0);
        let child = b.process(Some(parent), "python3", 400 * bytes);
        b.faults(child, 3, &own(1));
        let mut trace = b.finish();
        for (nth, fault) in (0..).zip(&mut trace.faults) {
            (fault.address, fault.bytes) = (0x7f00_0000_0000 + nth * bytes + 8 * nth, bytes);
        }
        // A huge one.
        trace.faults[2].bytes = bytes << 3;
        let data = data(&page(&trace));
        assert_eq!(data["page_bytes"], bytes);
        let first = 0x7f00_0000_0000 / bytes;
        assert_eq!(data["faults"]["page"], serde_json::json!([first, first + 1, first + 2]));
        assert_eq!(data["faults"]["byte"], serde_json::json!([0, 8, 16]));
        assert_eq!(sum(&data["memory"]["programs"][0]["records"]["pages"]), 1 + 1 + 8, "{bytes}");
    }
}

#[test]
fn a_million_faults_stay_small() {
    let trace = million();
    assert_eq!(trace.faults.len(), 1_000_000);
    let page = page(&trace);
    assert!(page.len() < 3 << 20, "{} bytes", page.len());
    let data = data(&page);
    check_totals(&trace, &page, &data);
    let faults = &data["faults"];
    let shown = faults["time"].as_array().unwrap().len();
    assert_eq!(faults["of"], 1_000_000);
    assert!(shown <= timeline::FAULTS && shown > timeline::FAULTS / 2, "{shown} one by one");
    // They are spread over all the time, not the first ones.
    let last: u64 = sum(&faults["time"]);
    assert!(last > trace.faults[990_000].time, "the last one by one at {last}");
    // The map has every page of every process.
    let map = &data["memory"]["programs"][0];
    assert!(data["memory"]["shift"].as_u64().unwrap() > 0);
    assert_eq!(sum(&map["records"]["pages"]), 1_000_000);
    let known: u64 = map["regions"].as_array().unwrap().iter().map(|region| sum(&region["known"])).sum();
    let pages: std::collections::HashSet<u64> =
        trace.faults.iter().map(|fault| fault.address / 4096).collect();
    assert_eq!(known, pages.len() as u64);
}

/// More causes and processes than the page names share a row each, whose numbers are exact.
#[test]
fn many_causes_and_processes() {
    let mut b = Builder::new(&["python3", "multi.py"]);
    let parent = b.process(None, "python3", 0);
    for number in 0..1_500_u32 {
        let child = b.process(Some(parent), "python3", 1 << 20);
        for place in 0..4 {
            b.faults(child, 1 + u64::from(number % 9), &own(1 + number * 4 + place));
        }
    }
    let trace = b.finish();
    let page = page(&trace);
    let data = data(&page);
    check_totals(&trace, &page, &data);
    let last = |of: &str| data[of].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last("causes")["kind"].as_str(), last("processes")["pid"].as_u64()), (Some("rest"), None));
    let named = data["causes"].as_array().unwrap().len() - 1;
    assert_eq!(last("causes")["place"], format!("{} smaller rows", 6_000 - named));
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    // The heaviest are named, and a parent wherever a child is.
    let lightest =
        data["causes"].as_array().unwrap()[..named].iter().map(|row| row["pages"].as_u64().unwrap()).min();
    assert_eq!(lightest, Some(9));
    assert_eq!(data["processes"][0]["pid"], 7000);
}

/// A parent that forks again shares again what it had copied: where times are slices, what a slice's end does not see is
/// left out, and nothing else.
#[test]
fn forks_make_memory_shared_again() {
    let mut b = Builder::new(&["x"]);
    let parent = b.process(None, "x", 0);
    let mut forks = Vec::new();
    for _ in 0..50 {
        forks.push(b.process(Some(parent), "x", 1 << 28));
        b.faults(parent, 1_000, &own(8));
    }
    let trace = b.finish();
    let data = data(&page(&trace));
    let memory = &data["memory"];
    assert!(memory["slices"].as_u64().unwrap() > 0, "too many to be drawn one by one");
    let records = &memory["programs"][0]["records"];
    let mut at = 0;
    let after_last_fork: u64 = numbers(&records["time"])
        .into_iter()
        .zip(numbers(&records["pages"]))
        .filter_map(|(step, pages)| {
            at += step;
            (at >= trace.processes[*forks.last().unwrap()].start).then_some(pages)
        })
        .sum();
    assert_eq!(after_last_fork, 1_000, "what is private at the end");
}
