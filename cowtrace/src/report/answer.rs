//! The answer in sentences: who copied how much of what it inherited, what it was for, and where in the program.

use std::borrow::Cow;

use super::causes::Cause;
use super::cuts::Class;
use super::escape::shorten;
use super::numbers::{count, counted, percent, plural, size, size_range};
use super::scope::{Copied, Scope};
use super::words;

/// The sentences, most important first; never empty. `rows` are the causes by operation, most bytes first.
pub(super) fn sentences(scope: &Scope<'_>, rows: &[Cause]) -> Vec<String> {
    if scope.trace.processes.is_empty() {
        return vec!["No process was seen.".to_owned()];
    }
    let total = scope.total();
    let forked = scope.trace.processes.iter().filter(|process| process.parent.is_some()).count();
    if forked == 0 && total.all_pages() == 0 {
        let who = if scope.launched() {
            "The command never forked"
        } else {
            "Nothing was forked while it was watched"
        };
        return vec![format!("{who}: no memory was shared, so no page was copied because of it.")];
    }
    let mut first = copiers(scope);
    if total.all_pages() == 0 {
        return vec![first];
    }
    if let Some(share) = foreign_share(rows, &total) {
        first = format!("{first} {share}");
    }
    let mut sentences = vec![first];
    sentences.extend(own_code(scope, rows, &total));
    sentences.extend(unexplained(scope, rows, &total));
    sentences
}

/// Processes that are spoken of together.
struct Group {
    noun: &'static str,
    members: Vec<usize>,
}

/// Who copied how much: the workers or child processes, and beside them the others.
fn copiers(scope: &Scope<'_>) -> String {
    let all = (0..scope.trace.processes.len()).filter(|p| scope.is_chosen(*p));
    let (group, others) = crowd(scope);
    let parents: Vec<usize> = all.clone().filter(|p| scope.is_main(*p) && !scope.is_child(*p)).collect();
    let elsewhere: Vec<usize> = all.filter(|p| !scope.is_main(*p)).collect();
    let mut asides = Vec::new();
    let mut text = match sum(scope, &parents) {
        bytes if !group.members.is_empty() => {
            asides.extend(aside(scope, &others, "other child process"));
            asides.extend((bytes > 0).then(|| format!("the parent: {}", size(bytes))));
            group_clause(scope, &group)
        }
        0 if elsewhere.is_empty() => "nothing was copied".to_owned(),
        0 => format!(
            "nothing inherited was copied: {} ran other programs",
            counted(elsewhere.len() as u64, "process")
        ),
        bytes if parents.len() == 1 => format!("the process copied {}", size(bytes)),
        bytes => format!("{} copied {}", counted(parents.len() as u64, "process"), size(bytes)),
    };
    asides.extend(aside(scope, &elsewhere, "process of other programs"));
    if !asides.is_empty() {
        text += &format!(" ({})", asides.join("; "));
    }
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text + "."
}

/// The workers, if there are any, with the processes beside them that did nothing; otherwise every child process of the
/// program that had most to share. And those of its child processes that are left.
fn crowd(scope: &Scope<'_>) -> (Group, Vec<usize>) {
    let processes = &scope.trace.processes;
    let children: Vec<usize> = (0..processes.len())
        .filter(|p| scope.is_main(*p) && scope.is_child(*p) && scope.is_chosen(*p))
        .collect();
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
    // A child of vfork inherits nothing.
    let inherited =
        whose.iter().map(|p| scope.trace.processes[*p].inherited_bytes).filter(|bytes| *bytes > 0);
    let inherited = size_range(inherited);
    // Who forks shares again, and may copy more than was inherited.
    let exceeds = |p: &usize| copied(p) > scope.trace.processes[*p].inherited_bytes;
    let nothing_inherited = inherited.is_empty() || copying.iter().any(exceeds);
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
    format!("{subject} copied {sizes} each{of}")
}

fn sum(scope: &Scope<'_>, processes: &[usize]) -> u64 {
    processes.iter().map(|p| scope.copied(*p).bytes).sum()
}

/// `40 other child processes: 4.3 MiB`; `None` if they copied nothing.
fn aside(scope: &Scope<'_>, processes: &[usize], noun: &str) -> Option<String> {
    let bytes = sum(scope, processes);
    let (noun, rest) =
        noun.split_once(" of ").map_or((noun, String::new()), |(n, rest)| (n, format!(" of {rest}")));
    (bytes > 0).then(|| format!("{}{rest}: {}", counted(processes.len() as u64, noun), size(bytes)))
}

/// How much is what a fork, a pool, a start or a library does by itself.
fn foreign_share(rows: &[Cause], total: &Copied) -> Option<String> {
    let foreign = |class: Class| matches!(class, Class::Machinery | Class::Native);
    let mut rows: Vec<&Cause> = rows.iter().filter(|row| foreign(row.class)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes()));
    let bytes: u64 = rows.iter().map(|row| row.bytes()).sum();
    // What hardly counts is a row of the table.
    if bytes * 10 < total.all_bytes() || bytes == 0 {
        return None;
    }
    let share = |bytes| percent(bytes, total.all_bytes());
    if let [only] = rows[..] {
        return Some(format!("{} is not your code: {}.", share(bytes), short(&only.place)));
    }
    let weighty = rows.iter().filter(|row| row.bytes() * 50 >= total.all_bytes()).take(3);
    let parts: Vec<String> =
        weighty.map(|row| format!("{} {}", short(&row.place), share(row.bytes()))).collect();
    Some(format!("{} is not your code: {}.", share(bytes), parts.join(", ")))
}

