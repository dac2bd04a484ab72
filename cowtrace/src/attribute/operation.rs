//! What the workload was doing: the stack decides. One function for each answer, asked in a fixed order; the first one
//! that is sure of itself wins.

use crate::record::schema::{Confidence, Operation, Write};

use super::library::{self, Library};
use super::stack::KnownFrame;
use super::{Evidence, Phase};
use crate::symbolize::instruction::Store;

/// A question to the evidence.
type Question = fn(&Evidence<'_>, &Write) -> Option<Operation>;

/// The order matters: what somebody else did is none of the process's doing, a swap inside an import is the import's, a collection inside anything is a collection.
static QUESTIONS: &[(&str, Question)] = &[
    ("kernel", foreign),
    ("gc", collection),
    ("fork_bookkeeping", fork),
    ("startup", startup),
    ("exit", exit),
    ("import", import),
    ("module_swap", module_swap),
    ("worker_bookkeeping", workers),
    ("kernel", kernel),
    ("call", call),
    ("native", native),
];

/// Answers what the workload was doing.
#[must_use]
pub fn of(evidence: &Evidence<'_>, write: &Write) -> Operation {
    QUESTIONS.iter().find_map(|(_, question)| question(evidence, write)).unwrap_or_else(|| Operation {
        kind: "unknown",
        name: None,
        detail: None,
        chain: Vec::new(),
        confidence: Confidence::None,
        reason: Some(evidence.no_stack.unwrap_or("the stack shows nothing that is known").to_owned()),
    })
}

fn certain(kind: &'static str, name: Option<String>) -> Operation {
    Operation { kind, name, detail: None, chain: Vec::new(), confidence: Confidence::Certain, reason: None }
}

/// What another process did to this one's memory, or the kernel on its own account, says nothing of what this one was at.
fn foreign(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    evidence.foreign.then(|| Operation {
        detail: Some("from outside".to_owned()),
        ..certain("kernel", evidence.syscall.clone())
    })
}

/// The collector's own functions, or, where they have no names, a run of writes to collector heads from one
/// instruction (see [`super::collector`]).
fn collection(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    let named =
        evidence.collecting || evidence.symbol.is_some_and(library::is_collector) && evidence.in_interpreter;
    (named || evidence.collector_run).then(|| Operation {
        confidence: if named { Confidence::Certain } else { Confidence::Likely },
        ..certain("gc", None)
    })
}

/// While the outermost frames stand where they stood at the fork, the fork has not returned: what runs is the C
/// library's, the interpreter's, or a registered hook, which the first frame inside names.
fn fork(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    if let (Some(stack), Some(fork)) = (evidence.stack, evidence.fork_stack)
        && let Some(beyond) = stack.beyond(fork)
        && evidence.phase.is_none()
        && !stack.is_block_of(beyond)
    {
        let hook = beyond.checked_sub(1).and_then(|at| stack.frames.get(at));
        let hook = hook.map(|frame| library::hook(&frame.shown.file, &frame.shown.function));
        return Some(certain("fork_bookkeeping", hook));
    }
    let native = evidence.stack.is_none() && evidence.symbol.is_some_and(library::is_fork);
    native.then(|| certain("fork_bookkeeping", None))
}

/// The loader's own code is startup where no interpreter frame is under way, until there is a fork: from then on it looks up
/// functions as they are first called. So is an interpreter before its first frame.
fn startup(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    let loads = evidence.stack.is_none() && !evidence.forked;
    let loader = loads && evidence.object.is_some_and(library::is_loader);
    let starting = evidence.phase == Some(Phase::Startup);
    // What exec writes to, it writes to the new program's memory.
    if evidence.syscall.as_deref().filter(|_| evidence.kernel_mode).is_some_and(is_exec) {
        return Some(certain("startup", Some("exec".to_owned())));
    }
    (loader || starting).then(|| Operation {
        confidence: if loader { Confidence::Certain } else { Confidence::Likely },
        ..certain("startup", None)
    })
}

fn is_exec(syscall: &str) -> bool {
    matches!(syscall, "execve" | "execveat")
}

fn exit(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    if evidence.phase == Some(Phase::Exit) {
        return Some(Operation { confidence: Confidence::Likely, ..certain("exit", None) });
    }
    let frames = &evidence.stack?.frames;
    frames
        .iter()
        .any(|frame| library::is_exit(&frame.shown.file, &frame.shown.function))
        .then(|| certain("exit", None))
}

/// Imports under way; a reload, which runs the same machinery from further in; or frames of the machinery whose module's
/// name was lost.
fn import(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    let stack = evidence.stack?;
    if let Some(name) = stack.reload() {
        // A file's name is the end of its module's.
        let detail = Some("reload".to_owned());
        let name = name.map(str::to_owned);
        return Some(Operation { detail, confidence: Confidence::Likely, ..certain("import", name) });
    }
    let chain = stack.imports();
    if let Some(name) = chain.first().cloned() {
        return Some(Operation { chain, ..certain("import", Some(name)) });
    }
    let importing = |frame: &KnownFrame| library::is_importing(&frame.shown.file, &frame.shown.function);
    let unnamed = stack.import_frames().iter().any(importing);
    unnamed.then(|| Operation { confidence: Confidence::Likely, ..certain("import", None) })
}

/// The value of an entry of `sys.modules` that was there before, replaced or removed, by whatever instruction.
fn module_swap(evidence: &Evidence<'_>, write: &Write) -> Option<Operation> {
    let place = evidence.module_entry.as_ref()?;
    let op = evidence.stack?.frames.first().and_then(|frame| frame.shown.op);
    let removed = || evidence.store.is_some_and(Store::is_zero).then_some("delete");
    let detail = op.and_then(|op| SWAPS.iter().find(|(known, _)| *known == op)).map(|(_, how)| *how);
    let detail = detail.or_else(removed);
    (write.kind == "dict_entry" && place.existing)
        .then(|| Operation { detail: detail.map(str::to_owned), ..certain("module_swap", place.key.clone()) })
}

/// How an entry is replaced or removed, by the instruction; one that is not here is a call of `update`, `pop`, `setitem`
/// or the like, which the line shows: what is removed then leaves nothing.
static SWAPS: &[(&str, &str)] = &[("STORE_SUBSCR", "assign"), ("DELETE_SUBSCR", "delete")];

/// Frames of a pool's machinery between the user's line and the write, or no line of the user's at all.
fn workers(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    let inner = evidence.stack?.inner();
    let name = inner.iter().find_map(|frame| match frame.library {
        Library::Workers(name) => Some(name),
        _ => None,
    })?;
    let part = inner
        .iter()
        .filter(|frame| frame.library == Library::Workers(name))
        .find_map(|frame| library::part(&frame.shown.file));
    Some(Operation {
        detail: part.map(str::to_owned),
        ..certain("worker_bookkeeping", Some(name.to_owned()))
    })
}

fn kernel(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    evidence.kernel_mode.then(|| certain("kernel", evidence.syscall.clone()))
}

fn call(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    evidence.stack.map(|_| certain("call", None))
}

/// No interpreter frame: the program is native, or the thread runs outside the interpreter.
fn native(evidence: &Evidence<'_>, _: &Write) -> Option<Operation> {
    (!evidence.frames_missing).then(|| certain("native", None))
}

#[cfg(test)]
mod tests;
