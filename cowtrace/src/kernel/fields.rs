//! Which fields of kernel structs the kernel half reads, and where they lie in the running kernel.
//!
//! A field that was renamed or moved gets a second candidate path; no version is ever compared.

use cowtrace_ebpf::config::{ABSENT, Config, NO_CALLERS};

use super::btf::{Btf, BtfError};
use super::{Error, registers};
use crate::arch::{ARM64, Arch, X86_64};
use crate::page;

/// Whether cowtrace can do without something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It cannot.
    Required,
    /// It can; the trace then lacks what the row's `without` says.
    Optional,
}

/// A field of a kernel struct.
pub struct Field {
    /// The struct.
    pub structure: &'static str,
    /// Paths of the member, the first that exists is taken.
    pub paths: &'static [&'static str],
    /// Its size in bytes: a field of another size is another field.
    pub size: u32,
    /// Where the offset goes.
    pub slot: fn(&mut Config) -> &mut u32,
    /// Whether it has to be there.
    pub need: Need,
    /// What the trace lacks without it, a sentence; empty if nothing.
    pub without: &'static str,
}

/// An allocation flag: `config` gets its mask.
struct Flag {
    /// Enumerator of the bit's number, Linux 6.10 and later.
    enumerator: &'static str,
    /// The mask before, when it was a macro and in no BTF.
    before: u32,
    slot: fn(&mut Config) -> &mut u32,
}

/// The kernel's fields for this kernel.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Offsets, masks, the machine's pages and registers; its other switches are left at zero.
    pub config: Config,
    /// What the trace will lack, each a sentence.
    pub missing: Vec<&'static str>,
}

const fn required(
    structure: &'static str,
    paths: &'static [&'static str],
    size: u32,
    slot: fn(&mut Config) -> &mut u32,
) -> Field {
    Field { structure, paths, size, slot, need: Need::Required, without: "" }
}

const fn optional(
    structure: &'static str,
    paths: &'static [&'static str],
    size: u32,
    slot: fn(&mut Config) -> &mut u32,
    without: &'static str,
) -> Field {
    Field { structure, paths, size, slot, need: Need::Optional, without }
}

const NO_THREAD_POINTER: &str =
    "Frames of interpreters are not seen: the kernel does not say where a thread keeps its state.";
const NO_INHERITED: &str = "How much private memory a process inherited at its fork is not known.";
const NO_COMMAND: &str = "Command lines of processes that start while tracing are not known.";

