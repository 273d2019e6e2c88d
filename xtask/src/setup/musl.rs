//! What it takes to build for musl: the target's standard library, and a C compiler for the little C and assembly that
//! comes with TLS. Linking needs nothing: the toolchain has a linker, musl itself and its start files.

use std::env;

use anyhow::{Context as _, Result};

use super::{
    apt::{self, Need},
    rust,
};
use crate::arch::Arch;

/// Programs that make machine code of C.
pub(crate) struct Compiler {
    pub(crate) cc: &'static str,
    pub(crate) ar: &'static str,
}

/// Installs what is missing to build for these machines.
pub(crate) fn install(archs: &[Arch]) -> Result<()> {
    for arch in archs {
        rust::target(arch.target())
            .with_context(|| format!("get ready to build for {} without libraries", arch.name()))?;
    }
    let needs = archs.iter().flat_map(|arch| needs(*arch)).copied().collect::<Vec<_>>();
    apt::install(&needs)
}

/// The compiler that [`install`] sees to.
pub(crate) fn compiler(arch: Arch) -> Compiler {
    match arch {
        arch if is_native(arch) => Compiler { cc: "musl-gcc", ar: "ar" },
        Arch::X86_64 => Compiler { cc: "x86_64-linux-gnu-gcc", ar: "x86_64-linux-gnu-ar" },
        Arch::Aarch64 => Compiler { cc: "aarch64-linux-gnu-gcc", ar: "aarch64-linux-gnu-ar" },
    }
}

/// Debian has musl's headers for its own machine only. For others those of glibc do: what is compiled with them uses
/// fixed-size types and `memcpy`, and says so at the link if that changes.
fn needs(arch: Arch) -> &'static [Need] {
    const WHY: &str = "compiles the C part of TLS";
    match arch {
        arch if is_native(arch) => &[Need { program: "musl-gcc", package: "musl-tools", why: WHY }],
        // Headers are no program, but an absolute path is found like one.
        Arch::X86_64 => &[
            Need { program: "x86_64-linux-gnu-gcc", package: "gcc-x86-64-linux-gnu", why: WHY },
            Need {
                program: "/usr/x86_64-linux-gnu/include/assert.h",
                package: "libc6-dev-amd64-cross",
                why: "headers for it",
            },
        ],
        Arch::Aarch64 => &[
            Need { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu", why: WHY },
            Need {
                program: "/usr/aarch64-linux-gnu/include/assert.h",
                package: "libc6-dev-arm64-cross",
                why: "headers for it",
            },
        ],
    }
}

fn is_native(arch: Arch) -> bool {
    arch.name() == env::consts::ARCH
}
