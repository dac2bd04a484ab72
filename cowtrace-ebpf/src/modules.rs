//! Where the interpreter's table of modules lies, for processes that fork or that were there before.

use cowtrace_ebpf::{
    drops::DropReason,
    event::{Modules, kind},
    plan::{Plan, UNUSED},
    state::{LOOKED, Process, Thread},
};

use crate::{emit, maps, read, thread_state::thread_state};

/// Notes where the current process's module table lies at this moment, zeros if it cannot be told; global for the same
/// reason as [`crate::walk::walk_frame`].
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn note_modules() -> u64 {
    if let Some(thread) = maps::thread(read::current_tid())
        && let Some(process) = maps::process(&thread.process)
    {
        process.modules.dict = 0;
        process.modules.keys = 0;
        if let Some(plan) = maps::plan(process.plan) {
            let _ = module_table(thread, process, plan);
        }
    }
    0
}

/// Tells where the module table of a process lies that was there before, once: no fork of it was seen.
#[inline(always)]
pub(crate) fn look_for_modules() {
    let Some(thread) = maps::thread(read::current_tid()) else { return };
    let Some(process) = maps::process(&thread.process) else { return };
    process.flags |= LOOKED;
    note_modules();
    let Some(thread) = maps::thread(read::current_tid()) else { return };
    let Some(process) = maps::process(&thread.process) else { return };
    let record = Modules {
        header: emit::header(kind::MODULES, size_of::<Modules>(), read::now()),
        process: thread.process,
        modules: process.modules,
    };
    emit::record(&record, size_of::<Modules>(), emit::Wake::No, DropReason::RingDefinition);
}

#[inline(always)]
fn module_table(thread: &mut Thread, process: &mut Process, plan: &Plan) -> Option<()> {
    if process.plan == 0 || plan.interpreter_modules == UNUSED {
        return None;
    }
    let state = thread_state(thread, process, plan);
    let interpreter = read::user::<u64>(state + u64::from(plan.thread_interpreter))?;
    let dict = read::user::<u64>(interpreter + u64::from(plan.interpreter_modules))?;
    let keys = read::user::<u64>(dict + u64::from(plan.dict_keys))?;
    let len = process.modules.header.len() as u32;
    if keys != 0 && read::user_into(keys, &mut process.modules.header, len) {
        process.modules.dict = dict;
        process.modules.keys = keys;
    }
    Some(())
}
