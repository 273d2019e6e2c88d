//! The parser: CEL's grammar (cel-spec, `doc/langdef.md`, "Syntax") without the parts that
//! conditions do not use.
//!
//! The crate `cel` has a parser, too, but it needs 64 KiB of stack for each nested bracket. An
//! annotation of 70 bytes would overflow the stack and abort the process. It also reports most
//! errors without a position. The tests compare our parser with that crate.

pub(crate) mod expression;
mod lexer;
pub(crate) mod parser;
mod string;
