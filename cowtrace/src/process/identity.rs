//! Who the command runs as, and whose cowtrace's files are.
//!
//! cowtrace needs root, the traced program does not: under sudo it runs as the user who called sudo, with that user's
//! groups and the environment it would have had.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};

use crate::diag::Notice;

/// What the command line says about who the command runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunAs {
    /// The user who called sudo; without sudo, whoever runs cowtrace.
    #[default]
    Caller,
    /// Whoever cowtrace runs as.
    AsIs,
    /// This user, by name or number.
    User(String),
}

/// A user with everything that a process of theirs has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: OsString,
    /// User id.
    pub uid: Uid,
    /// Primary group.
    pub gid: Gid,
    /// All groups, the primary one included.
    pub groups: Vec<Gid>,
    /// Home folder.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// Variables that sudo adds. Ones that a user sets for sudo (`SUDO_EDITOR`, `SUDO_ASKPASS`) are not among them.
const SUDO_VARIABLES: [&str; 6] =
    ["SUDO_COMMAND", "SUDO_GID", "SUDO_HOME", "SUDO_TTY", "SUDO_UID", "SUDO_USER"];

/// The user who called sudo, to whom cowtrace's files belong; `None` without sudo, and if root called it.
#[must_use]
pub fn caller() -> Option<Account> {
    caller_of(Uid::effective().is_root(), |name| std::env::var_os(name))
}

fn caller_of(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Option<Account> {
    let number = |name| variable(name)?.to_str()?.parse().ok();
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    if !root || uid == 0 {
        return None;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    // A user may be known to sudo and not to us (another name service in a container): the numbers are what counts.
    let found = User::from_uid(uid).ok().flatten();
    Some(found.map_or_else(
        || Account {
            name: variable("SUDO_USER").unwrap_or_else(|| uid.to_string().into()),
            uid,
            gid,
            groups: vec![gid],
            home: variable("SUDO_HOME").unwrap_or_else(|| "/".into()).into(),
            shell: "/bin/sh".into(),
        },
        |user| account(user, Some(gid)),
    ))
}

/// Whom the command is to run as; `None` = as cowtrace does, nothing changes.
///
/// # Errors
/// If there is no such user, or cowtrace is not root and could not become another one.
pub fn resolve(run_as: &RunAs) -> Result<Option<Account>, Notice> {
    let name = match run_as {
        RunAs::Caller => return Ok(caller()),
        RunAs::AsIs => return Ok(None),
        RunAs::User(name) => name,
    };
    let by_number = || User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten();
    let user = User::from_name(name).ok().flatten().or_else(by_number);
    let user = user.ok_or_else(|| Notice::NoUser { name: name.into() })?;
    if !Uid::effective().is_root() {
        return Err(Notice::UserNeedsRoot);
    }
    Ok(Some(account(user, None)))
}

fn account(user: User, gid: Option<Gid>) -> Account {
    let gid = gid.unwrap_or(user.gid);
    let groups = CString::new(user.name.as_bytes())
        .ok()
        .and_then(|name| nix::unistd::getgrouplist(&name, gid).ok())
        .unwrap_or_else(|| vec![gid]);
    Account { name: user.name.into(), uid: user.uid, gid, groups, home: user.dir, shell: user.shell }
}

/// The environment of a command that runs as this user.
pub fn environment(
    current: impl Iterator<Item = (OsString, OsString)>,
    account: Option<&Account>,
) -> Vec<(OsString, OsString)> {
    let Some(account) = account else { return current.collect() };
    let own: [(&str, &OsStr); 4] = [
        ("HOME", account.home.as_os_str()),
        ("LOGNAME", &account.name),
        ("SHELL", account.shell.as_os_str()),
        ("USER", &account.name),
    ];
    let is_own = |name: &OsStr| own.iter().any(|(own, _)| name.as_bytes() == own.as_bytes());
    let is_sudo = |name: &OsStr| SUDO_VARIABLES.iter().any(|sudo| name.as_bytes() == sudo.as_bytes());
    let mail = |name: OsString, value: OsString| {
        // sudo sets it for root.
        let mail = if name == "MAIL" && value == "/var/mail/root" { mailbox(&account.name) } else { value };
        (name, mail)
    };
    let kept =
        current.filter(|(name, _)| !is_own(name) && !is_sudo(name)).map(|(name, value)| mail(name, value));
    kept.chain(own.map(|(name, value)| (name.into(), value.into()))).collect()
}

fn mailbox(name: &OsStr) -> OsString {
    let mut path = OsString::from("/var/mail/");
    path.push(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sudo(uid: &'static str) -> impl Fn(&str) -> Option<OsString> {
        move |name| match name {
            "SUDO_UID" => Some(uid.into()),
            "SUDO_GID" => Some("54321".into()),
            "SUDO_USER" => Some("ann".into()),
            _ => None,
        }
    }

    #[test]
    fn the_caller_of_sudo_is_found() {
        let ann = caller_of(true, sudo("54320")).unwrap();
        assert_eq!((ann.uid.as_raw(), ann.gid.as_raw()), (54320, 54321));
        assert_eq!((ann.name.as_os_str(), ann.groups.len()), (OsStr::new("ann"), 1));
        assert_eq!(caller_of(false, sudo("54320")), None, "not root");
        assert_eq!(caller_of(true, sudo("0")), None, "root called sudo");
        assert_eq!(caller_of(true, sudo("-1")), None, "not a number");
        assert_eq!(caller_of(true, |_| None), None, "no sudo");
    }

    #[test]
    fn the_environment_is_the_users_own() {
        let account = caller_of(true, sudo("54320"));
        let now = [
            ("HOME", "/root"),
            ("MAIL", "/var/mail/root"),
            ("PATH", "/bin"),
            ("SUDO_EDITOR", "vi"),
            ("SUDO_UID", "54320"),
            ("USER", "root"),
        ];
        let now = || now.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let mut found = environment(now(), account.as_ref());
        found.sort();
        let expected = [
            ("HOME", "/"),
            ("LOGNAME", "ann"),
            ("MAIL", "/var/mail/ann"),
            ("PATH", "/bin"),
            ("SHELL", "/bin/sh"),
            ("SUDO_EDITOR", "vi"),
            ("USER", "ann"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(environment(now(), None), now().collect::<Vec<_>>());
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(resolve(&RunAs::AsIs).unwrap(), None);
        let nobody = RunAs::User("no such user".into());
        assert!(matches!(resolve(&nobody), Err(Notice::NoUser { .. })));
        for name in ["root", "0"] {
            match resolve(&RunAs::User(name.into())) {
                Ok(Some(root)) => assert!(root.uid.is_root()),
                other => assert!(matches!(other, Err(Notice::UserNeedsRoot)), "{other:?}"),
            }
        }
    }
}
