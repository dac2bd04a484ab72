use super::walk::Place;
use super::{Btf, BtfError, KERNEL, kind};

/// Builds BTF by hand.
#[derive(Default)]
pub(in crate::kernel) struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    layouts: Vec<u8>,
    count: u32,
}

impl Blob {
    pub(in crate::kernel) fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        offset
    }

    /// Adds a type and returns its number.
    pub(in crate::kernel) fn add(
        &mut self,
        name: &str,
        kind: u8,
        elements: u32,
        flag: bool,
        size_or_type: u32,
        body: &[u32],
    ) -> u32 {
        let name = self.name(name);
        let info = u32::from(kind) << 24 | elements | u32::from(flag) << 31;
        for word in [name, info, size_or_type].iter().chain(body) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(in crate::kernel) fn structure(
        &mut self,
        name: &str,
        kind: u8,
        flag: bool,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let body: Vec<u32> =
            members.iter().flat_map(|&(name, of, offset)| [self.name(name), of, offset]).collect();
        self.add(name, kind, u32::try_from(members.len()).unwrap(), flag, size, &body)
    }

    pub(in crate::kernel) fn bytes(&self) -> Vec<u8> {
        let header: u32 = if self.layouts.is_empty() { 24 } else { 32 };
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap();
        let (types, strings) = (length(&self.types), length(&self.strings));
        let mut words = vec![0x0001_eb9f, header, 0, types, types, strings];
        if header == 32 {
            words.extend([types + strings, length(&self.layouts)]);
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        for part in [&self.types, &self.strings, &self.layouts] {
            bytes.extend(part);
        }
        bytes
    }
}

/// A task with an anonymous union, an array of counters, a bit-field, and a tracepoint.
fn small() -> Blob {
    let mut blob = Blob::new();
    let int = blob.add("int", kind::INT, 0, false, 4, &[32]);
    let long = blob.add("long", kind::INT, 0, false, 8, &[64]);
    let counter =
        blob.structure("counter", kind::STRUCT, false, 16, &[("lock", int, 0), ("count", long, 64)]);
    let array = blob.add("", kind::ARRAY, 0, false, 0, &[counter, int, 3]);
    let alias = blob.add("counters_t", kind::TYPEDEF, 0, false, array, &[]);
    let inner = blob.structure("", kind::STRUCT, false, 16, &[("a", long, 0), ("b", long, 64)]);
    let union = blob.structure("", kind::UNION, false, 16, &[("whole", long, 0), ("", inner, 0)]);
    let constant = blob.add("", kind::CONST, 0, false, counter, &[]);
    blob.structure(
        "task",
        kind::STRUCT,
        true,
        100,
        &[
            ("pid", int, 0),
            ("bits", int, 3 << 24 | 32),
            ("", union, 64),
            ("stat", alias, 192),
            ("one", constant, 576),
        ],
    );
    let zero = blob.name("ZERO_BIT");
    let anon = blob.name("ANON");
    blob.add("", kind::ENUM, 2, false, 4, &[zero, 8, anon, 1]);
    let big = blob.name("BIG");
    blob.add("", kind::ENUM64, 1, false, 8, &[big, 7, 1]);
    let prototype = blob.add("", kind::FUNCTION_PROTOTYPE, 4, false, 0, &[0, 2, 0, 2, 0, 2, 0, 2]);
    let pointer = blob.add("", kind::POINTER, 0, false, prototype, &[]);
    blob.add("btf_trace_hit", kind::TYPEDEF, 0, false, pointer, &[]);
    blob
}

#[test]
fn members_are_found_through_anonymous_parts_arrays_and_qualifiers() {
    let btf = Btf::parse(small().bytes()).unwrap();
    let place = |path| btf.place("task", path).map(|place| (place.offset, place.size));
    assert_eq!(place("pid"), Ok((0, 4)));
    assert_eq!(place("whole"), Ok((8, 8)));
    assert_eq!(place("b"), Ok((16, 8)));
    assert_eq!(place("stat"), Ok((24, 48)));
    assert_eq!(place("stat[2].count"), Ok((24 + 32 + 8, 8)));
    assert_eq!(place("stat[ANON].count"), Ok((24 + 16 + 8, 8)));
    assert_eq!(place("one.count"), Ok((72 + 8, 8)));
    for path in ["stat[3].count", "stat[NONE].count", "stat[1", "pid[0]", "pid.x", "bits", "c", "", ".", "["]
    {
        let absent = BtfError::NoMember { structure: "task".into(), path: path.into() };
        assert_eq!(place(path), Err(absent), "{path}");
    }
    assert_eq!(btf.place("nothing", "pid"), Err(BtfError::NoStruct("nothing".into())));
}

#[test]
fn enumerators_and_tracepoints_are_found() {
    let btf = Btf::parse(small().bytes()).unwrap();
    assert_eq!(btf.enumerator("ZERO_BIT"), Some(8));
    assert_eq!(btf.enumerator("BIG"), Some(0x1_0000_0007));
    assert_eq!(btf.enumerator("ZERO"), None);
    assert_eq!(btf.tracepoint_arguments("hit"), Some(3));
    assert_eq!(btf.tracepoint_arguments("miss"), None);
}

#[test]
fn types_in_a_circle_end_the_walk() {
    let mut blob = Blob::new();
    // Type 1 is a typedef of itself; 2 holds itself, anonymously and twice.
    blob.add("loop_t", kind::TYPEDEF, 0, false, 1, &[]);
    blob.structure("endless", kind::STRUCT, false, 8, &[("", 2, 0), ("", 2, 0), ("member", 1, 0)]);
    blob.add("", kind::ARRAY, 0, false, 0, &[3, 3, 9]);
    blob.structure("nested", kind::STRUCT, false, 8, &[("array", 3, 0)]);
    let btf = Btf::parse(blob.bytes()).unwrap();
    assert_eq!(btf.place("endless", "x"), Err(BtfError::Endless("endless".into())));
    assert_eq!(btf.place("nested", "array"), Err(BtfError::Endless("nested".into())));
}

#[test]
fn a_kind_that_is_not_known_is_skipped_if_the_data_describes_it() {
    let mut blob = small();
    blob.add("new", 21, 2, false, 0, &[1, 2, 3]);
    blob.structure("last", kind::STRUCT, false, 8, &[("x", 1, 32)]);
    assert_eq!(Btf::parse(blob.bytes()).unwrap_err(), BtfError::UnknownKind { id: 15, kind: 21 });
    blob.layouts = vec![0; 21 * 4];
    blob.layouts.extend([4, 4, 0, 0]);
    let btf = Btf::parse(blob.bytes()).unwrap();
    assert_eq!(btf.place("last", "x"), Ok(Place { offset: 4, size: 4 }));
}

#[test]
fn damaged_bytes_never_panic() {
    let good = small().bytes();
    for end in 0..good.len() {
        assert!(Btf::parse(good[..end].to_vec()).is_err(), "{end}");
    }
    for at in 0..good.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let Ok(btf) = Btf::parse(bytes) else { continue };
            for path in ["pid", "b", "stat[ANON].count", "one.lock"] {
                let _answer = btf.place("task", path);
            }
            let _answer = (btf.enumerator("BIG"), btf.tracepoint_arguments("hit"));
        }
    }
    assert_eq!(
        Btf::parse(b"\x7fELF....".to_vec()).unwrap_err(),
        BtfError::NotBtf { magic: 0x457f, version: b'L' }
    );
}

/// Where a kernel describes its types, what cowtrace asks for is found in the description.
#[test]
fn the_running_kernel_is_read() {
    let Ok(bytes) = std::fs::read(KERNEL) else {
        println!("SKIPPED: this kernel has no {KERNEL}");
        return;
    };
    let btf = Btf::parse(bytes).unwrap();
    assert!(btf.len() > 10_000);
    assert_eq!(btf.place("task_struct", "comm").unwrap().size, 16);
    assert_eq!(btf.place("list_head", "prev"), Ok(Place { offset: 8, size: 8 }));
    assert!(btf.place("mm_struct", "arg_start").is_ok());
    assert_eq!(btf.enumerator("MM_ANONPAGES"), Some(1));
    assert_eq!(btf.tracepoint_arguments("sched_process_fork"), Some(2));
}
