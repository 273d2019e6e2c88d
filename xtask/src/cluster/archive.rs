//! An image in the format of `docker save`, with one layer, made of files. containerd imports it
//! without a registry.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::run;

/// The file tree of an image that is being made.
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Starts with an empty folder.
    pub(crate) fn begin(folder: PathBuf) -> Result<Self> {
        let _ = fs::remove_dir_all(&folder);
        for inside in ["root/tmp", "root/etc", "image"] {
            fs::create_dir_all(folder.join(inside))
                .with_context(|| format!("make {}", folder.display()))?;
        }
        let archive = Self { folder };
        fs::set_permissions(archive.path("/tmp"), fs::Permissions::from_mode(0o1777))
            .context("open /tmp to all")?;
        archive.text("/etc/passwd", "root:x:0:0::/:/bin/sh\n")?;
        archive.text("/etc/group", "root:x:0:\n")?;
        Ok(archive)
    }

    /// Copies a file, with its mode.
    pub(crate) fn file(&self, from: &Path, to: &str) -> Result<()> {
        let path = self.path(to);
        make_parent(&path)?;
        fs::copy(from, &path).with_context(|| format!("copy {}", from.display())).map(drop)
    }

    /// Copies a program with the libraries that it loads.
    pub(crate) fn program(&self, from: &Path, to: &str) -> Result<()> {
        self.file(from, to)?;
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or only the path of the loader. A
        // static program has no such lines.
        let printed = Command::new("ldd").arg(from).output().context("run ldd")?;
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        for library in
            printed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'))
        {
            self.file(Path::new(library), library)?;
        }
        Ok(())
    }

    pub(crate) fn link(&self, at: &str, target: &str) -> Result<()> {
        let path = self.path(at);
        make_parent(&path)?;
        symlink(target, &path).with_context(|| format!("link {at}"))
    }

    fn text(&self, at: &str, content: &str) -> Result<()> {
        fs::write(self.path(at), content).with_context(|| format!("write {at}"))
    }

    /// Writes the archive, and removes the tree.
    pub(crate) fn write(self, image: &str, command: &[&str], archive: &Path) -> Result<()> {
        let inside = self.folder.join("image");
        let tar = |from: &Path, to: &Path| {
            // The same input gives the same image: no time, no user name.
            run::output(
                Command::new("tar")
                    .args([
                        "--sort=name",
                        "--mtime=@0",
                        "--owner=0",
                        "--group=0",
                        "--numeric-owner",
                        "-cf",
                    ])
                    .arg(to)
                    .arg("-C")
                    .arg(from)
                    .arg("."),
            )
        };
        let layer = inside.join("layer.tar");
        tar(&self.folder.join("root"), &layer)?;
        let digest = run::output(Command::new("sha256sum").arg(&layer))?;
        let digest = digest.split(' ').next().context("sha256sum printed nothing")?;
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","created":"1970-01-01T00:00:00Z",
              "config":{{"Entrypoint":{command:?},"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"WorkingDir":"/"}},
              "rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}},
              "history":[{{"created":"1970-01-01T00:00:00Z"}}]}}"#
        );
        fs::write(inside.join("config.json"), config)?;
        let manifest = format!(
            r#"[{{"Config":"config.json","RepoTags":["{image}"],"Layers":["layer.tar"]}}]"#
        );
        fs::write(inside.join("manifest.json"), manifest)?;
        let new = archive.with_extension("new");
        tar(&inside, &new)?;
        fs::rename(&new, archive).with_context(|| format!("write {}", archive.display()))?;
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("remove {}", self.folder.display()))
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.join("root").join(inside.trim_start_matches('/'))
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))
}