/// Every field. Structs:
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/sched.h>,
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/sched/signal.h>,
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/mm_types.h>,
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/binfmts.h>.
pub static FIELDS: &[Field] = &[
    required("task_struct", &["pid"], 4, |c| &mut c.task_pid),
    required("task_struct", &["tgid"], 4, |c| &mut c.task_tgid),
    required("task_struct", &["start_time"], 8, |c| &mut c.task_start_time),
    required("task_struct", &["mm"], 8, |c| &mut c.task_mm),
    required("task_struct", &["group_leader"], 8, |c| &mut c.task_group_leader),
    required("task_struct", &["stack"], 8, |c| &mut c.task_stack),
    required("task_struct", &["comm"], 16, |c| &mut c.task_comm),
    required("task_struct", &["real_parent"], 8, |c| &mut c.task_real_parent),
    required("task_struct", &["signal"], 8, |c| &mut c.task_signal),
    required("signal_struct", &["live"], 4, |c| &mut c.signal_live),
    optional(
        "task_struct",
        &[X86_64.thread_pointer, ARM64.thread_pointer],
        8,
        |c| &mut c.task_thread_pointer,
        NO_THREAD_POINTER,
    ),
    optional(
        "task_struct",
        &["exit_code"],
        4,
        |c| &mut c.task_exit_code,
        "Exit statuses of forked processes are not known.",
    ),
    optional(
        "task_struct",
        &["pagefault_disabled"],
        4,
        |c| &mut c.task_pagefault_disabled,
        "Faults that the kernel refused to handle on the spot count as failed ones.",
    ),
    // Gone since 6.2: https://github.com/torvalds/linux/commit/f1a7941243c1
    optional("task_struct", &["rss_stat.count"], 16, |c| &mut c.task_counters, ""),
    optional("mm_struct", &["arg_start"], 8, |c| &mut c.mm_arg_start, NO_COMMAND),
    optional("mm_struct", &["arg_end"], 8, |c| &mut c.mm_arg_end, NO_COMMAND),
    // Only for processes that are gone before their mappings are read.
    optional("mm_struct", &["start_brk"], 8, |c| &mut c.mm_start_brk, ""),
    optional("mm_struct", &["start_stack"], 8, |c| &mut c.mm_start_stack, ""),
    // One `struct percpu_counter` for each kind of page since 6.2, before that one array of atomics:
    // https://github.com/torvalds/linux/commit/f1a7941243c1
    optional(
        "mm_struct",
        &["rss_stat[MM_ANONPAGES].count", ATOMIC_ANON],
        8,
        |c| &mut c.mm_anon,
        NO_INHERITED,
    ),
    optional("mm_struct", &["rss_stat[MM_SWAPENTS].count", ATOMIC_SWAP], 8, |c| &mut c.mm_swap, NO_INHERITED),
    // With CONFIG_MEMCG. Without, writes from outside count nowhere.
    optional("mm_struct", &["owner"], 8, |c| &mut c.memory_owner, ""),
    required("vm_area_struct", &["vm_mm"], 8, |c| &mut c.area_memory),
    optional(
        "linux_binprm",
        &["filename"],
        8,
        |c| &mut c.bprm_filename,
        "Which file a process executes is looked up afterwards, and not known of short-lived ones.",
    ),
    // Records, where they are asked for in place of raw tracepoints: see [`super::preemption`].
    optional("trace_event_raw_mm_page_alloc", &["pfn"], 8, |c| &mut c.allocated_frame, ""),
    optional("trace_event_raw_mm_page_alloc", &["order"], 4, |c| &mut c.allocated_order, ""),
    optional("trace_event_raw_mm_page_alloc", &["gfp_flags"], 8, |c| &mut c.allocated_flags, ""),
    optional("trace_event_raw_mm_page_free", &["pfn"], 8, |c| &mut c.freed_frame, ""),
    optional("trace_event_raw_sched_process_exec", &["__data_loc_filename"], 4, |c| &mut c.executed_name, ""),
    optional("trace_event_raw_sched_process_exec", &["old_pid"], 4, |c| &mut c.executed_old, ""),
];

const ATOMIC_ANON: &str = "rss_stat.count[MM_ANONPAGES]";
const ATOMIC_SWAP: &str = "rss_stat.count[MM_SWAPENTS]";

/// Masks of <https://github.com/torvalds/linux/blob/v5.8/include/linux/gfp.h>, unchanged until they became enumerators:
/// <https://github.com/torvalds/linux/blob/v6.18/include/linux/gfp_types.h>.
static FLAGS: &[Flag] = &[
    Flag { enumerator: "___GFP_MOVABLE_BIT", before: 0x8, slot: |c| &mut c.gfp_movable },
    Flag { enumerator: "___GFP_HIGHMEM_BIT", before: 0x2, slot: |c| &mut c.gfp_highmem },
    Flag { enumerator: "___GFP_ZERO_BIT", before: 0x100, slot: |c| &mut c.gfp_zero },
    Flag { enumerator: "___GFP_DIRECT_RECLAIM_BIT", before: 0x400, slot: |c| &mut c.gfp_direct_reclaim },
    Flag { enumerator: "___GFP_WRITE_BIT", before: 0x1000, slot: |c| &mut c.gfp_never },
];

/// Whether the kernel's records have what programs read there.
#[must_use]
pub fn has_records(config: &Config) -> bool {
    [
        config.allocated_frame,
        config.allocated_order,
        config.allocated_flags,
        config.freed_frame,
        config.executed_name,
        config.executed_old,
    ]
    .iter()
    .all(|offset| *offset != ABSENT)
}

