//! Settings of the kernel that some ground-truth programs need, put back when they are over. What cannot be set is left: the
//! program says then what it could not get.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::target_folder;

/// Pages of hugetlbfs that the largest case needs, parent and child together, and some to spare.
const HUGE_PAGES: u32 = 16;
/// Size of a swap file.
const SWAP_BYTES: usize = 32 << 20;

/// Settings in force until it is dropped.
#[derive(Debug, Default)]
pub struct Settings {
    /// A file, and what it held before.
    changed: Vec<(PathBuf, String)>,
    swap: Option<PathBuf>,
}

impl Settings {
    /// What this program's cases need.
    #[must_use]
    pub fn of(program: &str) -> Self {
        let mut settings = Self::default();
        match program {
            "hugetlb" => {
                let path = Path::new("/proc/sys/vm/nr_hugepages");
                let has = fs::read_to_string(path).unwrap_or_default();
                let has: u32 = has.trim().parse().unwrap_or_default();
                settings.set(path, &(has + HUGE_PAGES).to_string());
            }
            "merged" => {
                let folder = Path::new("/sys/kernel/mm/ksm");
                settings.set(&folder.join("pages_to_scan"), "5000");
                settings.set(&folder.join("sleep_millisecs"), "1");
                settings.set(&folder.join("run"), "1");
            }
            "folios" => {
                let folder = Path::new("/sys/kernel/mm/transparent_hugepage/hugepages-64kB");
                settings.set(&folder.join("enabled"), "madvise");
            }
            "swapped" => settings.swap = swap(),
            _ => {}
        }
        settings
    }

    fn set(&mut self, path: &Path, value: &str) {
        let Ok(text) = fs::read_to_string(path) else { return };
        // Of a choice, the chosen word stands in brackets.
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
        let before = chosen.unwrap_or_else(|| text.trim()).to_owned();
        if fs::write(path, value).is_ok() {
            self.changed.push((path.to_owned(), before));
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (path, before) in self.changed.iter().rev() {
            if let Err(error) = fs::write(path, before) {
                println!("{} is not {before} again: {error}", path.display());
            }
        }
        if let Some(path) = &self.swap {
            run("swapoff", path);
            let _ = fs::remove_file(path);
        }
    }
}

/// A swap file in use; `None` = the machine has swap already, or may not have any.
fn swap() -> Option<PathBuf> {
    if fs::read_to_string("/proc/swaps").ok()?.lines().count() > 1 {
        return None;
    }
    let path = target_folder().join(format!("swap.{}", std::process::id()));
    let private = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let made = private.and_then(|mut file| file.write_all(&vec![0; SWAP_BYTES])).is_ok()
        && run("mkswap", &path)
        && run("swapon", &path);
    if !made {
        let _ = fs::remove_file(&path);
    }
    made.then_some(path)
}

fn run(command: &str, path: &Path) -> bool {
    let status = Command::new(command).arg(path).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
