//! The answer in sentences: who copied how much of what it inherited, what it was for, and where in the program.

use super::causes::Cause;
use super::cuts::{Class, machinery};
use super::numbers::{count, counted, joined, percent, plural, size, size_range};
use super::scope::{Copied, Scope};
use super::words;

/// The sentences, most important first; never empty. `rows` are the causes by operation, most bytes first.
pub(super) fn sentences(scope: &Scope<'_>, rows: &[Cause]) -> Vec<String> {
    if scope.trace.processes.is_empty() {
        return vec!["No process was seen.".to_owned()];
    }
    let total = scope.total();
    let children = (0..scope.trace.processes.len()).filter(|p| scope.is_child(*p)).count();
    if children == 0 && total.all_pages() == 0 {
        let who = if scope.launched() {
            "The command never forked"
        } else {
            "Nothing was forked while it was watched"
        };
        return vec![format!("{who}: no memory was shared, so no page was copied because of it.")];
    }
    let mut sentences = vec![copiers(scope)];
    if total.all_pages() == 0 {
        return sentences;
    }
    sentences.extend(machinery_share(scope, rows, &total));
    sentences.extend(own_code(scope, rows));
    sentences.extend(unknown_share(rows, &total));
    sentences
}

/// Processes that are spoken of together.
struct Group {
    noun: &'static str,
    members: Vec<usize>,
}

/// Who copied how much: the workers or child processes first, then the others.
fn copiers(scope: &Scope<'_>) -> String {
    let (group, others) = crowd(scope);
    let parents: Vec<usize> = (0..scope.trace.processes.len()).filter(|p| !scope.is_child(*p)).collect();
    let mut clauses = Vec::new();
    if !group.members.is_empty() {
        clauses.push(group_clause(scope, &group));
    }
    if let Some(clause) = sum_clause(scope, &others, "other child process") {
        clauses.push(clause);
    }
    if let Some(clause) =
        sum_clause(scope, &parents, if group.members.is_empty() { "process" } else { "parent" })
    {
        clauses.push(clause);
    }
    let mut text = clauses.join("; ");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text + "."
}

/// The workers, if there are any, with the processes beside them that did nothing; otherwise every child process. And the
/// child processes that are left.
fn crowd(scope: &Scope<'_>) -> (Group, Vec<usize>) {
    let processes = &scope.trace.processes;
    let children: Vec<usize> = (0..processes.len()).filter(|p| scope.is_child(*p)).collect();
    let parents: Vec<_> =
        children.iter().filter(|p| scope.is_worker(**p)).map(|p| processes[*p].parent).collect();
    if parents.is_empty() {
        return (Group { noun: "child process", members: children }, Vec::new());
    }
    let (members, others) = children.into_iter().partition(|p| {
        scope.is_worker(*p) || (parents.contains(&processes[*p].parent) && scope.copied(*p).all_pages() == 0)
    });
    (Group { noun: "worker", members }, others)
}

fn group_clause(scope: &Scope<'_>, group: &Group) -> String {
    let copied = |p: &usize| scope.copied(*p).bytes;
    let copying: Vec<usize> = group.members.iter().copied().filter(|p| copied(p) > 0).collect();
    let (all, some) = (group.members.len() as u64, copying.len() as u64);
    let whose = if some == 0 { &group.members } else { &copying };
    let inherited = size_range(whose.iter().map(|p| scope.trace.processes[*p].inherited_bytes));
    let nothing_inherited = inherited == "0 B";
    let sizes = size_range(copying.iter().map(copied));
    let subject = match (some, all) {
        (_, 1) => format!("the {}", group.noun),
        (some, all) if some == all || some == 0 => format!("{} {}", count(all), plural(all, group.noun)),
        (some, all) => format!("{} of {} {}", count(some), count(all), plural(all, group.noun)),
    };
    if some == 0 {
        let of = match all {
            _ if nothing_inherited => "".to_owned(),
            1 => format!(" of the {inherited} it inherited"),
            _ => format!(" of the {inherited} that each inherited"),
        };
        return format!("{subject} copied nothing{of}");
    }
    if all == 1 || some == 1 {
        let of = if nothing_inherited { String::new() } else { format!(" of the {inherited} it inherited") };
        return format!("{subject} copied {sizes}{of}");
    }
    let of = match inherited.contains(" to ") {
        _ if nothing_inherited => String::new(),
        true => format!(" of the {inherited} that each inherited"),
        false => format!(" of the {inherited} they inherited"),
    };
    let sum = size(copying.iter().map(copied).sum());
    format!("{subject} copied {sizes} each{of}, {sum} in all")
}

