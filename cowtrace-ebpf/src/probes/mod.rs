//! Entries: each takes its tracepoint's arguments apart and calls a plain function.
//!
//! Above each stands the tracepoint's prototype as of Linux 6.18 (`include/trace/events/`,
//! <https://github.com/torvalds/linux/tree/v6.18/include/trace/events>).

#![expect(clippy::needless_pass_by_value, reason = "the attribute macros hand the context over by value")]

mod end;
mod fault;
mod function;
mod page;
mod process;
mod record;
