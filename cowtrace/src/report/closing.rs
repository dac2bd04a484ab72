//! How far the report can be trusted: what was lost, how it was seen, what was left out, what looking has cost.

use std::collections::BTreeMap;

use super::escape::escape;
use super::filter::Part;
use super::numbers::{count, counted, joined, percent, size, time};
use super::scope::{Copied, Scope};
use super::starts;
use super::table::Tone;
use super::words;
use crate::record::schema::{Header, Interpreter, Outcome, Trace};

/// Lines of one sort, as many as a screen bears.
const MOST: usize = 3;

/// One line of the closing block.
pub(super) struct Line {
    /// What it is about, in a word or two.
    pub(super) label: &'static str,
    /// A sentence without full stop.
    pub(super) text: String,
    /// Whether it must not be overlooked.
    pub(super) tone: Tone,
}

/// The lines, in the order in which they are shown.
pub(super) fn lines(scope: &Scope<'_>) -> Vec<Line> {
    let trace = scope.trace;
    let header = &trace.header;
    // The report says at its top what part of a trace it is about.
    let of_part = scope.part.map(Part::sentence);
    let missing: Vec<&String> =
        header.missing.iter().filter(|text| Some(*text) != of_part.as_ref()).collect();
    let plain = |label| move |text| Line { label, text, tone: Tone::Plain };
    let tone = if is_complete(trace) { Tone::Plain } else { Tone::Strong };
    let mut lines = vec![Line { label: "lost", text: lost(scope), tone }];
    lines.extend(attached(trace).map(plain("attached")));
    lines.extend(no_callers(trace).map(plain("callers")));
    lines.extend(no_copy(trace).map(plain("no copy")));
    lines.extend(not_counted(scope).map(plain("not counted")));
    lines.extend(not_listed(scope).map(plain("not listed")));
    lines.extend(starts::sentences(scope).into_iter().map(|(label, text)| plain(label)(text)));
    lines.extend(Some(probes(header)).map(plain("seen by")));
    lines.extend(bounded(&missing, |text| escape(text)).map(plain("not seen")));
    lines.extend(bounded(&header.interpreters, interpreter).map(plain("interpreter")));
    let near = trace.sites.values().iter().any(|site| site.approximate);
    lines.extend(near.then(|| words::ABOUT_APPROXIMATE.to_owned()).map(plain("lines")));
    lines.extend(Some(cost(scope)).map(plain("cost")));
    lines
}

/// The first of many in words, and how many more.
fn bounded<'a, T>(items: &'a [T], words: impl Fn(&'a T) -> String + 'a) -> impl Iterator<Item = String> + 'a {
    let more = items.len().saturating_sub(MOST);
    let rest = (more > 0).then(|| format!("… and {} more", count(more as u64)));
    items.iter().take(MOST).map(words).chain(rest)
}

fn is_complete(trace: &Trace) -> bool {
    trace.summary.lost == 0 && trace.losses.iter().all(|loss| loss.count == 0 || !loss.is_of_records())
}

/// What part of a trace the report is about, and how its totals come about.
pub(super) fn part(scope: &Scope<'_>, part: &Part) -> String {
    let totals =
        if part.is_timed() { "counted from listed faults" } else { "totals as the kernel counted them" };
    format!(
        "Of the trace only {}: {} of {}, {totals}.",
        part.words(),
        count(scope.trace.summary.faults),
        counted(part.whole().faults, "fault")
    )
}

