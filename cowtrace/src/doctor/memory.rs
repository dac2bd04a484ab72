//! Checks of whether the ring buffer finds room.

use super::Row;
use super::kernel::version;
use super::machine::{Machine, Trial};
use crate::diag;
use crate::report::numbers::size;

/// Until the release before this one, maps count against the limit of locked memory:
/// <https://github.com/torvalds/linux/commit/3ac1f01b43b6>.
const COUNTED_BY_GROUP: (u32, u32) = (5, 11);

pub(super) fn rows(machine: &Machine) -> Vec<Row> {
    let mut rows = vec![locked(machine), available(machine)];
    rows.extend(groups(machine));
    rows
}

fn locked(machine: &Machine) -> Row {
    const CHECK: &str = "locked memory";
    let Some(limit) = machine.locked else { return Row::ok(CHECK, "no limit") };
    if version(&machine.release).is_some_and(|version| version >= COUNTED_BY_GROUP) {
        return Row::ok(CHECK, format!("limit {}: does not matter since Linux 5.11", size(limit)));
    }
    if machine.capabilities.raises_limits() {
        return Row::ok(CHECK, format!("limit {}: cowtrace raises it", size(limit)));
    }
    if limit >= machine.buffer {
        return Row::ok(CHECK, format!("limit {}", size(limit)));
    }
    let found = format!("limit {}, the ring buffer takes {}", size(limit), size(machine.buffer));
    Row::missing(CHECK, found, "run it with sudo, or raise the limit (`ulimit -l unlimited`)")
}

fn available(machine: &Machine) -> Row {
    const CHECK: &str = "free memory";
    let Some(available) = machine.available else {
        return Row::not_checked(CHECK, "/proc/meminfo does not say", "mount /proc");
    };
    let found = format!("{}, the ring buffer takes {}", size(available), size(machine.buffer));
    if available >= machine.buffer {
        return Row::ok(CHECK, found);
    }
    Row::missing(CHECK, found, smaller(available))
}

/// The group that leaves least.
fn groups(machine: &Machine) -> Option<Row> {
    const CHECK: &str = "cgroup limit";
    let tightest = machine.limits.iter().min_by_key(|limit| limit.free());
    let Some(limit) = tightest else { return Some(Row::ok(CHECK, "none")) };
    let found = format!(
        "{} of {} left in {}, the ring buffer takes {}",
        size(limit.free()),
        size(limit.limit),
        limit.path.display(),
        size(machine.buffer)
    );
    Some(if limit.free() >= machine.buffer {
        Row::ok(CHECK, found)
    } else {
        Row::missing(CHECK, found, format!("raise the group's limit, or {}", smaller(limit.free())))
    })
}

/// A buffer that fits with as much room again.
fn smaller(room: u64) -> String {
    match (room / 2).checked_ilog2().map(|bits| 1_u64 << bits) {
        Some(bytes) if bytes >= procfs::page_size() => format!("use `--buffer {}`", diag::size(bytes)),
        _ => "free some memory".to_owned(),
    }
}

/// Whether the trial had the whole buffer.
pub(super) fn was_tried(machine: &Machine) -> bool {
    machine.trial != Trial::Untried && machine.limits.iter().all(|limit| limit.free() >= machine.buffer)
}
