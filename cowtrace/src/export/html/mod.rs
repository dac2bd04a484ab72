//! HTML: a report to look at, one file that needs nothing else and asks no network for anything.
//!
//! `limits` decides what is named, `timeline`, `flame` and `memory` make the data, `data` puts it together; the page is
//! `page.html` with `style.css` and the scripts in it. The sentences and totals are in the page itself, the rest is drawn by
//! the scripts from the compressed data.

mod base64;
mod data;
mod flame;
mod limits;
mod memory;
mod strings;
mod template;
#[cfg(test)]
mod tests;
mod timeline;

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::Format;
use crate::record::schema::Trace;
use crate::report::escape::escape;
use crate::report::numbers::{count, counted, percent, plural, size, time};
use crate::report::view::{Amount, Kind, View};
use data::Document;
use template::{element, fill, text};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "html",
    extensions: &["html", "htm"],
    about: "a report to look at in a browser: timeline, causes, flame graph, map of memory; one file, no network",
    write,
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// The scripts, in the order in which they use each other.
const SCRIPTS: &[&str] = &[
    include_str!("format.js"),
    include_str!("data.js"),
    include_str!("state.js"),
    include_str!("paint.js"),
    include_str!("theme.js"),
    include_str!("causes.js"),
    include_str!("axis.js"),
    include_str!("timeline_words.js"),
    include_str!("timeline_input.js"),
    include_str!("timeline.js"),
    include_str!("flame.js"),
    include_str!("history.js"),
    include_str!("memory_paint.js"),
    include_str!("memory.js"),
    include_str!("main.js"),
];

/// Words of a command line that are shown.
const WORDS: usize = 40;

/// Writes the page.
fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let view = View::new(trace);
    let document = Document::new(trace, &view);
    let mut data = GzEncoder::new(Vec::new(), Compression::best());
    serde_json::to_writer(&mut data, &document).map_err(io::Error::from)?;
    let data = base64::encode(&data.finish()?);
    let script = SCRIPTS.concat();
    let policy = policy(&script);
    let (answer, numbers, notes) = (answer(&view), numbers(trace, &view), notes(&view));
    let (title, run, worst) = (text(&title(trace)), run(trace), worst(&view, &document));
    let page = fill(
        PAGE,
        &[
            ("policy", &policy),
            ("title", &title),
            ("style", STYLE),
            ("run", &run),
            ("answer", &answer),
            ("worst", &worst),
            ("numbers", &numbers),
            ("notes", &notes),
            ("data", &data),
            ("script", &script),
        ],
    );
    out.write_all(page.as_bytes())?;
    out.flush()
}

/// Nothing may be loaded, sent or run but the page's own script, and no style applies but its own.
fn policy(script: &str) -> String {
    let hash = |text: &str| base64::encode(&Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(script),
        hash(STYLE)
    )
}

