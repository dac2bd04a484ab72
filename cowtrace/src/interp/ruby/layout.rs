//! The table of Ruby's layouts: the one place that knows versions. To add one is to add a row.
//!
//! Offsets are those of x86-64 Linux builds. They are compared with a live interpreter before they are used.

mod v3_3;

use cowtrace_ebpf::plan::{Plan, RubyPlan, ShortName, UNUSED, walker};

/// The layout of a range of versions.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Name of the row.
    pub name: &'static str,
    /// First and last version that it covers: major, minor, teeny.
    pub versions: [[u32; 3]; 2],
    /// What the kernel side needs.
    pub plan: Plan,
    /// Virtual machine → main ractor, which the main thread follows.
    pub vm_main_ractor: u64,
    /// Bytes of a virtual machine, a ractor, a thread, an execution context.
    pub sizes: Sizes,
    /// Thread → its ractor, which its virtual machine follows.
    pub thread_ractor: u64,
    /// Execution context → its thread.
    pub context_thread: u64,
    /// The heap's state → addresses of the page records, followed by their number.
    pub heap_pages: u64,
    /// … → first and last address of the pages.
    pub heap_range: u64,
    /// … → chunks of the collector's stack, those in use and those in store.
    pub mark_stack: [u64; 2],
    /// Chunk → next chunk, its last word.
    pub chunk_next: u64,
    /// Parts of a page record from these offsets on: what each is.
    pub record: &'static [(u64, &'static str)],
    /// Bytes of a page record.
    pub record_size: u64,
    /// Body → addresses and numbers of what its instructions remember.
    pub body: Body,
    /// Logarithm of the size and alignment of blocks of memory for what lives shortly, and what each says of its size;
    /// `None` = there is no such memory.
    pub transient: Option<(u32, u16)>,
    /// Hash object → its table of many entries, if that lies in the object, as few pairs then do, too; `None` = the object has
    /// the address of either.
    pub hash_inside: Option<u64>,
    /// How many instance variables an object has room for elsewhere is told by its shape, not by the object.
    pub shapes: bool,
    /// Flags that have the number of members that a struct holds itself.
    pub struct_members: u64,
    /// File object → its state.
    pub file_state: u64,
    /// Bytes of a file's state.
    pub file_state_size: u64,
    /// Data object → its data.
    pub data: u64,
    /// Bytes of a method's definition.
    pub definition_size: u64,
    /// Class object → its extension.
    pub class_extension: u64,
    /// That lies in the object; else the object has its address.
    pub class_extension_inside: bool,
    /// Bytes of that.
    pub class_extension_size: u64,
    /// … → the class's name (a string); `None` = it is one of the hidden variables.
    pub class_name: Option<u64>,
    /// … → table of instance variables, if one of them is the name.
    pub class_variables: u64,
    /// … → tables of methods that are remembered, by name (`callable_m_tbl`, `cc_tbl`).
    pub class_caches: [u64; 2],
    /// The hidden variables that hold a class's name.
    pub class_path: &'static [&'static str],
}

/// Bytes of structures.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of the virtual machine.
    pub vm: u64,
    /// Of a ractor.
    pub ractor: u64,
    /// Of a thread.
    pub thread: u64,
    /// Of an execution context.
    pub context: u64,
    /// Of the heap's state.
    pub heap: u64,
}

/// Where the body of an instruction sequence has what.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Number of words of its code (u32).
    pub code_size: usize,
    /// Address of its code.
    pub code: usize,
    /// Address of the inline caches of constants and instance variables.
    pub caches: usize,
    /// Their number (u32), or the first of the numbers of each kind, which follow one another.
    pub cache_count: usize,
    /// Kinds of them that are counted by themselves.
    pub cache_kinds: usize,
    /// Bytes of each.
    pub cache_size: u64,
    /// Address of the call caches.
    pub calls: usize,
    /// Their number (u32).
    pub call_count: usize,
    /// Bytes of each.
    pub call_size: u64,
}

/// Every layout that is known, oldest first.
pub static LAYOUTS: &[&Layout] = &[&RUBY_3_1, &v3_3::RUBY_3_3];

/// The row for a version.
#[must_use]
pub fn of_version(version: [u32; 3]) -> Option<&'static Layout> {
    let covers = |layout: &&&Layout| layout.versions[0] <= version && version <= layout.versions[1];
    LAYOUTS.iter().find(covers).copied()
}

/// The versions that are known, for a person.
#[must_use]
pub fn known() -> String {
    let minor = |layout: &&Layout| format!("{}.{}", layout.versions[0][0], layout.versions[0][1]);
    LAYOUTS.iter().map(minor).collect::<Vec<_>>().join(", ")
}

