use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::block::{self, HEAD, Head, kind};
use super::{ReadError, Reading, START, VERSION, Writer, fuzz, read};
use crate::record::fixture::{Builder, line, operation, page, write};
use crate::record::piece::{self, Piece, State};
use crate::record::schema::{Header, Outcome, PageBytes, PageSize, ProcessTotals, PythonFrame, Trace};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cowtrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, content: &[u8]) -> File {
        let path = self.0.join("recording");
        fs::write(&path, content).unwrap();
        File::open(path).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Some of everything, with names of every kind.
fn trace() -> Trace {
    let hostile = "a\u{1b}[2J</script>\"'\n\0;\u{202e}";
    let mut b = Builder::new(&["python3", hostile]);
    let parent = b.process(None, "python3", 0);
    let child = b.process(Some(parent), hostile, 8 << 20);
    let mut copied = page(operation("call", hostile), write("refcount", "tuple", ""), line(hostile, 7, "f"));
    copied.python = vec![PythonFrame {
        function: "f".to_owned(),
        file: hostile.to_owned(),
        line: Some(7),
        approximate: false,
        op: Some("FOR_ITER"),
        ..PythonFrame::default()
    }];
    b.faults(child, 300, &copied);
    b.faults(parent, 20, &page(operation("import", "json"), write("unknown", "", ""), None));
    b.collection(child, Some(2), 5, &page(operation("gc", ""), write("gc_header", "", ""), None));
    let mut trace = b.finish();
    trace.faults[3].latency = NonZero::new(1234);
    trace.faults[4].address = u64::MAX;
    trace
}

fn recorded(pieces: Vec<Piece>, folder: &Folder) -> Vec<u8> {
    let path = folder.0.join("written");
    let mut writer = Writer::start(File::create(&path).unwrap(), path.clone()).unwrap();
    pieces.into_iter().for_each(|piece| writer.take(piece));
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

fn reading(content: &[u8], folder: &Folder) -> Result<Reading, ReadError> {
    read(folder.file(content), &mut |_| {})
}

/// Where the blocks of a file begin, and where the last one ends.
fn bounds(content: &[u8]) -> Vec<usize> {
    let mut bounds = vec![START];
    while let Some(head) = content[bounds[bounds.len() - 1]..].first_chunk::<HEAD>() {
        bounds.push(bounds[bounds.len() - 1] + HEAD + Head::decode(head).unwrap().stored as usize);
    }
    bounds
}

/// A trace is what it was before it was written.
#[test]
fn there_and_back() {
    let folder = Folder::new("there-and-back");
    let trace = trace();
    let content = recorded(piece::of(&trace), &folder);
    let Reading { trace: read, about } = reading(&content, &folder).unwrap();
    assert_eq!(about.cut, None);
    assert_eq!((about.version, about.bytes), (VERSION, content.len() as u64));
    assert_eq!(read.header, trace.header);
    assert_eq!(read.processes, trace.processes);
    assert_eq!(read.faults, trace.faults);
    assert_eq!(read.collections, trace.collections);
    assert_eq!(read.summary, trace.summary);
    assert_eq!(read.losses, trace.losses);
    assert_eq!(read.python.values(), trace.python.values());
    assert_eq!(read.operations.values(), trace.operations.values());
    assert_eq!(read.writes.values(), trace.writes.values());
    assert_eq!(read.sites.values(), trace.sites.values());
}

/// Wherever a file ends, its whole blocks are there, and what is missing is said.
#[test]
fn cut_anywhere() {
    let folder = Folder::new("cut-anywhere");
    let trace = trace();
    let content = recorded(piece::of(&trace), &folder);
    let bounds = bounds(&content);
    for len in 0..content.len() {
        let whole = bounds.iter().skip(1).filter(|bound| **bound <= len).count();
        match reading(&content[..len], &folder) {
            Ok(Reading { trace: read, about }) => {
                assert_eq!(about.blocks as usize, whole, "cut at {len}");
                assert!(about.cut.is_some(), "cut at {len}");
                assert!(read.header.missing[0].contains("recording"), "{:?}", read.header.missing);
                let listed = if whole >= 4 { trace.faults.len() } else { 0 };
                assert_eq!(read.faults.len(), listed, "cut at {len}");
            }
            Err(error) => assert!(whole == 0, "cut at {len}: {error}"),
        }
    }
}

/// A damaged byte is noticed, wherever it is; what lies before its block is read.
#[test]
fn damaged_anywhere() {
    let folder = Folder::new("damaged-anywhere");
    let content = recorded(piece::of(&trace()), &folder);
    let bounds = bounds(&content);
    for at in START..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 1 << (at % 8);
        let whole = bounds.iter().skip(1).filter(|bound| **bound <= at).count();
        match reading(&damaged, &folder) {
            Ok(Reading { about, .. }) => {
                assert!(about.cut.is_some(), "byte {at}");
                assert_eq!(about.blocks as usize, whole, "byte {at}");
            }
            Err(error) => assert!(whole == 0, "byte {at}: {error}"),
        }
    }
}

/// What is no recording, or too new a one, is refused in a sentence.
#[test]
fn refused() {
    let folder = Folder::new("refused");
    let content = recorded(piece::of(&trace()), &folder);
    let why = |content: &[u8]| reading(content, &folder).unwrap_err().to_string();
    assert_eq!(why(b""), "it is no recording of cowtrace's: it is empty");
    assert_eq!(why(b"PERFILE2 and more than sixteen bytes"), "it is no recording of cowtrace's");
    assert_eq!(
        why(&content[..START]),
        "nothing of it is left to read: it was cut off or damaged at its beginning"
    );
    let mut newer = content;
    newer[8] = 9;
    let sentence = why(&newer);
    assert!(sentence.contains("version 9") && sentence.contains("reads version 1"), "{sentence}");
}

/// A block whose checksum is right may still hold nonsense.
#[test]
fn nonsense_in_sound_blocks() {
    let folder = Folder::new("nonsense");
    let start = recorded(piece::of(&trace()), &folder)[..START].to_vec();
    let header = block::encode(kind::HEADER, 1, &serde_json::to_vec(&trace().header).unwrap()).unwrap();
    let faults = super::columns::encode(&trace().faults);
    for (kind, items, body) in [
        (kind::FAULTS, 325, faults.as_slice()),
        (kind::FAULTS, 1 << 30, &[0; 1000]),
        (kind::DEFINITIONS, 1, br#"{"python":[[7]]}"#),
        (kind::PROCESSES, 1, b"[[900,{}]]"),
        (kind::AMENDMENTS, 1, br#"[{"fault":0,"operation":5,"collection":null}]"#),
        (kind::MODULE_TABLES, 1, br#"[{"entries":[],"free":{"start":0,"end":0},"seen":[[3,0]]}]"#),
        (kind::STATE, 1, &[0xff; 64]),
        (kind::STATE, 1, b"[[[[[[[["),
    ] {
        let block = block::encode(kind, items, body).unwrap();
        let Reading { about, .. } = reading(&[start.as_slice(), &header, &block].concat(), &folder).unwrap();
        assert_eq!(about.blocks, 1, "kind {kind}");
        assert!(about.cut.is_some(), "kind {kind}");
    }
    // What a newer cowtrace adds is passed over.
    let newer = block::encode(200, 1, b"anything").unwrap();
    let Reading { about, .. } = reading(&[start.as_slice(), &header, &newer].concat(), &folder).unwrap();
    assert_eq!(about.blocks, 2);
}

/// A body that is larger than its head says makes no more room than that.
#[test]
fn a_bomb() {
    let folder = Folder::new("a-bomb");
    let content = recorded(piece::of(&trace()), &folder);
    let mut bomb = block::encode(kind::STATE, 1, &vec![b' '; 32 << 20]).unwrap();
    assert!(bomb.len() < 64 << 10);
    bomb[12..16].copy_from_slice(&100_u32.to_le_bytes());
    let Reading { about, .. } = reading(&[content.as_slice(), &bomb].concat(), &folder).unwrap();
    assert!(about.cut.unwrap().contains("damaged"));
}

/// Totals of a trace that was cut off agree with its faults: what came after the last totals is added, what was counted
/// and did not come is lost.
#[test]
fn totals_of_a_cut_trace() {
    let folder = Folder::new("totals");
    let whole = trace();
    let mut pieces = piece::of(&whole);
    pieces.truncate(4);
    let Piece::Processes(processes) = &mut pieces[2] else { panic!("{:?}", pieces[2]) };
    processes[0].1.totals = ProcessTotals::default();
    for (outcome, total) in &mut processes[1].1.totals.outcomes {
        total.faults += if *outcome == Outcome::Copy { 9 } else { 0 };
    }
    pieces.push(Piece::State(State { duration: 5, ..State::default() }));
    let Reading { trace: read, .. } = reading(&recorded(pieces, &folder), &folder).unwrap();
    assert_eq!(read.processes[0].totals.faults(Outcome::Copy), 20);
    assert_eq!(read.processes[0].totals.copied_bytes, 20 * 4096);
    let lost = read.processes[1].totals.of(Outcome::Copy);
    assert_eq!((lost.faults, lost.lost), (whole.processes[1].totals.faults(Outcome::Copy) + 9, 9));
    assert_eq!(read.summary.lost, 9);
    assert_eq!(read.summary.duration, read.faults.last().unwrap().time);
}

/// The pages of the machine are in the recording; one that does not say has the smallest, and one that says nonsense is refused.
#[test]
fn pages_are_the_recordings() {
    let header = trace().header;
    let text = serde_json::to_string(&header).unwrap();
    assert!(!text.contains("page_size"), "{text}");
    assert_eq!(serde_json::from_str::<Header>(&text).unwrap().pages(), PageSize::SMALLEST);
    for bytes in [4096, 16384, 65536] {
        let page_size = PageSize::of_bytes(bytes).map(PageBytes);
        let folder = Folder::new(&format!("pages-{bytes}"));
        let header = Header { page_size, architecture: Some("aarch64".to_owned()), ..header.clone() };
        let content = recorded(vec![Piece::Header(Box::new(header.clone()))], &folder);
        let found = reading(&content, &folder).unwrap().trace.header;
        assert_eq!((found.page_size, &found.architecture), (header.page_size, &header.architecture));
        assert_eq!(found.pages().bytes(), bytes);
    }
    for bytes in [0_u64, 7, 2048, 1 << 40] {
        let odd = text.replacen('{', &format!("{{\"page_size\":{bytes},"), 1);
        let error = serde_json::from_str::<Header>(&odd).unwrap_err().to_string();
        assert!(error.contains(&format!("no machine has pages of {bytes} bytes")), "{error}");
    }
}

/// A full disk leaves whole blocks, and nobody waits.
#[test]
fn full_disk() {
    let full = Path::new("/dev/full");
    let mut file = File::options().write(true).open(full).unwrap();
    assert!(file.write_all(b"x").is_err());
    assert!(Writer::start(file, full.to_owned()).is_err());
}

/// Once a write has failed, the rest is taken and dropped.
#[test]
fn nobody_waits_for_a_failed_recording() {
    let folder = Folder::new("failed");
    let path = folder.0.join("closed");
    let file = File::create(&path).unwrap();
    let mut writer = Writer::start(file, path.clone()).unwrap();
    // The block is refused as too large, as any other failure would be.
    let huge = "x".repeat(80 << 20);
    let header = Header { kernel: huge, ..trace().header };
    writer.take(Piece::Header(Box::new(header)));
    for _ in 0..100 {
        writer.take(Piece::Faults(Vec::new()));
    }
    assert!(writer.finish().is_err());
    assert_eq!(fs::metadata(path).unwrap().len(), START as u64, "nothing of the failed block is left");
}

/// What fuzzing begins with: a recording as the bodies of its blocks, as a whole file, and its faults alone.
fn seeds() -> [(&'static str, Vec<u8>); 3] {
    let folder = Folder::new("seeds");
    let mut pieces = piece::of(&trace());
    if let Some(Piece::Faults(faults)) = pieces.get_mut(3) {
        faults.truncate(20);
    }
    let content = recorded(pieces, &folder);
    let bounds = bounds(&content);
    let blocks: Vec<_> = bounds
        .windows(2)
        .map(|bound| {
            let (head, stored) = content[bound[0]..bound[1]].split_first_chunk().unwrap();
            let head = Head::decode(head).unwrap();
            (head.kind, u16::try_from(head.items).unwrap(), block::body(&head, stored).unwrap())
        })
        .collect();
    let (_, items, faults) = blocks.iter().find(|(kind, ..)| *kind == kind::FAULTS).unwrap();
    let columns = [&items.to_le_bytes(), faults.as_slice()].concat();
    [
        ("recording/blocks", fuzz::blocks(&blocks)),
        ("recording/file", [&[0], content.as_slice()].concat()),
        ("columns/faults", columns),
    ]
}

/// The seeds in the tree are those that this version makes, as far as they are no whole files, which depend on the compressor.
#[test]
fn seeds_are_of_this_version() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    for (name, bytes) in seeds() {
        let path = corpus.join(name);
        if std::env::var_os("COWTRACE_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(name.ends_with("file") || fs::read(path).unwrap() == bytes, "COWTRACE_BLESS=1 renews {name}");
    }
}
