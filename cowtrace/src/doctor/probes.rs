//! Checks of the places to attach to, and of the attempt to.

use super::Row;
use super::machine::{Machine, Trial};
use super::memory::was_tried;
use crate::kernel::hooks::{Attach, HOOKS, Hook, Need};
use crate::kernel::rung::{Means, Rung};
use crate::report::numbers::{counted, size, time};

pub(super) fn rows(machine: &Machine) -> Vec<Row> {
    let mut rows = tracepoints(machine);
    rows.push(trial(machine));
    rows.push(rung(machine));
    rows
}

/// Whether a place is a tracepoint that a trace by these means uses.
fn is_tracepoint(hook: &Hook, means: Means) -> bool {
    matches!(hook.attach, Attach::RawTracepoint { .. } | Attach::Record { .. }) && hook.serves(means)
}

fn tracepoints(machine: &Machine) -> Vec<Row> {
    const CHECK: &str = "tracepoints";
    let Ok(types) = &machine.types else {
        return vec![Row::not_checked(
            CHECK,
            "not known without the kernel's types",
            "see the kernel's types above",
        )];
    };
    let is_tracepoint = |hook: &&Hook| is_tracepoint(hook, types.means);
    let is_there = |hook: &&Hook| types.present.iter().any(|present| present.name() == hook.name());
    let names: Vec<&str> = HOOKS.iter().filter(is_tracepoint).filter(is_there).map(Hook::name).collect();
    let all = HOOKS.iter().filter(is_tracepoint).count();
    let mut rows = Vec::new();
    if names.len() == all {
        rows.push(Row::ok(CHECK, format!("all {all}: {}", names.join(", "))));
    } else if !names.is_empty() {
        rows.push(Row::ok(CHECK, format!("{} of {all}: {}", names.len(), names.join(", "))));
    }
    for hook in HOOKS.iter().filter(is_tracepoint).filter(|hook| !is_there(hook)) {
        let found = format!("no {}: {}", hook.name(), hook.without);
        let next = "boot a kernel for x86-64 of version 5.8 or later that was built with CONFIG_FTRACE";
        rows.push(match hook.need {
            Need::Required => Row::missing(CHECK, found, next),
            Need::Optional | Need::Latency | Need::Hugetlb => Row::limited(CHECK, found, next),
        });
    }
    rows
}

fn trial(machine: &Machine) -> Row {
    const CHECK: &str = "attaching";
    match &machine.trial {
        Trial::Worked { probes, missing, took } => {
            let took = time(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            let probes = counted(*probes as u64, "probe");
            let mut found = format!("{probes} loaded, attached and taken out again, in {took}");
            if was_tried(machine) {
                found.push_str(&format!(", with a ring buffer of {}", size(machine.buffer)));
            }
            if missing.is_empty() {
                return Row::ok(CHECK, found);
            }
            let mut sentences = missing.clone();
            sentences.dedup();
            Row::limited(
                CHECK,
                format!("{found}. {}", sentences.join(" ")),
                "`cowtrace -v -- true` shows the reasons",
            )
        }
        Trial::Failed(said) if machine.seccomp => Row::missing(
            CHECK,
            said,
            "a seccomp filter, as containers have, may forbid it: run it on the host, or start the container without one",
        ),
        Trial::Failed(said) => Row::missing(
            CHECK,
            said,
            "`cowtrace -v -- true` shows the kernel's reasons; please report them with its release",
        ),
        Trial::Untried if !machine.capabilities.missing().is_empty() => {
            Row::not_checked(CHECK, "only root may try", "run it with sudo")
        }
        Trial::Untried => {
            Row::not_checked(CHECK, "something above is missing that it needs", "do first what stands above")
        }
    }
}

fn rung(machine: &Machine) -> Row {
    const CHECK: &str = "rung";
    let Ok(types) = &machine.types else {
        return Row::not_checked(CHECK, "none", "do first what stands above");
    };
    let is_whole = HOOKS
        .iter()
        .filter(|hook| hook.need == Need::Required && hook.serves(types.means))
        .all(|hook| types.present.iter().any(|present| present.name() == hook.name()));
    let Some(fields) = types.fields.as_ref().ok().filter(|_| is_whole) else {
        return Row::not_checked(CHECK, "none", "do first what stands above");
    };
    let blind = [types.preempted.clone(), types.means.rung.blind(&fields.config)].concat().join(" ");
    match types.means.rung {
        Rung::Base => Row::limited(
            CHECK,
            format!("base: tracepoints of exceptions. {blind}"),
            "a kernel with CONFIG_FPROBE or CONFIG_KPROBES, and no lockdown of them, shows more",
        ),
        Rung::Functions(way) => Row::ok(CHECK, format!("functions, by {}. {blind}", way.word(false))),
    }
}
