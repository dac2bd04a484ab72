//! What a function of the interpreter is known to write, where nothing else tells. The weakest evidence, so the last that is
//! asked: a function can write to more than one thing.

use super::{Rule, Verdict};
use crate::attribute::Evidence;
use crate::symbolize::instruction::Form;

/// Functions by their names without a compiler's suffix, and what they write. 3.8 to 3.15.
static WRITES: &[(&str, &str)] = &[
    ("insertdict", "dict_entry"),
    ("insert_to_emptydict", "dict_resize"),
    ("insert_combined_dict", "dict_entry"),
    ("insert_into_dictkeys", "dict_entry"),
    ("insert_split_dict", "dict_entry"),
    ("insert_split_key", "dict_entry"),
    ("build_indices", "dict_resize"),
    ("build_indices_unicode", "dict_resize"),
    ("build_indices_generic", "dict_resize"),
    ("delitem_common", "dict_entry"),
    ("dictresize", "dict_resize"),
    ("new_keys_object", "dict_resize"),
    ("clone_combined_dict_keys", "dict_resize"),
    ("free_keys_object", "dict_resize"),
    ("list_ass_item", "list_item"),
    ("list_ass_subscript", "list_item"),
    ("list_append", "list_item"),
    ("list_extend", "list_item"),
    ("list_slice", "list_item"),
    ("app1", "list_item"),
    ("ins1", "list_item"),
    ("PyList_Append", "list_item"),
    ("PyList_SetItem", "list_item"),
    ("PyList_New", "list_item"),
    ("set_add_entry", "object_body"),
    ("set_table_resize", "object_body"),
    ("set_insert_clean", "object_body"),
    ("_PyType_Lookup", "type_cache"),
    ("_PyType_LookupStackRefAndVersion", "type_cache"),
    ("_PyType_LookupRef", "type_cache"),
    ("assign_version_tag", "type_cache"),
    ("update_cache", "type_cache"),
    ("_PyCode_Quicken", "bytecode"),
    ("PyObject_Malloc", "allocator"),
    ("PyObject_Free", "allocator"),
    ("PyObject_Realloc", "allocator"),
    ("_PyObject_Malloc", "allocator"),
    ("_PyObject_Free", "allocator"),
    ("_PyObject_Realloc", "allocator"),
    ("pymalloc_alloc", "allocator"),
    ("pymalloc_free", "allocator"),
    ("allocate_from_new_pool", "allocator"),
    ("insert_to_freepool", "allocator"),
    ("new_arena", "allocator"),
    ("PyDict_SetDefault", "dict_entry"),
    ("PyDict_DelItem", "dict_entry"),
    ("dict_setdefault_ref_lock_held", "dict_entry"),
    ("delitem_common_lock_held", "dict_entry"),
    ("PyUnicode_New", "allocator"),
    ("PyBytes_FromStringAndSize", "allocator"),
    ("PyTuple_New", "allocator"),
    ("_PyCode_New", "allocator"),
    ("_Py_NewReference", "allocator"),
    ("PyFloat_FromDouble", "allocator"),
    ("PyType_GenericAlloc", "allocator"),
    ("_PyObject_GC_New", "allocator"),
    ("_PyObject_GC_NewVar", "allocator"),
    ("_PyObject_New", "allocator"),
    ("arena_map_mark_used", "allocator"),
    ("arena_map_get", "allocator"),
    ("_PyUnicode_FromId", "interpreter_state"),
    ("take_gil", "interpreter_state"),
    ("drop_gil", "interpreter_state"),
    ("create_gil", "interpreter_state"),
];

/// The innermost function is one of these.
pub(super) const RULE: Rule =
    Rule { id: "function", about: "What the writing function is known to write to.", judge };

fn judge(evidence: &Evidence<'_>) -> Option<Verdict> {
    let symbol = evidence.symbol.filter(|_| evidence.in_interpreter)?;
    let name = symbol.split('.').next().unwrap_or(symbol);
    let kind = WRITES.iter().find(|(function, _)| *function == name).map(|(_, kind)| *kind);
    let specializer = || name.starts_with("_Py_Specialize_").then_some("bytecode");
    // The allocator of builds without the lock:
    // https://github.com/python/cpython/blob/v3.13.0/Objects/obmalloc.c
    let mimalloc = || {
        let prefixes = ["mi_", "_mi_", "_PyObject_Mi", "_PyMem_Mi"];
        prefixes.iter().any(|prefix| name.starts_with(prefix)).then_some("allocator")
    };
    kind.or_else(specializer).or_else(mimalloc).map(|kind| Verdict::new(kind).likely())
}

/// A list that grows gets new memory for its items, so that a moment later it owns other memory.
pub(super) const APPENDED: Rule = Rule {
    id: "appended",
    about: "A list grew by an item.",
    judge: |evidence| {
        let heap = matches!(evidence.region_kind, "heap" | "anonymous");
        let item = evidence.store.is_some_and(|store| {
            store.size == 8 && !store.on_stack && matches!(store.form, Form::Register(_))
        });
        let block = evidence.block.as_ref().is_none_or(|block| !block.is_header && block.object.is_none());
        (heap && item && block && evidence.op() == Some("LIST_APPEND") && evidence.in_interpreter)
            .then(|| Verdict::new("list_item").of("list").likely())
    },
};
