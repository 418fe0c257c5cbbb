//! Whether the dashboards fit Grafana's published types (`@grafana/schema`): TypeScript says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process;

/// What is copied to where it is compiled.
const FILES: [&str; 4] = ["package.json", "package-lock.json", "tsconfig.json", "types.ts"];
/// A copy of the lock that the installed packages are of.
const INSTALLED: &str = "installed-lock.json";
/// A dashboard that has what Grafana does not know, in three places: the compiler must see each of them.
const WRONG: [(&str, &str); 3] = [
    ("\"schemaVersion\": 38", "\"schemaVersion\": \"38\""),
    ("\"type\": \"heatmap\"", "\"type\": \"heatmaps\""),
    ("\"showValue\": \"never\"", "\"showValue\": \"sometimes\""),
];

/// Compiles all dashboards as values of the published types.
///
/// # Errors
/// What the compiler wrote; or it takes what is wrong.
pub(super) fn check() -> Result<()> {
    let folder = crate::target().join("dashboards-schema");
    prepare(&folder)?;
    for (path, _) in super::documents()? {
        let text = std::fs::read_to_string(&path)?;
        let name = path.file_stem().context("a file without a name")?.to_string_lossy().into_owned();
        write(&folder, &name, &text)?;
    }
    process::run(&mut compiler(&folder)).context("a dashboard does not fit @grafana/schema")?;
    refuses_what_is_wrong(&folder)?;
    println!("the dashboards fit @grafana/schema");
    Ok(())
}

/// A compiler that takes everything would prove nothing.
fn refuses_what_is_wrong(folder: &Path) -> Result<()> {
    let path = super::folder().join("grafana").join("host.json");
    let right = std::fs::read_to_string(&path)?;
    for (from, to) in WRONG {
        ensure!(right.contains(from), "{} has no {from}", path.display());
        write(folder, "host", &right.replacen(from, to, 1))?;
        let output = compiler(folder).output()?;
        if output.status.success() {
            bail!("the types take a dashboard with {to}");
        }
    }
    write(folder, "host", &right)
}

/// A value of the type that types.ts makes of the published ones.
fn write(folder: &Path, name: &str, document: &str) -> Result<()> {
    let text = format!("import type {{ Document }} from './types';\n\nexport const it: Document = {document};\n");
    std::fs::write(folder.join(format!("{name}.ts")), text)?;
    Ok(())
}

/// Copies what is compiled, and installs the packages of the lock where they are not there yet.
fn prepare(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let from: PathBuf = super::folder().join("schema");
    for name in FILES {
        std::fs::copy(from.join(name), folder.join(name)).with_context(|| name.to_owned())?;
    }
    let (lock, installed) = (std::fs::read(folder.join("package-lock.json"))?, folder.join(INSTALLED));
    if std::fs::read(&installed).is_ok_and(|there| there == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
    process::run(&mut npm)?;
    std::fs::write(installed, lock)?;
    Ok(())
}

fn compiler(folder: &Path) -> Command {
    let mut compiler = Command::new(folder.join("node_modules/.bin/tsc"));
    compiler.args(["--project", "."]).current_dir(folder);
    compiler
}