/// The places of the program's own code: those that copied most, and what was swapped.
fn own_code(scope: &Scope<'_>, rows: &[Cause], total: &Copied) -> Option<String> {
    let own: Vec<&Cause> = rows.iter().filter(|row| row.class == Class::Own).collect();
    let Some((first, others)) = own.split_first() else {
        let explained = rows.iter().all(|row| row.class != Class::Unknown);
        return (explained && !rows.is_empty()).then(|| "No line of your own code copied a page.".to_owned());
    };
    let kind = |row: &Cause| scope.trace.operations.get(row.operation).map_or("", |o| o.kind);
    let mut named = vec![*first];
    // A swap is a page or two, and yet what somebody who swaps wants to know.
    if let Some(swap) =
        others.iter().find(|row| kind(row) == "module_swap").filter(|_| kind(first) != "module_swap")
    {
        let at = usize::from(swap.bytes() * 16 < first.bytes());
        named.insert(at, swap);
    } else {
        named.extend(others.first().filter(|row| row.bytes() * 10 >= total.all_bytes()));
    }
    let named: Vec<String> = named.into_iter().map(|row| phrase(scope, row, total)).collect();
    Some(format!("Your code: {}.", named.join("; ")))
}

/// A row in a sentence: `swap of sys.modules['statistics'] at multi.py:9 (f), 1 page in each of 3 workers`.
fn phrase(scope: &Scope<'_>, row: &Cause, total: &Copied) -> String {
    let operation = scope.trace.operations.get(row.operation);
    let place = short(&row.place);
    let what = match operation.and_then(words::deed) {
        Some(deed) if operation.is_some_and(|o| o.kind == "gc") => deed,
        Some(deed) => format!("{} at {place}", short(&deed)),
        None if row.written.is_empty() || row.written.contains("unknown") => place.into_owned(),
        None => format!("{place}, {}", short(&row.written)),
    };
    let spread = spread(scope, row);
    if row.bytes() * 100 < total.all_bytes() {
        return format!("{what}, {spread}");
    }
    format!("{what}, {} ({spread})", percent(row.bytes(), total.all_bytes()))
}

/// How much was copied, and by whom.
fn spread(scope: &Scope<'_>, row: &Cause) -> String {
    // What a child copied before it ran another program, it copied as a child.
    let forked = |process: usize| scope.trace.processes.get(process).is_some_and(|p| p.parent.is_some());
    let is_member = |process: usize| scope.is_child(process) || forked(process) && !scope.has_forked(process);
    let (members, others): (Vec<usize>, Vec<usize>) = row.by_process.keys().partition(|p| is_member(**p));
    let number = members.len() as u64;
    let parents = others.len();
    let noun = if members.iter().all(|p| scope.is_worker(*p)) { "worker" } else { "child process" };
    let noun = plural(number, noun);
    // Nobody knows what a million pages are, or huge ones.
    let few = row.pages() < 1000 && row.bytes() == scope.trace.header.pages().of_pages(row.pages());
    let much = if few { counted(row.pages(), "page") } else { size(row.bytes()) };
    let also = if parents > 0 { " and the parent" } else { "" };
    let pages = |process: &usize| row.by_process.get(process).copied().unwrap_or_default();
    let same = members.first().map(pages).filter(|first| members.iter().all(|p| pages(p) == *first));
    match same {
        None if number == 0 && scope.trace.processes.len() == 1 => much,
        None if number == 0 => format!("{much} in the parent"),
        _ if number == 1 => format!("{much} in one {noun}{also}"),
        Some(each) if parents == 0 && few => {
            format!("{} in each of {} {noun}", counted(each, "page"), count(number))
        }
        _ => format!("{much} in {} {noun}{also}", count(number)),
    }
}

/// How much could not be explained, and how much has lost its details.
fn unexplained(scope: &Scope<'_>, rows: &[Cause], total: &Copied) -> Vec<String> {
    let share = |bytes| percent(bytes, total.all_bytes());
    let mut sentences = Vec::new();
    // What hardly counts is a row of the table.
    if let Some(row) = rows.iter().find(|r| r.class == Class::Unknown && r.bytes() * 20 > total.all_bytes()) {
        sentences.push(format!("{} could not be explained.", share(row.bytes())));
    }
    let lost = scope.without_details();
    if lost.all_pages() > 0 {
        let pages = counted(lost.all_pages(), "page");
        sentences.push(format!(
            "{} has lost its details: {pages}, counted but not explained.",
            share(lost.all_bytes())
        ));
    }
    sentences
}

/// A name as long as a sentence bears.
fn short(text: &str) -> Cow<'_, str> {
    shorten(text, 48)
}
