//! What was captured of real programs is judged as it was there. `captured.jsonl` has lines of the log of `cowtrace -vvv`
//! for `tests/workloads/writes.py` and its `experiments`, those whose answers the script confirms: by the address that it
//! told, or where it tells none by its line and what its instruction does. `case` names the script's case; `any` = what every
//! case writes, too. `heap` is `tests/programs/heap.c`, which tells addresses and words, `redis` a redis-server that saves: both
//! have no interpreter. When a rule comes to know what a line with `unknown` has, another takes the line's place.

use serde::Deserialize;

use super::*;
use crate::attribute::rules::judge;
use crate::record::schema::{Confidence, WRITE_KINDS};

/// A line of the fixture.
#[derive(Deserialize)]
struct Line {
    case: String,
    #[serde(flatten)]
    capture: Capture,
}

impl Line {
    fn about(&self) -> String {
        let Capture { version, pid, address, write, .. } = &self.capture;
        format!("{} on {version:?}, process {pid}, {:#x}: {write:?}", self.case, address.0)
    }
}

fn lines() -> Vec<Line> {
    let text = include_str!("../captured.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Every line gets the answer that it got.
#[test]
fn answers_are_the_same() {
    for line in lines() {
        let replay = line.capture.replay();
        assert_eq!(Said::of(&judge(&replay.evidence())), line.capture.write, "{}", line.about());
    }
}

/// Kinds that are told by a heap of slots alone, of which captures keep nothing.
static OF_SLOTS: &[&str] = &["gc_mark_bits", "object_flags"];

/// Every kind of write is there.
#[test]
fn every_kind_has_evidence() {
    let lines = lines();
    for kind in WRITE_KINDS.iter().filter(|kind| !OF_SLOTS.contains(kind)) {
        assert!(lines.iter().any(|line| line.capture.write.kind == *kind), "no evidence of {kind}");
    }
    for line in lines {
        assert!(WRITE_KINDS.contains(&line.capture.write.kind.as_str()), "{}", line.about());
    }
}

/// A line is written as it was read.
#[test]
fn lines_stay_as_they_are() {
    for (text, line) in include_str!("../captured.jsonl").lines().zip(lines()) {
        let written = serde_json::to_string(&line.capture).unwrap();
        assert_eq!(
            text.replacen(&format!("\"case\":\"{}\",", line.case), "", 1),
            written,
            "{}",
            line.about()
        );
    }
}

/// What is found out anew of a block is what it was.
#[test]
fn blocks_are_found_again() {
    for line in lines() {
        let replay = line.capture.replay();
        let found = replay.evidence().block;
        let kept = &line.capture.block;
        assert_eq!(found.is_some(), kept.is_some(), "{}", line.about());
        if let (Some(found), Some(kept)) = (found, kept) {
            let (size, address) = (found.size, found.address);
            assert_eq!((address, size), (kept.address.0, kept.size), "{}", line.about());
            assert_eq!((found.is_linked, found.late), (kept.is_linked, kept.late), "{}", line.about());
        }
    }
}

/// A piece of evidence, and how it is taken away.
type Piece = (&'static str, fn(&mut Capture));

/// Each is what some answer rests on.
static PIECES: &[Piece] = &[
    ("the image", |capture| capture.image = None),
    ("the types", |capture| capture.types.clear()),
    ("the instruction", |capture| capture.code = None),
    ("the registers", |capture| capture.registers.clear()),
    ("the block", |capture| capture.block = None),
    ("the pool", |capture| capture.pool = None),
    ("the owner", |capture| capture.owner = None),
    ("the structure", |capture| capture.structure = None),
    ("the variable", |capture| capture.data = None),
    ("the heap", |capture| capture.heap = None),
    ("the stack's neighbourhood", |capture| capture.near_stack = false),
    ("the entry of sys.modules", |capture| capture.module_entry = None),
    ("the name that is stored", |capture| capture.stored_name = None),
    ("the type in a register", |capture| {
        capture.type_in_register = None;
        capture.stores_type = false;
    }),
    ("the frames", |capture| capture.frames = None),
    ("the symbol", |capture| capture.symbol = None),
    ("the file of the code", |capture| {
        capture.object = None;
        capture.in_interpreter = false;
    }),
];

/// Kinds that are parts of others: what is said without a piece of the evidence is right, and says less.
static PARTS: &[(&str, &str)] = &[
    // The state of the first thread lies in the interpreter's variable, and that in a file's data.
    ("thread_state", "interpreter_state"),
    ("interpreter_state", "library_data"),
    // The main arena of malloc is a variable of the C library.
    ("malloc", "library_data"),
    // Since 3.13 the attributes lie behind the instance.
    ("attribute", "object_body"),
];

/// Without a piece of the evidence an answer becomes weaker, or none is given: another one is never certain.
#[test]
fn less_evidence_makes_no_other_answer_certain() {
    let mut wrong = Vec::new();
    for line in lines() {
        for (piece, take) in PIECES {
            let mut less = line.capture.clone();
            take(&mut less);
            let replay = less.replay();
            let said = Said::of(&judge(&replay.evidence()));
            let before = line.capture.write.kind.as_str();
            let is_same = said.kind == before || PARTS.contains(&(before, said.kind.as_str()));
            if !is_same && said.confidence == Confidence::Certain {
                wrong.push(format!("{}\n    without {piece}: {said:?}", line.about()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
