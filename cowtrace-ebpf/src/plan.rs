//! How to walk an interpreter's frames, as data: the kernel program knows no language and no version.
//!
//! Userspace writes one [`Plan`] per interpreter build into the array map `PLANS` and names its index in the
//! process's [`crate::state::Process::plan`]; a forked child inherits it inside the kernel, before it runs.

use bytemuck::{Pod, Zeroable};

/// Name of the array map of plans.
pub const PLANS: &str = "PLANS";
/// Plans that one session can hold; index 0 means "no interpreter".
pub const MAX_PLANS: u32 = 64;
/// An offset that is not used by this plan.
pub const UNUSED: u16 = u16::MAX;
/// Frames kept per stack; a deeper stack is cut and says so.
pub const MAX_FRAMES: usize = 96;
/// Interpreters × threads looked at to find the faulting thread's state.
pub const MAX_THREAD_STATES: u32 = 64;
/// 8-byte words of a frame that one read fetches at most, a power of two.
pub const FRAME_WORDS: usize = 16;
/// 8-byte words of a thread's state that one read fetches at most, a power of two.
pub const STATE_WORDS: usize = 64;
/// 8-byte words of a code object that identify it, beside its address.
pub const IDENTITY_WORDS: usize = 10;

/// How to find and walk the frames of one interpreter build. Offsets are bytes; [`UNUSED`] = the step is left out.
///
/// thread state → (control frame →) current frame → previous frame → …; frame → code object → names and line table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Plan {
    /// Runtime → pointer to the thread state that holds the interpreter's lock; [`UNUSED`] = no such pointer.
    pub runtime_current: u16,
    /// Runtime → first interpreter state.
    pub runtime_interpreters: u16,
    /// Interpreter state → next interpreter state.
    pub interpreter_next: u16,
    /// Interpreter state → first thread state.
    pub interpreter_threads: u16,
    /// Interpreter state → module table (a dict).
    pub interpreter_modules: u16,
    /// Thread state → next thread state.
    pub thread_next: u16,
    /// Thread state → its interpreter state.
    pub thread_interpreter: u16,
    /// Thread state → `pthread_self()`, equal to the thread's FS base (on x86; where it is not, userspace gives no plan).
    pub thread_ident: u16,
    /// Thread state → current frame, or the control frame that points to it.
    pub thread_frame: u16,
    /// Control frame → current frame; [`UNUSED`] = `thread_frame` is the frame itself.
    pub control_frame: u16,
    /// Bytes of a frame's fixed part: at most [`FRAME_WORDS`] words. Behind the fixed part of the last frame of a stack
    /// there may be nothing.
    pub frame_size: u16,
    /// Frame → code object. Offsets of the fixed part are multiples of 8 (the owner byte's is any).
    pub frame_code: u16,
    /// Frame → previous (outer) frame.
    pub frame_previous: u16,
    /// Frame → instruction pointer, an address in the bytecode; with `frame_index_shift` an i32, the instruction's number.
    pub frame_instruction: u16,
    /// [`UNUSED`] = frames hold addresses. Else they hold the instruction's number, −1 before the first, which is shifted by
    /// this to make it an offset in bytes; the bytecode is a bytes object that `code_bytecode` points to.
    pub frame_index_shift: u16,
    /// Frame → owner byte; [`UNUSED`] = frames have none.
    pub frame_owner: u16,
    /// Frame → first local variable, behind the fixed part.
    pub frame_local0: u16,
    /// Frames whose owner is at least this are shims of the interpreter and are skipped.
    pub owner_shim: u16,
    /// Code object → first of [`IDENTITY_WORDS`] words that do not change while it lives.
    pub code_identity: u16,
    /// Code object → first line number (i32).
    pub code_first_line: u16,
    /// Code object → file name (string object).
    pub code_file: u16,
    /// Code object → qualified name (string object).
    pub code_name: u16,
    /// Code object → line table (bytes object).
    pub code_lines: u16,
    /// Code object → first bytecode unit, inside the object; frames' addresses in a thread's own copy are made addresses in
    /// it. With `frame_index_shift` the pointer to the bytes object that has them.
    pub code_bytecode: u16,
    /// Code object → its names (tuple object): what instructions that load and store by name refer to.
    pub code_names: u16,
    /// Variable-sized object → its size (i64); of a code object the number of its bytecode units.
    pub object_size: u16,
    /// Tuple object → first item.
    pub tuple_items: u16,
    /// String object → length in characters (i64).
    pub string_length: u16,
    /// String object → state word (u32).
    pub string_state: u16,
    /// String object → characters, if ASCII.
    pub string_ascii: u16,
    /// String object → characters, if compact but not ASCII.
    pub string_wide: u16,
    /// Bytes object → length (i64).
    pub bytes_length: u16,
    /// Bytes object → data.
    pub bytes_data: u16,
    /// Object → type object.
    pub object_type: u16,
    /// Type object → name (`char *`).
    pub type_name: u16,
    /// Dict → keys table.
    pub dict_keys: u16,
    /// Type object → flags (u64).
    pub type_flags: u16,
    /// Number of the flag that says "objects of this type are types".
    pub type_is_meta_bit: u16,
    /// Number of the bit of the state word that says "ASCII".
    pub string_ascii_bit: u16,
    /// Thread state → word (u32) of status bits; [`UNUSED`] = there is none.
    pub thread_status: u16,
    /// Number of the status bit that says "this is the state that the thread works with": one thread has a state in each
    /// of several interpreters.
    pub thread_active_bit: u16,
    /// Thread state → its chunk of frames, followed by the top and the limit of what is used of it; [`UNUSED`] = frames
    /// are objects.
    pub thread_chunk: u16,
    /// Logarithm of the size of the allocator's pools, which is their alignment, too; [`UNUSED`] = there are no pools.
    pub pool_shift: u16,
    /// Pool → class of its blocks (u32), which are 16 × (class + 1) bytes long and lie behind the header.
    pub pool_class: u16,
    /// Pool → offset of the last block that it has room for (u32).
    pub pool_last: u16,
    /// Pool → first block.
    pub pool_header: u16,
    /// Number of the type flag that says "objects of this type have a collector's head".
    pub type_has_gc_bit: u16,
    /// Interpreter state → count (i32) of the collector's youngest generation; [`UNUSED`] = it lies elsewhere, or there are
    /// no generations. A collection sets the counts of what it collects to 0 and adds 1 to that of the next older one.
    pub interpreter_gc_counts: u16,
    /// The same from the runtime state.
    pub runtime_gc_counts: u16,
    /// Bytes from the count of one generation to that of the next older one.
    pub gc_count_stride: u16,
    /// Frame → number (i32) of the copy of the bytecode that it runs, inside the fixed part; 0 is the code object's own.
    /// [`UNUSED`] = there are no copies.
    pub frame_copy: u16,
    /// Code object → its table of copies: their number (i64), then the address of each.
    pub code_copies: u16,
    /// Bits to clear in a frame's code pointer (tag bits).
    pub code_tag: u64,
    /// One of [`walker`]: which of the kernel program's walkers goes by this plan.
    pub walker: u64,
    /// Frames of the function with this qualified name carry their first local variable, if that is a string: the name
    /// of the module being imported.
    pub argument_function: ShortName,
    /// What only Ruby's walker uses.
    pub ruby: RubyPlan,
}

