//! How much memory the control groups of this process leave it. The ring buffer counts against them.

use std::fs;
use std::path::{Path, PathBuf};

/// Limits from here on are none: the first version's files say a number where the second's say `max`.
const NONE: u64 = 1 << 60;

/// A limit of a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// The group's folder.
    pub(super) path: PathBuf,
    /// Bytes that its processes may have.
    pub(super) limit: u64,
    /// Bytes that they have, without file contents that the kernel would drop first.
    pub(super) used: u64,
}

impl Limit {
    /// Bytes that are left.
    pub(super) const fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The files of one version of control groups.
struct Version {
    file_system: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Row of `memory.stat`.
    droppable: &'static str,
}

const FIRST: Version = Version {
    file_system: "cgroup",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    droppable: "total_inactive_file",
};
const SECOND: Version = Version {
    file_system: "cgroup2",
    limit: "memory.max",
    used: "memory.current",
    droppable: "inactive_file",
};

/// Limits of the groups that this process is in, its own first.
pub(super) fn limits() -> Vec<Limit> {
    let text = |path: &Path| fs::read_to_string(path).ok();
    let groups = text(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    find(&groups, &mounts, text)
}

fn find(groups: &str, mounts: &str, text: impl Fn(&Path) -> Option<String>) -> Vec<Limit> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let version = if controllers.is_empty() {
            &SECOND
        } else if controllers.split(',').any(|controller| controller == "memory") {
            &FIRST
        } else {
            continue;
        };
        let Some((mount, below)) = mounts.lines().find_map(|line| mounted(line, version, group)) else {
            continue;
        };
        let own = mount.join(below);
        let folders = own.ancestors().take_while(|folder| folder.starts_with(&mount));
        found.extend(folders.filter_map(|folder| limit(folder, version, &text)));
    }
    found
}

/// Where a line of `/proc/self/mountinfo` shows a group: the mount's folder, and the group's below it.
/// <https://github.com/torvalds/linux/blob/v6.18/Documentation/filesystems/proc.rst>, 3.5.
fn mounted(line: &str, version: &Version, group: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, folder) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (file_system, options) = (kind.next()?, kind.nth(1)?);
    let has_memory =
        version.file_system == SECOND.file_system || options.split(',').any(|one| one == "memory");
    if file_system != version.file_system || !has_memory {
        return None;
    }
    let below = Path::new(group).strip_prefix(root).ok()?;
    Some((folder.into(), below.strip_prefix("/").unwrap_or(below).to_owned()))
}

fn limit(folder: &Path, version: &Version, text: impl Fn(&Path) -> Option<String>) -> Option<Limit> {
    let number = |file: &str| text(&folder.join(file))?.trim().parse::<u64>().ok();
    // `max` is no number.
    let limit = number(version.limit).filter(|limit| *limit < NONE)?;
    let rows = text(&folder.join("memory.stat")).unwrap_or_default();
    let droppable =
        rows.lines().find_map(|row| row.strip_prefix(version.droppable)?.trim().parse::<u64>().ok());
    let used = number(version.used)?.saturating_sub(droppable.unwrap_or(0));
    Some(Limit { path: folder.to_owned(), limit, used })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_version() {
        let mounts = "25 1 0:22 / /sys rw - sysfs sysfs rw\n30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let text = |path: &Path| {
            let content = match path.to_str().unwrap() {
                "/sys/fs/cgroup/user/me/memory.max" => "max\n",
                "/sys/fs/cgroup/user/memory.max" => "1000000\n",
                "/sys/fs/cgroup/user/memory.current" => "900000\n",
                "/sys/fs/cgroup/user/memory.stat" => "anon 5\ninactive_file 500000\nactive_file 9\n",
                _ => return None,
            };
            Some(content.to_owned())
        };
        let found = find("0::/user/me\n", mounts, text);
        assert_eq!(found, [Limit { path: "/sys/fs/cgroup/user".into(), limit: 1_000_000, used: 400_000 }]);
        assert_eq!(found[0].free(), 600_000);
    }

    #[test]
    fn first_version() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n36 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let text = |path: &Path| {
            let content = match path.to_str().unwrap() {
                "/sys/fs/cgroup/memory/memory.limit_in_bytes" => "5000",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes" => "6000",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes" => "9223372036854771712",
                _ => return None,
            };
            Some(content.to_owned())
        };
        let found = find("5:cpu:/\n4:memory,other:/docker/x/a\n0::/\n", mounts, text);
        assert_eq!(found, [Limit { path: "/sys/fs/cgroup/memory".into(), limit: 5000, used: 6000 }]);
        assert_eq!(found[0].free(), 0);
    }

    #[test]
    fn nonsense() {
        for groups in ["", "x", "1:memory", "0::relative", "0::/../.."] {
            assert_eq!(find(groups, "a b - c\n- \n1 2 3 / / - cgroup2\n", |_| None), []);
        }
    }
}
