//! Cargo as it is, for commands that link no kernel programs.

use std::{env, process::Command};

/// The cargo that runs xtask, and so the pinned toolchain.
pub(crate) fn plain() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` sets these for xtask. Build scripts that read them would run again.
    let own = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (key, _) in env::vars_os() {
        if own.iter().any(|prefix| key.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(key);
        }
    }
    cargo
}
