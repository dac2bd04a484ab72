//! Which container a process is in, by the names that runtimes give to its cgroup.

use std::fs;

/// Length of an identity that Docker, Podman, containerd and CRI-O give, in hexadecimal digits.
const ID: usize = 64;
/// A longer name is none.
const LONGEST: usize = 128;

/// The container of a running process: the runtime's id, or the name of LXC or systemd-nspawn; `None` = none that its
/// cgroup names, or the process is gone.
#[must_use]
pub fn of(pid: u32) -> Option<String> {
    of_cgroups(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The same from the text of a `/proc/PID/cgroup`.
pub(super) fn of_cgroups(text: &str) -> Option<String> {
    // A process is in one cgroup of each hierarchy; any of them may name the container.
    text.lines().find_map(|line| in_path(line.splitn(3, ':').nth(2)?))
}

/// The innermost container that a path names, e.g. in `/system.slice/docker-<id>.scope`,
/// `/kubepods/burstable/pod<uid>/<id>`, `/machine.slice/libpod-<id>.scope/container`, `/lxc.payload.web/…`.
fn in_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let id = parts.iter().rev().find_map(|part| id(part));
    id.or_else(|| {
        parts.iter().zip(parts.iter().skip(1)).find_map(|(part, next)| (*part == "lxc").then_some(*next))
    })
    .or_else(|| parts.iter().find_map(|part| part.strip_prefix("lxc.payload.")))
    .or_else(|| parts.iter().find_map(|part| part.strip_prefix("machine-")?.strip_suffix(".scope")))
    .filter(|name| !name.is_empty() && name.len() <= LONGEST)
    .map(str::to_owned)
}

/// `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `<pod>:cri-containerd:<id>`.
fn id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let last = part.rsplit(['-', ':']).next()?;
    // Podman's monitor is not in the container.
    let monitor = part.contains("conmon");
    (last.len() == ID && !monitor && last.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtime() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("0::/system.slice/docker-{id}.scope"),
            format!("12:memory:/docker/{id}\n0::/"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("0::/kubepods/burstable/pod7f/{id}"),
            format!("0::/system.slice/containerd.service/kubepods-pod1:cri-containerd:{id}"),
            format!("0::/kubepods.slice/crio-{id}.scope"),
            format!("0::/machine.slice/libpod-{id}.scope/container"),
        ] {
            assert_eq!(of_cgroups(&path).as_deref(), Some(id.as_str()), "{path}");
        }
        assert_eq!(of_cgroups("0::/lxc.payload.web/system.slice").as_deref(), Some("web"));
        assert_eq!(of_cgroups("4:cpu:/lxc/web\n").as_deref(), Some("web"));
        assert_eq!(of_cgroups("0::/machine.slice/machine-web.scope").as_deref(), Some("web"));
        for none in ["0::/system.slice/nginx.service", "0::/", "", "odd", "0::/user.slice/session-2.scope"] {
            assert_eq!(of_cgroups(none), None, "{none}");
        }
        assert_eq!(of_cgroups(&format!("0::/machine.slice/libpod-conmon-{id}.scope")), None);
    }
}