/// What is said of numbers that cannot be told for a part.
const fn of_whole(scope: &Scope<'_>) -> &'static str {
    if scope.part.is_some() { " (of the whole trace)" } else { "" }
}

fn lost(scope: &Scope<'_>) -> String {
    let trace = scope.trace;
    let whole = of_whole(scope);
    if is_complete(trace) {
        return format!("nothing{whole}");
    }
    let mut stages: BTreeMap<&str, (u64, Vec<u32>)> = BTreeMap::new();
    for loss in trace.losses.iter().filter(|loss| loss.count > 0 && loss.is_of_records()) {
        let (sum, cpus) = stages.entry(&loss.stage).or_default();
        *sum += loss.count;
        cpus.push(loss.cpu);
    }
    let stages: Vec<String> = stages
        .into_iter()
        .map(|(stage, (sum, mut cpus))| {
            cpus.sort_unstable();
            cpus.dedup();
            format!("{} at {} ({})", counted(sum, "record"), escape(stage), cpu_list(&cpus))
        })
        .collect();
    let where_ = if stages.is_empty() { counted(trace.summary.lost, "record") } else { joined(&stages) };
    // Within limits of time totals are counted from what is listed.
    if scope.part.is_some_and(Part::is_timed) {
        return format!("{where_}{whole}; what was lost is not in these totals");
    }
    format!("{where_}{whole}; totals count what was lost, its causes are not known")
}

/// Faults whose native code has no callers.
fn no_callers(trace: &Trace) -> Option<String> {
    let lost: u64 = trace.losses.iter().filter(|loss| !loss.is_of_records()).map(|loss| loss.count).sum();
    let of = counted(lost, "fault");
    (lost > 0).then(|| {
        format!("of {of} are not known, only the innermost function: more new stacks came than are copied")
    })
}

/// `CPU 3`, `CPUs 0 to 3, 8`.
fn cpu_list(cpus: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let ranges = ranges.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    let word = if cpus.len() == 1 { "CPU" } else { "CPUs" };
    format!("{word} {}", ranges.collect::<Vec<_>>().join(", "))
}

/// What is known of the time before the trace, of processes that ran already.
fn attached(trace: &Trace) -> Option<String> {
    let attached: Vec<_> = trace.processes.iter().filter(|process| process.attached).collect();
    let own: u64 = attached.iter().filter_map(|process| process.private_bytes).sum();
    let unknown = attached.iter().filter(|process| process.private_bytes.is_none()).count();
    let them = if attached.len() == 1 { "it" } else { "each" };
    let mut text = format!(
        "to {} that ran already; inherited is what {them} still shared when the trace began; {} were private by then, \
         and what wrote to them is not known",
        counted(attached.len() as u64, "process"),
        size(own)
    );
    if unknown > 0 {
        text += &format!(" (the memory of {} could not be read)", counted(unknown as u64, "process"));
    }
    (!attached.is_empty()).then_some(text)
}

fn no_copy(trace: &Trace) -> Option<String> {
    let reuses = trace.summary.reuses;
    (reuses > 0).then(|| {
        let (was, its) = if reuses == 1 { ("was", "its last owner") } else { ("were", "their last owners") };
        format!("{} {was} written in place: {its} had nobody left to share with", counted(reuses, "page"))
    })
}

/// What belongs to a fork's memory in no way, although it came after the first fork.
fn not_counted(scope: &Scope<'_>) -> impl Iterator<Item = String> {
    let Copied { pages, bytes, file_pages, file_bytes } = scope.unshared();
    let said = |pages, bytes, what| {
        (pages > 0).then(|| format!("{} ({}) {what}", counted(pages, "page"), size(bytes)))
    };
    let files = said(file_pages, file_bytes, "written by programs as they started, shared with nobody");
    let others = "copied that no fork had shared: merged by KSM, or shared before the trace began";
    files.into_iter().chain(said(pages, bytes, others))
}

/// Faults that are only counted, by outcome.
fn not_listed(scope: &Scope<'_>) -> Option<String> {
    let trace = scope.trace;
    // Who filters by time has nothing but listed faults left.
    let part = scope.part.filter(|part| part.is_timed());
    let mut parts = Vec::new();
    let mut sum = 0;
    for (outcome, one, many) in OUTCOMES {
        let unlisted: u64 = match part {
            Some(part) => part.unlisted(*outcome),
            None => trace.processes.iter().map(|p| p.totals.of(*outcome).unlisted).sum(),
        };
        sum += unlisted;
        if unlisted > 0 {
            let words = if unlisted == 1 { one } else { many };
            parts.push((unlisted, format!("{} {words}", count(unlisted))));
        }
    }
    parts.sort_by_key(|(unlisted, _)| std::cmp::Reverse(*unlisted));
    let parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    (sum > 0).then(|| {
        let (all, whole) =
            part.map_or((trace.summary.faults, ""), |part| (part.whole().faults, of_whole(scope)));
        format!("{} of {}{whole}: {}", count(sum), counted(all, "fault"), parts.join(", "))
    })
}

/// What a fault that is not listed did, of one and of many.
static OUTCOMES: &[(Outcome, &str, &str)] = &[
    (Outcome::ZeroFill, "fresh page", "fresh pages"),
    (Outcome::Read, "read", "reads"),
    (Outcome::SharedWrite, "write to shared memory", "writes to shared memory"),
    (Outcome::SwapIn, "from swap", "from swap"),
    (Outcome::Copy, "copy before any fork", "copies before any fork"),
    (Outcome::FileCopy, "file page before any fork", "file pages before any fork"),
    (Outcome::Reuse, "in place before any fork", "in place before any fork"),
    (Outcome::Other, "other", "others"),
    (Outcome::Failed, "failed", "failed"),
];

fn probes(header: &Header) -> String {
    let rung = match header.rung.as_str() {
        "" => String::new(),
        "base" => "the base probes".to_owned(),
        "functions" => "kernel function probes".to_owned(),
        other => escape(other),
    };
    let kernel = escape(&header.kernel);
    let number = counted(header.probes.len() as u64, "probe");
    match (rung.is_empty(), kernel.is_empty()) {
        (true, true) => number,
        (true, false) => format!("{number} on Linux {kernel}"),
        (false, true) => format!("{rung} ({})", header.probes.len()),
        (false, false) => format!("{rung} ({}) on Linux {kernel}", header.probes.len()),
    }
}

fn interpreter(interpreter: &Interpreter) -> String {
    let Interpreter { name, version, path, layout } = interpreter;
    let name = format!("{} {} ({})", escape(name), escape(version), escape(path));
    match layout {
        Some(_) => name,
        None => format!("{name} is not known: its lines are not seen, its native functions are"),
    }
}

fn cost(scope: &Scope<'_>) -> String {
    let summary = scope.part.map_or(&scope.trace.summary, Part::whole);
    let used = format!("cowtrace used {} of CPU", time(summary.tool_cpu_ns));
    if summary.faults == 0 || summary.probe_ns == 0 {
        return used;
    }
    let used = match summary.setup_ns {
        0 => used,
        setup => format!("{used}: {} to load its probes", time(setup)),
    };
    // Processes run side by side: what they spend together can be more than the time that passes.
    let run = match summary.duration {
        0 => String::new(),
        duration if summary.probe_ns > duration => format!("; the run took {}", time(duration)),
        duration => format!("; {} of its {}", percent(summary.probe_ns, duration), time(duration)),
    };
    let each = time(summary.probe_ns / summary.faults);
    format!("{used}, {} inside the traced program ({each} a fault{run})", time(summary.probe_ns))
}