/// Ruby 3.1.
///
/// * `rb_vm_t`, `rb_thread_t`, `rb_execution_context_t`, `rb_control_frame_t`, `struct rb_iseq_constant_body`:
///   <https://github.com/ruby/ruby/blob/v3_1_2/vm_core.h>
/// * `rb_ractor_t`: <https://github.com/ruby/ruby/blob/v3_1_2/ractor_core.h#L82>
/// * `rb_objspace_t`, `struct heap_page`: <https://github.com/ruby/ruby/blob/v3_1_2/gc.c#L706>
/// * `rb_method_entry_t`, `rb_method_definition_t`: <https://github.com/ruby/ruby/blob/v3_1_2/method.h#L54>
/// * `struct RString`: <https://github.com/ruby/ruby/blob/v3_1_2/include/ruby/internal/core/rstring.h#L234>
/// * `rb_classext_t`: <https://github.com/ruby/ruby/blob/v3_1_2/internal/class.h#L29>
/// * `rb_symbols_t`: <https://github.com/ruby/ruby/blob/v3_1_2/symbol.h#L61>
pub static RUBY_3_1: Layout = Layout {
    name: "ruby-3.1",
    versions: [[3, 1, 0], [3, 1, u32::MAX]],
    plan: Plan {
        runtime_current: UNUSED,
        // The main ractor is asked for its threads; a thread of another one is not found.
        runtime_interpreters: 32,
        interpreter_next: 0,
        interpreter_threads: 304,
        interpreter_modules: UNUSED,
        thread_next: 0,
        thread_interpreter: 24,
        thread_ident: 80,
        thread_frame: 40,
        control_frame: 16,
        frame_size: 64,
        frame_code: 16,
        frame_previous: UNUSED,
        frame_instruction: 0,
        frame_index_shift: UNUSED,
        frame_owner: UNUSED,
        frame_local0: UNUSED,
        owner_shim: UNUSED,
        code_identity: 0,
        code_first_line: 88,
        code_file: 64,
        code_name: 80,
        code_lines: UNUSED,
        code_bytecode: 8,
        code_names: UNUSED,
        object_size: UNUSED,
        tuple_items: UNUSED,
        string_length: 16,
        string_state: 0,
        string_ascii: 16,
        string_wide: 16,
        bytes_length: UNUSED,
        bytes_data: UNUSED,
        object_type: 8,
        type_name: UNUSED,
        dict_keys: UNUSED,
        type_flags: UNUSED,
        type_is_meta_bit: UNUSED,
        string_ascii_bit: UNUSED,
        thread_status: UNUSED,
        thread_active_bit: UNUSED,
        thread_chunk: UNUSED,
        pool_shift: UNUSED,
        pool_class: UNUSED,
        pool_last: UNUSED,
        pool_header: UNUSED,
        type_has_gc_bit: UNUSED,
        interpreter_gc_counts: UNUSED,
        runtime_gc_counts: UNUSED,
        gc_count_stride: UNUSED,
        frame_copy: UNUSED,
        code_copies: UNUSED,
        code_tag: 0,
        walker: walker::STACKED,
        // Kernel#require, as RubyGems and others define it in Ruby.
        argument_function: ShortName::new(b"require"),
        ruby: RubyPlan {
            runtime_heap: 1104,
            heap_flags: 16,
            collecting_bit: 5,
            minor_bit: 9,
            context_stack: 0,
            frame_stack_pointer: 8,
            frame_receiver: 24,
            frame_environment: 32,
            environment_method: 16,
            environment_size: 16,
            method_definition: 16,
            definition_name: 32,
            code_body: 16,
            body_size: 312,
            body_positions: 144,
            body_entries: 120,
            body_entry_count: 136,
            entry_size: 12,
            body_locals: 240,
            array_items: 16,
            array_pointer: 32,
            array_embedded_bit: 13,
            symbols_names: 16,
            last_operator: 169,
            string_pointer: 24,
            string_elsewhere_bit: 13,
            string_length_bit: 14,
            page_shift: 14,
            page_slot_size: 0,
            page_start: 32,
            thread_native: 0,
            first_line_shift: 1,
        },
    },
    vm_main_ractor: 32,
    sizes: Sizes { vm: 9440, ractor: 664, thread: 376, context: 368, heap: 1120 },
    thread_ractor: 24,
    context_thread: 48,
    heap_pages: 256,
    heap_range: 288,
    mark_stack: [208, 216],
    chunk_next: 4000,
    record: &[
        (0, "page record"),
        (64, "write-barrier bits"),
        (120, "mark bits"),
        (176, "old-object bits"),
        (232, "marking bits"),
        (288, "pinned bits"),
    ],
    record_size: 344,
    body: Body {
        code_size: 4,
        code: 8,
        caches: 184,
        cache_count: 244,
        cache_kinds: 1,
        cache_size: 16,
        calls: 192,
        call_count: 248,
        call_size: 16,
    },
    // https://github.com/ruby/ruby/blob/v3_1_2/transient_heap.c#L23
    transient: Some((15, 32_752)),
    hash_inside: None,
    shapes: false,
    struct_members: 3 << 13,
    file_state: 16,
    file_state_size: 200,
    data: 32,
    definition_size: 48,
    class_extension: 24,
    class_extension_inside: false,
    class_extension_size: 112,
    class_name: None,
    class_variables: 8,
    class_caches: [32, 40],
    class_path: &["__classpath__", "__tmp_classpath__"],
};
