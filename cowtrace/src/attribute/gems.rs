//! Where Ruby's standard library and its packages are.

/// Directories below which packages lie, each in its own: `puma-5.6.5/lib/puma.rb`.
static GEMS: &[&str] = &["/gems/"];
/// Directories of packages that a distribution has installed: `vendor_ruby/puma/cluster.rb`; and by whoever else.
static VENDORS: &[&str] = &["/vendor_ruby/", "/site_ruby/"];
/// … of the standard library: `lib/ruby/3.1.0/set.rb`.
static LIBRARIES: &[&str] = &["/lib/ruby/", "/lib64/ruby/", "/share/ruby/"];

/// Whether a file is the standard library's, or a package's.
pub(super) fn is_installed(file: &str) -> bool {
    inside(file).is_some() || is_standard(file)
}

fn is_standard(file: &str) -> bool {
    LIBRARIES.iter().any(|directory| file.contains(directory))
}

/// What comes behind the directory of packages, without the package's version; `None` = the file is in none.
pub(super) fn inside(file: &str) -> Option<&str> {
    let gem = GEMS.iter().find_map(|directory| file.rsplit_once(directory)).map(|(_, inside)| inside);
    if let Some((name, _)) = gem.and_then(|inside| inside.split('/').next()).and_then(version) {
        return Some(name);
    }
    let vendor =
        VENDORS.iter().find_map(|directory| file.rsplit_once(directory)).map(|(_, inside)| inside)?;
    // Of versions and of machines: `vendor_ruby/3.1.0/x86_64-linux-gnu/…`.
    let is_version = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    match vendor.split_once('/') {
        Some((first, rest)) if is_version(first) => Some(rest),
        _ => Some(vendor),
    }
}

/// Name and version of `puma-5.6.5`.
fn version(directory: &str) -> Option<(&str, &str)> {
    directory.rsplit_once('-').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// How a file is required: its path below the library or package, without its end; elsewhere its name.
pub(super) fn feature(file: &str) -> &str {
    let stem = file.strip_suffix(".rb").or_else(|| file.strip_suffix(".so")).unwrap_or(file);
    if !stem.starts_with('/') {
        return stem.trim_start_matches("./");
    }
    if is_installed(stem) {
        let in_gem =
            stem.rsplit_once("/gems/").and_then(|(_, gem)| gem.split_once("/lib/")).map(|(_, inside)| inside);
        let in_vendor =
            || VENDORS.iter().find_map(|directory| stem.rsplit_once(directory)).map(|(_, inside)| inside);
        let in_library = || {
            let (_, inside) = LIBRARIES.iter().find_map(|directory| stem.rsplit_once(directory))?;
            inside.split_once('/').map(|(_, inside)| inside)
        };
        if let Some(inside) = in_gem.or_else(in_vendor).or_else(in_library) {
            return inside;
        }
    }
    stem.rsplit('/').next().unwrap_or(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::library::{Library, of_file, owner};

    #[test]
    fn packages() {
        for (file, name, feature_) in [
            ("/var/lib/gems/3.1.0/gems/puma-5.6.5/lib/puma/server.rb", "puma", "puma/server"),
            ("/usr/lib/ruby/vendor_ruby/rack/builder.rb", "rack", "rack/builder"),
            ("/usr/lib/ruby/vendor_ruby/rack.rb", "rack", "rack"),
            ("/usr/lib/ruby/3.1.0/json/common.rb", "standard library", "json/common"),
            ("/home/ann/.rbenv/versions/3.1.2/lib/ruby/3.1.0/set.rb", "standard library", "set"),
        ] {
            assert_eq!((owner(file).as_str(), feature(file)), (name, feature_), "{file}");
        }
        assert_eq!(of_file("/usr/lib/ruby/vendor_ruby/puma/cluster.rb"), Library::Workers("puma"));
        assert_eq!(of_file("/usr/bin/puma"), Library::Workers("puma"));
        assert_eq!(of_file("<internal:kernel>"), Library::Frozen);
        for own in ["/srv/app/lib/ruby_app.rb", "app.rb", "/srv/gems/app.rb", "(eval)"] {
            assert_eq!(of_file(own), Library::Own, "{own}");
        }
        assert_eq!((feature("/srv/app/models.rb"), feature("./models")), ("models", "models"));
    }
}
