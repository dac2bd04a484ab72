//! Structures of the interpreter itself, by their addresses.

use super::{Rule, Verdict};
use crate::attribute::Structure;

/// The address lies in one.
pub(super) const RULE: Rule = Rule {
    id: "structure",
    about: "The interpreter's own memory was written: its frames, the state of a thread, the counters in its bytecode.",
    judge: |evidence| {
        evidence.structure.map(|structure| match structure {
            Structure::Frames => Verdict::new("interpreter_frame"),
            Structure::ThreadState => Verdict::new("thread_state"),
            Structure::InterpreterState => Verdict::new("interpreter_state"),
            Structure::Bytecode => Verdict::new("bytecode"),
        })
    },
};