fn command(trace: &Trace) -> String {
    let words = &trace.header.command;
    if words.is_empty() {
        return trace.processes.first().map_or_else(String::new, |p| format!("process {}", p.pid));
    }
    let shown: Vec<String> = words.iter().take(WORDS).map(|word| escape(word)).collect();
    let more = if words.len() > WORDS { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}

fn title(trace: &Trace) -> String {
    format!("cowtrace: {}", command(trace))
}

/// What was traced, when and where.
fn run(trace: &Trace) -> String {
    let header = &trace.header;
    let mut parts = vec![element("code", "", &command(trace))];
    let facts = [
        (!header.start.is_empty()).then(|| escape(&header.start)),
        (trace.summary.duration > 0).then(|| time(trace.summary.duration)),
        (!header.kernel.is_empty()).then(|| format!("Linux {}", escape(&header.kernel))),
        Some(format!("cowtrace {}", escape(&header.version))),
    ];
    parts.extend(facts.into_iter().flatten().map(|fact| element("span", "", &fact)));
    parts.join(" ")
}

/// The sentences; the first is the page's heading.
fn answer(view: &View<'_>) -> String {
    let [first, others @ ..] = view.answer() else { return String::new() };
    // A percent sign does not begin a line.
    let joined = |sentence: &str| sentence.replace(" %", "\u{a0}%");
    let mut shown = element("h1", "", &joined(first));
    others.iter().for_each(|sentence| shown += &element("p", "", &joined(sentence)));
    shown
}

/// The line of the program's own code that copied most; without one, whatever copied most. The script's button shows it alone.
fn worst(view: &View<'_>, document: &Document) -> String {
    let own = view.causes().enumerate().find(|(_, row)| row.kind == Kind::Own);
    let heaviest =
        || view.causes().enumerate().max_by_key(|(at, row)| (row.copied.bytes, std::cmp::Reverse(*at)));
    let Some((number, row)) = own.or_else(heaviest) else { return String::new() };
    let (label, class) = match row.kind {
        Kind::Own if row.site.is_some_and(|site| site.line.is_none()) => {
            ("The function of your own code that copied most", "own")
        }
        Kind::Own => ("The line of your own code that copied most", "own"),
        Kind::Native => ("What copied most; no line of your own code did", "native"),
        Kind::Machinery => ("What copied most; no line of your own code did", "machinery"),
        Kind::Unknown => ("What copied most is not known", "unknown"),
    };
    let total = view.total();
    let (workers, processes) = row
        .processes()
        .fold((0, 0), |(workers, all), (process, _)| (workers + u64::from(view.is_worker(process)), all + 1));
    let spread =
        if workers == processes { counted(workers, "worker") } else { counted(processes, "process") };
    let much = format!(
        "{} in {}, {} of everything that was copied, in {spread}",
        size(row.copied.bytes),
        counted(row.copied.pages, "page"),
        percent(row.copied.bytes, total.bytes),
    );
    let what = if row.what.is_empty() { String::new() } else { element("p", "what", row.what) };
    format!(
        "<section class=\"worst {class}\" id=\"worst\" aria-label=\"{}\">{}{}{what}{}<progress max=\"{}\" value=\"{}\" \
         aria-hidden=\"true\"></progress><p><button type=\"button\" id=\"worst-show\" data-cause=\"{}\" hidden>Show only \
         this below</button></p></section>",
        text(label),
        element("p", "label", label),
        element("p", "place", row.place),
        element("p", "much", &much),
        total.bytes.max(1),
        row.copied.bytes,
        document.cause(number),
    )
}

/// The totals: what the table adds up to, and what the kernel counted.
fn numbers(trace: &Trace, view: &View<'_>) -> String {
    let summary = &trace.summary;
    let (total, files, lost) = (view.total(), view.files(), view.without_details());
    let row = |name: &str, value: &str| format!("<div><dt>{}</dt><dd>{value}</dd></div>", text(name));
    let number = |id: &str, value: u64, shown: &str| {
        format!("<data id=\"total-{id}\" value=\"{value}\">{}</data>", text(shown))
    };
    let amount = |id: &str, name: &str, amount: Amount| {
        let bytes = number(&format!("{id}-bytes"), amount.bytes, &size(amount.bytes));
        let pages = number(&format!("{id}-pages"), amount.pages, &count(amount.pages));
        row(name, &format!("{bytes} in {pages} {}", plural(amount.pages, "page")))
    };
    let plain = |id: &str, name: &str, value: u64| row(name, &number(id, value, &count(value)));
    let kernel = Amount { pages: summary.copies, bytes: summary.copied_bytes };
    let mut shown = amount("shared", "copied while memory was shared", total);
    if files.pages > 0 {
        shown += &amount("files", "of it first writes to mapped files", files);
    }
    if lost.pages > 0 {
        shown += &amount("undetailed", "of it without details", lost);
    }
    shown += &amount("kernel", "all copies, as the kernel counted them", kernel);
    shown += &plain("file-copies", "all first writes to mapped files", summary.file_copies);
    shown += &plain("reuses", "pages written in place", summary.reuses);
    shown += &plain("faults", "page faults", summary.faults);
    shown += &plain("lost", "records lost", summary.lost);
    shown
}

/// What is to be said of the table, and how far the trace can be trusted.
fn notes(view: &View<'_>) -> String {
    let row = |about: &str, text_: &str, class: &str| {
        format!("<div class=\"{class}\">{}{}</div>", element("dt", "", about), element("dd", "", text_))
    };
    let mut shown = String::new();
    for note in view.closing() {
        shown += &row(note.about, &note.text, if note.strong { "strong" } else { "" });
    }
    for note in view.notes() {
        let (about, said) = note.split_once(": ").unwrap_or(("of the total", &note));
        shown += &row(about, said, "");
    }
    shown
}
