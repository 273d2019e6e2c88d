//! What builds for musl need: the target's standard library, and a C compiler for the C and
//! assembly of the TLS library. The toolchain has the rest: a linker, musl itself and its start
//! files.

use std::env;

use anyhow::{Context as _, Result};

use super::{
    apt::{self, Need},
    rust,
};
use crate::arch::Arch;

/// Programs that compile C.
pub(crate) struct Compiler {
    pub(crate) cc: &'static str,
    pub(crate) ar: &'static str,
}

/// Installs what is missing to build for these architectures.
pub(crate) fn install(archs: &[Arch]) -> Result<()> {
    for arch in archs {
        rust::target(arch.target())
            .with_context(|| format!("install what static programs for {} need", arch.name()))?;
    }
    let needs = archs.iter().flat_map(|arch| needs(*arch)).copied().collect::<Vec<_>>();
    apt::install(&needs)
}

/// The compiler that [`install`] installs.
pub(crate) fn compiler(arch: Arch) -> Compiler {
    match arch {
        arch if is_native(arch) => Compiler { cc: "musl-gcc", ar: "ar" },
        Arch::X86_64 => Compiler { cc: "x86_64-linux-gnu-gcc", ar: "x86_64-linux-gnu-ar" },
        Arch::Aarch64 => Compiler { cc: "aarch64-linux-gnu-gcc", ar: "aarch64-linux-gnu-ar" },
    }
}

/// Debian has musl's headers for its own architecture only. For others, glibc's headers do: that C
/// uses fixed-size types and `memcpy`. If that changes, linking fails.
fn needs(arch: Arch) -> &'static [Need] {
    const WHY: &str = "compiles the C part of TLS";
    match arch {
        arch if is_native(arch) => &[Need { program: "musl-gcc", package: "musl-tools", why: WHY }],
        // The header stands for its package: `find` takes an absolute path, too.
        Arch::X86_64 => &[
            Need { program: "x86_64-linux-gnu-gcc", package: "gcc-x86-64-linux-gnu", why: WHY },
            Need {
                program: "/usr/x86_64-linux-gnu/include/assert.h",
                package: "libc6-dev-amd64-cross",
                why: "its headers",
            },
        ],
        Arch::Aarch64 => &[
            Need { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu", why: WHY },
            Need {
                program: "/usr/aarch64-linux-gnu/include/assert.h",
                package: "libc6-dev-arm64-cross",
                why: "its headers",
            },
        ],
    }
}

fn is_native(arch: Arch) -> bool {
    arch.name() == env::consts::ARCH
}
