//! Real programs that the tests trace: servers and languages, from Debian and from PyPI.
//!
//! The tests start them themselves, on loopback and for a while. The packages must not: Debian's start a server as soon as it
//! is installed unless a policy forbids it. (Where there is systemd, those that Debian enables start with the next boot.)

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::say::say;
use crate::{debian, venv, workspace};

/// By this variable the tests are told of the folder: `python/bin` has what PyPI's packages install. It is empty where they
/// could not be installed.
pub(crate) const FOLDER: &str = "COWTRACE_PROGRAMS";
/// What Debian has of it: package and a file of it, or of what it depends on.
const DEBIAN: &[(&str, &str)] = &[
    ("redis-server", "/usr/bin/redis-server"),
    ("postgresql", "/usr/bin/pg_createcluster"),
    ("nginx-light", "/usr/sbin/nginx"),
    ("php8.2-fpm", "/usr/sbin/php-fpm8.2"),
    ("starman", "/usr/bin/starman"),
    ("puma", "/usr/bin/puma"),
    ("unicorn", "/usr/bin/unicorn"),
    ("ruby-rack", "/usr/lib/ruby/vendor_ruby/rack.rb"),
    ("golang-go", "/usr/bin/go"),
    ("python3-venv", "/usr/share/python-wheels"),
];
/// Packages of PyPI, with all that they import.
const PYPI: &[&str] = &[
    "gunicorn==27.0.1",
    "flask==3.1.3",
    "blinker==1.9.0",
    "click==8.5.1",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "werkzeug==3.1.9",
    "celery==5.7.0",
    "amqp==5.4.2",
    "billiard==4.3.2",
    "click-didyoumean==0.3.1",
    "click-plugins==1.1.1.2",
    "click-repl==0.4.1",
    "kombu==5.7.0",
    "prompt_toolkit==3.0.53",
    "python-dateutil==2.9.0.post0",
    "six==1.17.0",
    "tzlocal==5.4.5",
    "typing_extensions==4.16.0",
    "vine==5.1.0",
    "wcwidth==0.9.4",
];
/// Written last, with what was installed: what is left half done, or has other versions, is made anew.
const COMPLETE: &str = "complete";
/// Debian's packages ask this program before they start a service; 101 forbids it.
/// <https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The folder with what is from PyPI; all is installed where it is not there. Value of [`FOLDER`], empty if that failed, which
/// is said.
pub(crate) fn find() -> OsString {
    if let Some(folder) = env::var_os(FOLDER) {
        // Whoever sets it knows better.
        return folder;
    }
    let installed = workspace::cache("programs").and_then(|folder| installed(&folder).map(|()| folder));
    match installed {
        Ok(folder) => folder.into(),
        Err(error) => {
            say(format_args!("the programs that the tests trace could not be installed: {error:#}"));
            OsString::new()
        }
    }
}

/// Packages of Debian: without them tests are left out.
fn of_debian() -> Result<()> {
    if !debian::may_install() || DEBIAN.iter().all(|(_, file)| Path::new(file).exists()) {
        return Ok(());
    }
    let _forbidden = NoServices::forbid()?;
    debian::ensure(DEBIAN)
}

fn installed(folder: &Path) -> Result<()> {
    of_debian()?;
    let wanted = PYPI.join("\n");
    if fs::read_to_string(folder.join(COMPLETE)).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    say(format_args!("installing servers of PyPI in {}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    venv::make(&folder.join("python"), PYPI)?;
    fs::write(folder.join(COMPLETE), wanted).context("failed to write down what was installed")
}

/// While this lives, packages start no services. A policy that is there already is left alone.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn forbid() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            let wrote = || format!("failed to write {POLICY}");
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(wrote)?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).with_context(wrote)?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            say(format_args!("{POLICY} could not be removed: services that are installed are not started"));
        }
    }
}
