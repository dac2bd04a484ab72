//! The shared types as aya wants them: plain data that may cross into the kernel.
#![expect(unsafe_code, reason = "aya's marker for plain data is an unsafe trait")]

use cowtrace_ebpf::{
    config, native, plan,
    state::{Assignment, Attaching, Follow, Process, ProcessKey, Session, Thread},
};

macro_rules! plain {
    ($($wrapper:ident($inner:ty), $about:literal;)*) => {$(
        #[doc = $about]
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub(super) struct $wrapper(pub(super) $inner);

        // SAFETY: the inner type is `bytemuck::Pod` (see the assertion below): every bit pattern is valid and none of its
        // bytes is padding.
        unsafe impl aya::Pod for $wrapper {}

        const _: fn() = || {
            fn is_plain<T: bytemuck::Pod>() {}
            is_plain::<$inner>();
        };
    )*};
}

plain! {
    ConfigPod(config::Config), "The globals.";
    PlanPod(plan::Plan), "A walk plan.";
    KeyPod(ProcessKey), "A process's key.";
    ProcessPod(Process), "A process's entry.";
    ThreadPod(Thread), "A thread's slot.";
    FollowPod(Follow), "A process that was there before, or came from one that was.";
    AttachingPod(Attaching), "Which processes are to be taken in.";
    SessionPod(Session), "The session's state.";
    AssignmentPod(Assignment), "An image's interpreter.";
    TemplatePod(native::Template), "What a native stack is known by.";
}