/// What processes copied together; `None` if nothing.
fn sum_clause(scope: &Scope<'_>, processes: &[usize], noun: &str) -> Option<String> {
    let bytes: u64 = processes.iter().map(|p| scope.copied(*p).bytes).sum();
    let number = processes.len() as u64;
    let who = if number == 1 { format!("the {noun}") } else { counted(number, noun) };
    (bytes > 0).then(|| format!("{who} copied {}", size(bytes)))
}

/// How much is what a fork, a pool or a start does by itself.
fn machinery_share(scope: &Scope<'_>, rows: &[Cause], total: &Copied) -> Option<String> {
    let machinery_rows: Vec<&Cause> = rows.iter().filter(|row| row.class == Class::Machinery).collect();
    let bytes: u64 = machinery_rows.iter().map(|row| row.bytes()).sum();
    if bytes == 0 {
        return None;
    }
    let mut kinds: Vec<String> = Vec::new();
    for row in &machinery_rows {
        kinds.extend(scope.trace.operations.get(row.operation).and_then(machinery));
    }
    kinds.dedup();
    let others = kinds.len() > 3;
    kinds.truncate(3);
    if others {
        kinds.push("more of that sort".to_owned());
    }
    Some(format!("{} is not your code but {}.", percent(bytes, total.all_bytes()), joined(&kinds)))
}

/// The places of the program's own code: the one that copied most, and what was swapped.
fn own_code(scope: &Scope<'_>, rows: &[Cause]) -> Option<String> {
    let own: Vec<&Cause> = rows.iter().filter(|row| row.class == Class::Own).collect();
    let Some(first) = own.first() else {
        return (!rows.iter().any(|row| row.class == Class::Unknown))
            .then(|| "No line of your own code copied a page.".to_owned());
    };
    let kind = |row: &Cause| scope.trace.operations.get(row.operation).map_or("", |o| o.kind);
    let mut named = vec![*first];
    // A swap is one page at most, and yet what somebody who swaps wants to know.
    named.extend(own.iter().skip(1).find(|row| kind(row) == "module_swap"));
    let lead = if own.iter().all(|row| kind(row) == "native") { "Most of it" } else { "Your code" };
    let named: Vec<String> = named.into_iter().map(|row| phrase(scope, row)).collect();
    let more = match own.len() - named.len() {
        0 => String::new(),
        more => format!(" (and {} below)", counted(more as u64, "more place")),
    };
    Some(format!("{lead}: {}{more}.", named.join("; ")))
}

/// A row in a sentence: `swap of sys.modules['statistics'] at multi.py:9 (f), 1 page in each of 3 workers`.
fn phrase(scope: &Scope<'_>, row: &Cause) -> String {
    let deed = scope.trace.operations.get(row.operation).and_then(words::deed);
    let what = match deed {
        Some(deed) if row.place == "garbage collector" => deed,
        Some(deed) => format!("{deed} at {}", row.place),
        None if row.written.is_empty() => row.place.clone(),
        None => format!("{} ({})", row.place, row.written),
    };
    format!("{what}, {}", spread(scope, row))
}

/// Pages and who copied them.
fn spread(scope: &Scope<'_>, row: &Cause) -> String {
    let (group, _) = crowd(scope);
    let members: Vec<u64> =
        row.by_process.iter().filter(|(p, _)| scope.is_child(**p)).map(|(_, n)| *n).collect();
    let number = members.len() as u64;
    let parents = row.processes() - number;
    let pages = counted(row.pages(), "page");
    if number == 0 {
        return if group.members.is_empty() { pages } else { format!("{pages} in the parent") };
    }
    let noun = plural(number, group.noun);
    let also = if parents > 0 { " and the parent" } else { "" };
    match members[0] {
        _ if number == 1 => format!("{pages} in one {noun}{also}"),
        same if parents == 0 && members.iter().all(|pages| *pages == same) => {
            format!("{} in each of {} {noun}", counted(same, "page"), count(number))
        }
        _ => format!("{pages} in {} {noun}{also}", count(number)),
    }
}

/// How much could not be explained.
fn unknown_share(rows: &[Cause], total: &Copied) -> Option<String> {
    let unknown = rows.iter().find(|row| row.class == Class::Unknown)?;
    let share = percent(unknown.bytes(), total.all_bytes());
    // What hardly counts is a row of the table.
    (unknown.bytes() * 20 > total.all_bytes())
        .then(|| format!("{share} could not be explained: {}.", unknown.what))
}
