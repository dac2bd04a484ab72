//! Values that many rows share, stored once.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZero;

/// Values that are stored once and named by their index.
#[derive(Clone, Debug)]
pub struct Table<T> {
    values: Vec<T>,
    indices: HashMap<T, Id<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), indices: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    /// The index of a value, which is stored if it is new.
    pub fn intern(&mut self, value: T) -> Id<T> {
        if let Some(&id) = self.indices.get(&value) {
            return id;
        }
        let id = Id::new(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        self.values.push(value.clone());
        self.indices.insert(value, id);
        id
    }
}

impl<T> Table<T> {
    /// Adds a value behind the others, whether or not it is there already; it is not found by its value.
    pub fn push(&mut self, value: T) {
        self.values.push(value);
    }

    /// The value with this index.
    #[must_use]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.values.get(id.index())
    }

    /// Every value, in the order of the indices.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// Index into a [`Table`] of `T`. An optional one takes no more room: there are millions of them.
#[derive(Debug)]
pub struct Id<T> {
    /// One more than the index.
    number: NonZero<u32>,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The value at this position; the last possible position stands for all behind it.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self { number: NonZero::<u32>::MIN.saturating_add(index), of: std::marker::PhantomData }
    }

    /// The index as a position.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.number.get() - 1) as usize
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}
