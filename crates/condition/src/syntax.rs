//! From text to an expression: CEL's grammar (cel-spec, `doc/langdef.md`, "Syntax"), without what no condition can use.
//!
//! This parser is our own. That of the crate `cel` needs 64 KiB of stack for each bracket inside another, and an
//! overflow ends the process: 70 bytes of annotation would do. It also has no place for most errors. The crate is what the
//! tests compare this one with.

pub(crate) mod expression;
mod lexer;
pub(crate) mod parser;
mod string;
