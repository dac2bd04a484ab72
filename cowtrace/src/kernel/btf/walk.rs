//! From a struct along a path of members to a byte offset.

use super::{Btf, BtfError, Type, kind, u32_at};

/// Types looked at for one path, at most: no kernel needs a hundredth of it.
const STEPS: u32 = 100_000;
/// Anonymous structs and typedefs within each other, at most.
const DEPTH: u32 = 32;

/// A member's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// What the walk has left before it counts as endless.
struct Budget(u32);

impl Budget {
    fn step(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

/// Result of one step: found, not there, or `None` for endless.
type Step<T> = Option<Option<T>>;

impl Btf {
    /// The place of a member: `thread.fsbase`, `rss_stat[MM_ANONPAGES].count`. Members of anonymous structs and unions
    /// count as the outer one's, as in C; an index is a number or an enumerator.
    ///
    /// # Errors
    /// If there is no such struct or member, or it is a bit-field, which has no byte offset.
    pub fn place(&self, structure: &str, path: &str) -> Result<Place, BtfError> {
        let endless = || BtfError::Endless(structure.to_owned());
        let mut candidates = self.structs(structure).peekable();
        if candidates.peek().is_none() {
            return Err(BtfError::NoStruct(structure.to_owned()));
        }
        let mut budget = Budget(STEPS);
        // A name may be taken more than once, by a struct that is private to one source file.
        for candidate in candidates {
            if let Some(place) = self.follow(candidate, path, &mut budget).ok_or_else(endless)? {
                return Ok(place);
            }
        }
        Err(BtfError::NoMember { structure: structure.to_owned(), path: path.to_owned() })
    }

    fn follow(&self, structure: Type, path: &str, budget: &mut Budget) -> Step<Place> {
        let mut current = structure;
        let mut bits = 0_u64;
        for part in path.split('.') {
            let (name, indices) =
                part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
            let Some((member, offset)) = self.member(current, name, DEPTH, budget)? else {
                return Some(None);
            };
            bits = bits.checked_add(offset)?;
            current = member;
            for index in indices.into_iter().flat_map(|rest| rest.split('[')) {
                let Some((element, offset)) = self.element(current, index, budget)? else {
                    return Some(None);
                };
                bits = bits.checked_add(offset)?;
                current = element;
            }
        }
        let size = self.size(current, budget)?;
        let place = bits
            .is_multiple_of(8)
            .then(|| Some(Place { offset: u32::try_from(bits / 8).ok()?, size: u32::try_from(size).ok()? }));
        Some(place.flatten())
    }

    /// A member's type and its offset in bits.
    fn member(&self, of: Type, name: &str, depth: u32, budget: &mut Budget) -> Step<(Type, u64)> {
        budget.step()?;
        if !matches!(of.kind, kind::STRUCT | kind::UNION) {
            return Some(None);
        }
        let depth = depth.checked_sub(1)?;
        for index in 0..of.elements as usize {
            budget.step()?;
            let at = of.body + index * 12;
            let (Some(named), Some(id), Some(offset)) =
                (u32_at(&self.bytes, at), u32_at(&self.bytes, at + 4), u32_at(&self.bytes, at + 8))
            else {
                return Some(None);
            };
            let (bitfield, offset) =
                if of.flag { (offset >> 24 != 0, offset & 0xff_ffff) } else { (false, offset) };
            let anonymous = self.is_named(named, "");
            if !anonymous && !self.is_named(named, name) {
                continue;
            }
            let Some(member) = self.resolve(id, budget)? else { continue };
            if !anonymous {
                return Some((!bitfield).then_some((member, u64::from(offset))));
            }
            if let Some((inner, inside)) = self.member(member, name, depth, budget)? {
                return Some(Some((inner, u64::from(offset) + inside)));
            }
        }
        Some(None)
    }

    /// An element's type and its offset in bits.
    fn element(&self, array: Type, index: &str, budget: &mut Budget) -> Step<(Type, u64)> {
        if array.kind != kind::ARRAY {
            return Some(None);
        }
        let Some(index) = index.strip_suffix(']') else { return Some(None) };
        let index = index.parse().ok().or_else(|| self.enumerator(index));
        let (Some(index), Some(id), Some(length)) =
            (index, u32_at(&self.bytes, array.body), u32_at(&self.bytes, array.body + 8))
        else {
            return Some(None);
        };
        let Some(element) = self.resolve(id, budget)? else { return Some(None) };
        let size = self.size(element, budget)?;
        Some((index < u64::from(length)).then_some((element, index.saturating_mul(size).saturating_mul(8))))
    }

    /// The type behind typedefs and qualifiers; nothing for `void` and numbers that are not there.
    fn resolve(&self, mut id: u32, budget: &mut Budget) -> Step<Type> {
        loop {
            budget.step()?;
            let Some(found) = self.get(id) else { return Some(None) };
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some(Some(found)),
            }
        }
    }

    /// Size in bytes, 0 for what has none.
    fn size(&self, mut of: Type, budget: &mut Budget) -> Option<u64> {
        let mut count = 1_u64;
        loop {
            budget.step()?;
            let size = match of.kind {
                kind::POINTER => 8,
                kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::FLOAT | kind::ENUM64 => {
                    of.size_or_type
                }
                kind::ARRAY => {
                    count = count.saturating_mul(u64::from(u32_at(&self.bytes, of.body + 8).unwrap_or(0)));
                    let element = u32_at(&self.bytes, of.body).unwrap_or(0);
                    let Some(element) = self.resolve(element, budget)? else { return Some(0) };
                    of = element;
                    continue;
                }
                _ => 0,
            };
            return Some(count.saturating_mul(u64::from(size)));
        }
    }
}
