//! Checks of what this process may do.

use super::Row;
use super::machine::Machine;
use crate::kernel::INITIAL_PID_NAMESPACE;
use crate::kernel::capability::{CAPABILITIES, Need};
use crate::report::numbers::joined;

/// Link of the initial user namespace:
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/proc_ns.h>.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// `kernel.yama.ptrace_scope`: nobody may.
const PTRACE_NOBODY: u32 = 3;

const SUDO: &str = "run it with sudo";
const ON_HOST: &str = "run it on the host, or give the container these capabilities";

pub(super) fn rows(machine: &Machine) -> Vec<Row> {
    let mut rows = vec![user(machine), capabilities(machine)];
    rows.extend(optional(machine));
    rows.extend([pid_namespace(machine), user_namespace(machine), settings(machine), ptrace(machine)]);
    rows
}

fn user(machine: &Machine) -> Row {
    const CHECK: &str = "user";
    match (machine.user, machine.capabilities.missing().is_empty()) {
        (0, _) => Row::ok(CHECK, "root"),
        (user, true) => Row::ok(CHECK, format!("user {user}, with the capabilities below")),
        (user, false) => Row::missing(CHECK, format!("user {user}, not root"), SUDO),
    }
}

fn capabilities(machine: &Machine) -> Row {
    const CHECK: &str = "capabilities";
    let missing = machine.capabilities.missing();
    let required = CAPABILITIES.iter().filter(|capability| capability.need == Need::Required);
    if missing.is_empty() {
        let names: Vec<String> = required.map(|capability| capability.name.to_owned()).collect();
        return Row::ok(CHECK, joined(&names));
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let next = if machine.user == 0 { ON_HOST } else { SUDO };
    Row::missing(CHECK, format!("no {}: probes cannot be attached", names.join(", no ")), next)
}

/// Capabilities that are missing without stopping a trace; those of a user who lacks the others say nothing new.
fn optional(machine: &Machine) -> Vec<Row> {
    if !machine.capabilities.missing().is_empty() {
        return Vec::new();
    }
    let lacks = |capability: &&crate::kernel::capability::Capability| !machine.capabilities.has(capability);
    let row = |capability: &crate::kernel::capability::Capability| match capability.need {
        Need::Optional(without) => {
            let next = if machine.user == 0 { ON_HOST } else { SUDO };
            Some(Row::limited("capability", format!("no {}: {without}", capability.name), next))
        }
        Need::Required => None,
    };
    CAPABILITIES.iter().filter(lacks).filter_map(row).collect()
}

fn pid_namespace(machine: &Machine) -> Row {
    const CHECK: &str = "PID namespace";
    match machine.pid_namespace.as_deref() {
        Some(INITIAL_PID_NAMESPACE) => Row::ok(CHECK, "the host's"),
        Some(_) => Row::missing(
            CHECK,
            "a container's own: the kernel's probes use the host's process numbers",
            "run it on the host, or start the container with --pid=host",
        ),
        None => Row::not_checked(CHECK, "not told by /proc", "mount /proc"),
    }
}

fn user_namespace(machine: &Machine) -> Row {
    const CHECK: &str = "user namespace";
    match machine.user_namespace.as_deref() {
        Some(INITIAL_USER_NAMESPACE) => Row::ok(CHECK, "the host's"),
        Some(_) => Row::missing(
            CHECK,
            "a container's own: the kernel does not count its root's capabilities",
            "run it on the host, or in a container that is not rootless",
        ),
        None => Row::not_checked(CHECK, "not told by /proc", "mount /proc"),
    }
}

/// Settings that people look at first. Probes need the capabilities whatever these say, and with them these do not count.
fn settings(machine: &Machine) -> Row {
    let values = machine.settings.iter().map(|(name, value)| format!("{name} = {value}"));
    let values: Vec<String> = values.collect();
    let found = if values.is_empty() {
        "none".to_owned()
    } else {
        format!("{}: they do not matter, the capabilities decide", values.join(", "))
    };
    Row::ok("settings", found)
}

fn ptrace(machine: &Machine) -> Row {
    const CHECK: &str = "ptrace scope";
    match machine.ptrace_scope {
        None => Row::ok(CHECK, "the kernel has no Yama: not restricted"),
        Some(scope) if scope >= PTRACE_NOBODY => Row::limited(
            CHECK,
            format!("{scope}: no process's memory can be read, interpreters are not recognised"),
            "it stays so until the machine is booted: set kernel.yama.ptrace_scope below 3 before",
        ),
        Some(scope) => Row::ok(CHECK, format!("{scope}: does not bind CAP_SYS_PTRACE")),
    }
}
