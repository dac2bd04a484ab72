//! Types of the interpreter that were met.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `Py_TPFLAGS_HAVE_GC`: objects of the type have a collector's head.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L363>
const HAVE_GC: u64 = 1 << 14;

/// `Py_TPFLAGS_TYPE_SUBCLASS`: objects of the type are types.
const TYPE_SUBCLASS: u64 = 1 << 31;
/// `Py_TPFLAGS_HEAPTYPE`: the type was made by a program, by `class` or from C.
const HEAPTYPE: u64 = 1 << 9;

/// Types, by image and address.
pub type Types = BTreeMap<(u64, u64), KnownType>;

/// A type whose name is known.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct KnownType {
    /// Its name.
    pub name: String,
    /// Its flags; 0 = unknown.
    pub flags: u64,
}

impl KnownType {
    /// Whether its objects have a collector's head.
    #[must_use]
    pub const fn has_gc_head(&self) -> bool {
        self.flags & HAVE_GC != 0
    }

    /// Whether its objects are types.
    #[must_use]
    pub const fn is_meta(&self) -> bool {
        self.flags & TYPE_SUBCLASS != 0
    }

    /// Whether it was made while the program ran.
    #[must_use]
    pub const fn is_heap_type(&self) -> bool {
        self.flags & HEAPTYPE != 0
    }
}
