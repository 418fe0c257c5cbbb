//! `cargo xtask run`: from a fresh machine to a running agent.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::prepare;

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent's configuration, instead of one without peers that watches this kernel and the default gateway.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Installs, builds, and becomes the agent.
pub(crate) fn run(args: &Args) -> Result<()> {
    prepare::to_build()?;
    let agent = prepare::agent()?;
    let config = match &args.config {
        Some(config) => config.clone(),
        None => write_config(&crate::target().join("run"))?,
    };
    tell(&agent, &config);
    let failed = Command::new(&agent).args(["agent", "--config"]).arg(&config).exec();
    Err(anyhow!(failed).context(format!("cannot start {}", agent.display())))
}

fn write_config(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("lacuna.toml");
    let host = nix::unistd::gethostname()?;
    let text = config(&host.to_string_lossy(), &folder.join("store"));
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn config(host: &str, store: &Path) -> String {
    format!(
        "# Written by `cargo xtask run`; give your own with --config.\n\
         host = {host:?}\n\n\
         [heartbeat]\n\
         # Without peers nothing is sent; with some, set key_file instead.\n\
         insecure = true\n\n\
         [store]\n\
         path = {:?}\n",
        store.display().to_string()
    )
}

fn tell(agent: &Path, config: &Path) {
    println!("configuration  {}", config.display());
    println!("web page       http://127.0.0.1:9480/");
    println!("metrics        http://127.0.0.1:9480/metrics");
    println!("live view      {} watch", agent.display());
    println!("status         {} status", agent.display());
    println!("what it watches, the agent itself says now; Ctrl-C ends it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_has_no_peers_and_its_own_store() {
        let text = config("db \"1\"", Path::new("/x/target/run/store"));
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["host"].as_str(), Some("db \"1\""));
        assert_eq!(table["heartbeat"]["insecure"].as_bool(), Some(true));
        assert_eq!(table["store"]["path"].as_str(), Some("/x/target/run/store"));
        assert!(!table.contains_key("peers"));
    }
}
