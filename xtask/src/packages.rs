//! What the build and the tests need from Debian, and how it is installed.

use anyhow::Result;

use crate::sh;

/// Installs those of the packages that are missing.
pub(crate) fn ensure(wanted: &[&str]) -> Result<()> {
    let installed = |name: &&&str| sh::output(&mut sh::command(&["dpkg", "-s", name]), "").is_err();
    let missing: Vec<&str> = wanted.iter().filter(installed).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing: {}", missing.join(" "));
    let mut install = sh::command(&["apt-get", "install", "-y", "--no-install-recommends"]);
    sh::run(install.args(missing))
}
