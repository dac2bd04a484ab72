//! An interpreter's state of the thread that faults: found, and its beginning read.

use cowtrace_ebpf::{
    plan::{MAX_THREAD_STATES, Plan, STATE_WORDS, UNUSED},
    state::{Process, Thread},
};

use crate::{
    maps::{self, config},
    read, tree,
};

/// The innermost frame of a thread, of whose state this is the beginning; 0 = it runs none.
#[inline(always)]
pub(crate) fn current_frame(state: &[u64; STATE_WORDS], plan: &Plan) -> u64 {
    let frame = state_word(state, plan.thread_frame);
    if plan.control_frame == UNUSED || frame == 0 {
        return frame;
    }
    read::user::<u64>(frame + u64::from(plan.control_frame)).unwrap_or(0)
}

/// The word at an offset of a thread's state. The offset comes from the plan; one that was not read gives another word.
#[inline(always)]
pub(crate) fn state_word(state: &[u64; STATE_WORDS], offset: u16) -> u64 {
    state[usize::from(offset >> 3) & (STATE_WORDS - 1)]
}

/// The interpreter's state of the faulting thread: the one whose ident equals the thread pointer, 0 if there is none. Its beginning
/// is in this CPU's buffer then: one long read is cheaper than some short ones.
///
/// The state that holds the lock is asked first: while a thread is being started its state carries the ident of the
/// thread that starts it.
#[inline(always)]
pub(crate) fn thread_state(thread: &mut Thread, process: &Process, plan: &Plan) -> u64 {
    let Some(ident) = tree::field::<u64>(read::current_task(), config!(task_thread_pointer)) else {
        return 0;
    };
    if plan.runtime_current != UNUSED
        && let Some(state) = read::user::<u64>(process.runtime + u64::from(plan.runtime_current))
        && state != 0
        && is_state_of(state, ident, process.plan)
    {
        thread.thread_state = state;
        return state;
    }
    if thread.thread_state != 0 && is_state_of(thread.thread_state, ident, process.plan) {
        return thread.thread_state;
    }
    thread.thread_state = find_state(process, ident, plan);
    thread.thread_state
}

/// Whether a state is the thread's, and, where one thread has several, the one that it used last.
#[inline(always)]
fn is_state_of(state: u64, ident: u64, plan: u32) -> bool {
    read_state(state, ident, plan.into()) != 0
}

/// Reads the beginning of a state into this CPU's buffer; whether it is the thread's (1, else 0). Global for the same reason
/// as [`crate::walk::walk_frame`].
#[expect(unsafe_code, reason = "only an exported function is global in the object's type information")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn read_state(state: u64, ident: u64, plan: u64) -> u64 {
    let Some(scratch) = maps::scratch() else { return 0 };
    let Some(plan) = maps::plan(plan as u32) else { return 0 };
    let words = &mut scratch.state;
    if !read::user_part(state, words, plan.state_size()) {
        return 0;
    }
    let found = if plan.ruby.thread_native == 0 {
        state_word(words, plan.thread_ident)
    } else {
        let holder = state_word(words, plan.ruby.thread_native);
        read::user::<u64>(holder + u64::from(plan.thread_ident)).unwrap_or(0)
    };
    if found != ident {
        return 0;
    }
    if plan.thread_status == UNUSED {
        return 1;
    }
    let status = state_word(words, plan.thread_status) >> ((plan.thread_status & 4) * 8);
    (status >> (plan.thread_active_bit & 31)) & 1
}

#[inline(never)]
fn find_state(process: &Process, ident: u64, plan: &Plan) -> u64 {
    let first = process.runtime + u64::from(plan.runtime_interpreters);
    let mut interpreter = read::user::<u64>(first).unwrap_or(0);
    let mut state = 0;
    let mut step = 0;
    while step < MAX_THREAD_STATES {
        step += 1;
        if state == 0 {
            if interpreter == 0 {
                return 0;
            }
            state = read::user::<u64>(interpreter + u64::from(plan.interpreter_threads)).unwrap_or(0);
            interpreter = read::user::<u64>(interpreter + u64::from(plan.interpreter_next)).unwrap_or(0);
            continue;
        }
        if is_state_of(state, ident, process.plan)
            && let Some(scratch) = maps::scratch()
            && current_frame(&scratch.state, plan) != 0
        {
            return state;
        }
        state = read::user::<u64>(state + u64::from(plan.thread_next)).unwrap_or(0);
    }
    0
}