impl Plan {
    /// Bytes of a thread's state up to the last word that is of interest at every fault; more than [`STATE_WORDS`] words are
    /// not read.
    #[must_use]
    pub const fn state_size(&self) -> u32 {
        let whose = if self.ruby.thread_native == 0 { self.thread_ident } else { self.ruby.thread_native };
        let mut last = if whose > self.thread_frame { whose } else { self.thread_frame };
        if self.thread_status != UNUSED && self.thread_status > last {
            last = self.thread_status;
        }
        // The chunk's limit is the last of its three words.
        if self.thread_chunk != UNUSED && self.thread_chunk.saturating_add(16) > last {
            last = self.thread_chunk.saturating_add(16);
        }
        (last & !7) as u32 + 8
    }
}

/// Which of the kernel program's walkers goes by a plan.
pub mod walker {
    /// Frames are linked; objects are counted and lie in pools of the interpreter's allocator, or where `malloc` puts them.
    pub const LINKED: u64 = 0;
    /// Frames lie one behind the other at the end of a stack; objects lie in slots of pages of one heap, and are marked.
    pub const STACKED: u64 = 1;
}

macro_rules! ruby_plan {
    ($($(#[$about:meta])* $field:ident;)*) => {
        /// What [`walker::STACKED`] uses beside the plan's offsets of threads and frames.
        ///
        /// thread → execution context (`thread_frame`) → control frame (`control_frame`); control frame → instruction sequence
        /// (`frame_code`) → its body, which is the code object. `frame_instruction` is the address behind the instruction.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct RubyPlan {
            $($(#[$about])* pub $field: u16,)*
        }

        impl RubyPlan {
            /// For plans of other walkers.
            pub const NONE: Self = Self { $($field: 0,)* };
        }
    };
}

ruby_plan! {
    /// Runtime (the virtual machine) → the heap's state.
    runtime_heap;
    /// The heap's state → word (u32) of flags.
    heap_flags;
    /// Number of the flag that says "the collector is at work".
    collecting_bit;
    /// Number of the flag that says "it collects the young objects alone".
    minor_bit;
    /// Execution context → start of its stack, followed by the stack's size in words.
    context_stack;
    /// Control frame → stack pointer.
    frame_stack_pointer;
    /// Control frame → the receiver.
    frame_receiver;
    /// Control frame → environment, at the end of the local variables; its first word has the frame's flags.
    frame_environment;
    /// Bytes in front of the environment at which the method entry lies.
    environment_method;
    /// Bytes in front of the environment between the last local variable and it.
    environment_size;
    /// Method entry → definition.
    method_definition;
    /// Definition → number of its name.
    definition_name;
    /// Instruction sequence → its body.
    code_body;
    /// Bytes of a body that are sent, at most [`BODY`].
    body_size;
    /// Body → table of the entries' positions.
    body_positions;
    /// Body → entries of lines.
    body_entries;
    /// Body → number of those (u32).
    body_entry_count;
    /// Bytes of an entry.
    entry_size;
    /// Body → number of local variables (u32).
    body_locals;
    /// Array object → first item, if it has but a few.
    array_items;
    /// … and its items' address, if it has more.
    array_pointer;
    /// Number of the flag that says that it has but a few.
    array_embedded_bit;
    /// Table of names ([`crate::state::Assignment::string_type`]) → array of arrays of them.
    symbols_names;
    /// Names up to this number are operators' and have that number in the table; others have it above the bits of their scope.
    last_operator;
    /// String object → address of its characters, if they lie elsewhere.
    string_pointer;
    /// Number of the flag that says that they lie elsewhere.
    string_elsewhere_bit;
    /// Number of the flag at which the length of a string that holds its characters itself begins; [`UNUSED`] = it is where that
    /// of others is.
    string_length_bit;
    /// Logarithm of the size of the heap's pages, which is their alignment, too. A page begins with the address of its record.
    page_shift;
    /// Page record → bytes of a slot (u16), followed by the number of slots (u16).
    page_slot_size;
    /// Page record → first slot.
    page_start;
    /// Thread → record of the native thread that runs it, which then has what `thread_ident` tells; 0 = the thread has it
    /// itself.
    thread_native;
    /// Bits below a body's first line: 1 where it is a small integer object, 0 where it is a number.
    first_line_shift;
}

/// Bytes of a code record's lines that are set aside for a body's own words, with [`walker::STACKED`].
pub const BODY: usize = 320;
/// … for the table of positions, behind them. The rest has the entries.
pub const POSITIONS: usize = 960;

/// A short ASCII name in the form in which the kernel program compares it: without a branch for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ShortName {
    /// The bytes, little-endian, zero-padded.
    pub words: [u64; 2],
    /// Bits that count.
    pub mask: [u64; 2],
    /// Length.
    pub len: u64,
}

impl ShortName {
    /// A name of at most 16 bytes; what is longer is cut, but its length still counts, so that it matches nothing.
    #[must_use]
    pub const fn new(name: &[u8]) -> Self {
        let mut short = Self { words: [0; 2], mask: [0; 2], len: name.len() as u64 };
        let mut index = 0;
        while index < name.len() && index < 16 {
            let shift = (index % 8) * 8;
            short.words[index / 8] |= (name[index] as u64) << shift;
            short.mask[index / 8] |= 0xff << shift;
            index += 1;
        }
        short
    }
}

const _: () = assert!(size_of::<Plan>() == 160 + size_of::<RubyPlan>());