/// Looks every field up, and what this kind of machine has of its own.
///
/// # Errors
/// If a required field is not there, or nothing is known of the machine.
pub fn config(btf: &Btf) -> Result<Fields, Error> {
    config_of(btf, Arch::here().ok_or(Error::NoArchitecture(std::env::consts::ARCH))?)
}

fn config_of(btf: &Btf, arch: &Arch) -> Result<Fields, Error> {
    let mut config = Config::default();
    let mut missing = Vec::new();
    for field in FIELDS {
        *(field.slot)(&mut config) = match (offset(btf, field), field.need) {
            (Ok(offset), _) => offset,
            (Err(source), Need::Required) => return Err(Error::NoField(source)),
            (Err(_), Need::Optional) => {
                if !field.without.is_empty() && !missing.contains(&field.without) {
                    missing.push(field.without);
                }
                ABSENT
            }
        };
    }
    for flag in FLAGS {
        let bit = btf.enumerator(flag.enumerator).and_then(|bit| u32::try_from(bit).ok());
        *(flag.slot)(&mut config) = bit.and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or(flag.before);
    }
    registers::fill(btf, arch, &mut config)?;
    config.page_shift = page::here().shift();
    if !arch.knows.callers {
        config.flags |= NO_CALLERS;
    }
    missing.extend(arch.lacking);
    Ok(Fields { config, missing })
}

/// The first candidate that exists with the size that is expected.
fn offset(btf: &Btf, field: &Field) -> Result<u32, BtfError> {
    let mut first = None;
    for path in field.paths {
        match btf.place(field.structure, path) {
            Ok(place) if place.size == field.size => return Ok(place.offset),
            Ok(_) => {}
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| BtfError::NoMember {
        structure: field.structure.to_owned(),
        path: format!("{} of {} bytes", field.paths.join(" or "), field.size),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole() {
        let mut config = Config::default();
        for field in FIELDS {
            assert!(!field.paths.is_empty());
            assert_eq!(*(field.slot)(&mut config), 0, "{} {:?}: slot is taken", field.structure, field.paths);
            *(field.slot)(&mut config) = 1;
            assert!(field.without.is_empty() || field.without.ends_with('.'), "{}", field.without);
        }
        for flag in FLAGS {
            assert_eq!(*(flag.slot)(&mut config), 0, "{}: slot is taken", flag.enumerator);
            *(flag.slot)(&mut config) = 1;
            assert_eq!(flag.before.count_ones(), 1);
        }
        let rest = Config {
            flags: 1,
            page_shift: 1,
            registers_interrupted: 1,
            interrupted_call: 1,
            interrupted_ip: 1,
            interrupted_sp: 1,
            registers_arguments: 1,
            arguments_reversed: 1,
            registers_returned: 1,
            own_pid: 1,
            ..config
        };
        assert!(bytemuck::cast_ref::<Config, [u32; 44]>(&rest).iter().all(|word| *word == 1), "{rest:?}");
    }

    /// Needs a kernel with BTF.
    #[test]
    fn the_running_kernel_has_every_field() {
        let Ok(bytes) = std::fs::read(super::super::btf::KERNEL) else {
            println!("SKIPPED: this kernel does not describe its types");
            return;
        };
        let fields = config(&Btf::parse(bytes).unwrap()).unwrap();
        assert_eq!(fields.missing, Arch::here().unwrap().lacking);
        let config = fields.config;
        assert_eq!(config.task_tgid, config.task_pid + 4);
        assert_eq!(config.mm_arg_end, config.mm_arg_start + 8);
        assert_eq!((config.gfp_movable, config.gfp_zero), (0x8, 0x100));
    }

    #[test]
    fn a_kernel_without_a_required_field_is_named() {
        let empty =
            Btf::parse(vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let error = config(&empty.unwrap()).unwrap_err();
        assert!(matches!(error, Error::NoField(BtfError::NoStruct(name)) if name == "task_struct"));
    }
}
