//! A control group of version 2: found by what a user writes, its id as the kernel program has it, its processes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::diag::Notice;

/// Groups below one that are looked into.
const MOST: usize = 4096;

/// A control group.
#[derive(Clone, Debug)]
pub struct Cgroup {
    folder: PathBuf,
    /// Path below the mount, as in `/proc/PID/cgroup`.
    pub name: String,
}

impl Cgroup {
    /// Finds it by a path under the mount, or by a line or path of `/proc/PID/cgroup`.
    ///
    /// # Errors
    /// If there is no such group, or no cgroup v2.
    pub fn find(text: &Path) -> Result<Self, Notice> {
        let mount = mount().ok_or(Notice::NoCgroups)?;
        Self::find_in(&mount, text)
    }

    fn find_in(mount: &Path, text: &Path) -> Result<Self, Notice> {
        let missing = || Notice::NoCgroup { path: text.into(), mount: mount.into() };
        let text = text.to_str().ok_or_else(missing)?;
        let path = Path::new(text.strip_prefix("0::").unwrap_or(text));
        let inside = path.strip_prefix(mount).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
        if inside.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(missing());
        }
        let cgroup = Self { folder: mount.join(inside), name: format!("/{}", inside.display()) };
        if !cgroup.folder.join("cgroup.procs").is_file() {
            return Err(missing());
        }
        Ok(cgroup)
    }

    /// Its id: the inode of its folder; `None` = it is gone at the moment.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        fs::metadata(&self.folder).ok().map(|folder| folder.ino())
    }

    /// The processes in it and in the groups below it, at the moment.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![self.folder.clone()];
        let mut looked = 0;
        while let Some(folder) = open.pop().filter(|_| looked < MOST) {
            looked += 1;
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
            let below = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            open.extend(below.filter(is_folder).map(|entry| entry.path()));
        }
        found
    }
}

fn is_folder(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind: fs::FileType| kind.is_dir())
}

/// Where cgroup v2 is mounted: alone, or beside the hierarchies of version 1.
fn mount() -> Option<PathBuf> {
    let text: io::Result<String> = fs::read_to_string("/proc/self/mountinfo");
    mount_in(&text.ok()?)
}

pub(super) fn mount_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_version_2 = after.split(' ').next() == Some("cgroup2");
        is_version_2.then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found() {
        let text = "30 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    31 1 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_in(text), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_in("odd\n"), None);
    }

    #[test]
    fn every_way_to_write_it() {
        let mount = std::env::temp_dir().join(format!("cowtrace-cgroup-{}", std::process::id()));
        let folder = mount.join("system.slice/x.service");
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("cgroup.procs"), "7\n0\n").unwrap();
        fs::write(folder.join("below/cgroup.procs"), "9\n").unwrap();
        let whole = folder.to_str().unwrap();
        for text in ["system.slice/x.service", "/system.slice/x.service", "0::/system.slice/x.service", whole]
        {
            let cgroup = Cgroup::find_in(&mount, Path::new(text)).unwrap();
            assert_eq!(cgroup.name, "/system.slice/x.service");
            let mut processes = cgroup.processes();
            processes.sort_unstable();
            assert_eq!((processes, cgroup.id().is_some()), (vec![7, 9], true));
        }
        for text in ["system.slice", "../x", "/nowhere", "system.slice/../system.slice/x.service"] {
            assert!(Cgroup::find_in(&mount, Path::new(text)).is_err(), "{text}");
        }
        fs::remove_dir_all(&mount).unwrap();
    }
}
