//! Where the debug information of a file is: in the file itself, or in one that was put beside it when it was stripped.
//!
//! It is looked for where distributions put it, as the process sees the file system and as we do; never in the network.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::process::object::{self, Object};

/// Where packages of debug information go.
const DIRECTORY: &str = "usr/lib/debug";
/// Bytes of a file whose checksum is computed.
const MOST_CHECKED: u64 = 256 << 20;

/// A file with debug information of another.
#[derive(Debug)]
pub(super) struct Separate {
    /// It.
    pub(super) file: File,
    /// Its headers.
    pub(super) object: Object,
    /// Only root can have put it there.
    pub(super) is_of_system: bool,
}

/// Looks for the separate file of one that has this path for this process.
pub(super) fn find(pid: u32, path: &Path, object: &Object) -> Option<Separate> {
    find_below([Path::new("/"), Path::new(&format!("/proc/{pid}/root"))], path, object)
}

/// The same below these folders, of which the first is this system's root.
fn find_below(roots: [&Path; 2], path: &Path, object: &Object) -> Option<Separate> {
    if let Some(id) = object.build_id() {
        let name = by_build_id(id);
        let found = roots.iter().find_map(|root| {
            let found = open(&root.join(DIRECTORY).join(&name), *root == roots[0])?;
            (found.object.build_id() == Some(id)).then_some(found)
        });
        if found.is_some() {
            return found;
        }
    }
    let link = object.debug_link()?;
    let folder = path.parent()?.strip_prefix("/").ok()?;
    let folders = [folder.to_owned(), folder.join(".debug"), Path::new(DIRECTORY).join(folder)];
    for root in roots {
        for folder in &folders {
            let Some(found) = open(&root.join(folder).join(link.name), root == roots[0]) else { continue };
            let same = match (object.build_id(), found.object.build_id()) {
                (Some(id), Some(other)) => id == other,
                _ => checksum(&found.file) == Some(link.checksum),
            };
            if same {
                return Some(found);
            }
        }
    }
    None
}

/// The path below [`DIRECTORY`].
fn by_build_id(id: &[u8]) -> PathBuf {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (first, rest) = id.split_at(1);
    Path::new(".build-id").join(hex(first)).join(format!("{}.debug", hex(rest)))
}

fn open(path: &Path, ours: bool) -> Option<Separate> {
    let file = object::open(path).ok()?;
    let object = Object::of_file(file.try_clone().ok()?, path).ok()?;
    let is_of_system = ours && is_roots(&file);
    Some(Separate { file, object, is_of_system })
}

/// Whether only root may write to a file.
fn is_roots(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.uid() == 0 && metadata.mode() & 0o022 == 0)
}

/// Whether a file is one of this system that only root may write to, under the path by which a process knows it.
pub(super) fn is_of_system(file: &File, path: &Path) -> bool {
    let Ok((here, there)) = file.metadata().and_then(|here| Ok((here, fs::metadata(path)?))) else {
        return false;
    };
    (here.dev(), here.ino()) == (there.dev(), there.ino()) && is_roots(file)
}

fn checksum(file: &File) -> Option<u32> {
    if file.metadata().ok()?.len() > MOST_CHECKED {
        return None;
    }
    let (mut file, mut hasher, mut piece) = (file, crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hasher.finalize()),
            read => hasher.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the build id, in the root of either, and only if the file there has the same.
    #[test]
    fn build_ids() {
        let object = Object::open(Path::new("/proc/self/exe")).unwrap();
        let root = std::env::temp_dir().join(format!("cowtrace-debug-{}", std::process::id()));
        let nowhere = root.join("nowhere");
        let place = root.join(DIRECTORY).join(by_build_id(object.build_id().unwrap()));
        let path = Path::new("/srv/program");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        assert!(find_below([&root, &nowhere], path, &object).is_none());
        fs::copy("/proc/self/exe", &place).unwrap();
        for (roots, ours) in [([&root, &nowhere], true), ([&nowhere, &root], false)] {
            let found = find_below(roots.map(PathBuf::as_path), path, &object).unwrap();
            assert_eq!(found.object.build_id(), object.build_id());
            let is_roots = fs::metadata(&place).unwrap().uid() == 0;
            assert_eq!(found.is_of_system, ours && is_roots);
        }
        fs::copy("/bin/sh", &place).unwrap();
        assert!(find_below([&root, &nowhere], path, &object).is_none(), "another program's");
        fs::remove_dir_all(&root).unwrap();
    }
}
