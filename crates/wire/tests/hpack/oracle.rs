//! Go's `hpack` as an oracle: it finds the same fields in our blocks, and we in its blocks.
//!
//! What our decoder accepts, Go's has to read in the same way. What ours refuses, Go's has to
//! refuse, apart from the few rules that Go does not check.
//!
//! Go's standard library has the package in a folder that programs can't import from. A GOPATH in
//! the target folder links to it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use interceptor_wire::http2::hpack::{
    Decoder, Encoder, Field, HpackError, Indexing, MAX_FIELD, Representation,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::properties::{Step, block, byte, steps};
use crate::support::{Owned, decode};

/// Conversations in one run of a test.
const CONVERSATIONS: usize = 400;

/// The answers of the Go program to `lines`, or why it can't run here.
fn ask(name: &str, lines: &[String]) -> io::Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hpack-{name}"));
    let output = |command: &mut Command| {
        let output = command.env("GOTOOLCHAIN", "local").output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let root = PathBuf::from(output(Command::new("go").args(["env", "GOROOT"]))?);
    let package = "golang.org/x/net/http2";
    let link = folder.join("src").join(package).join("hpack");
    fs::create_dir_all(folder.join("src").join(package))?;
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(root.join("src/vendor").join(package).join("hpack"), link)?;
    let binary = folder.join("oracle.bin");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hpack/oracle.go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(source);
    output(build.env("GO111MODULE", "off").env("GOPATH", &folder).env("GOFLAGS", ""))?;

    let mut child = Command::new(binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic")?;
    assert!(output.status.success(), "the oracle failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The answers, or `None` with a message where Go is missing. Not with `eprintln`, whose output the
/// test harness hides when a test passes.
fn answers(name: &str, lines: &[String]) -> Option<Vec<String>> {
    match ask(name, lines) {
        Ok(answers) => Some(answers),
        Err(why) => {
            let _ = writeln!(io::stderr(), "\nLEFT OUT: Go does not run here: {why}\n");
            None
        }
    }
}

fn samples<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::default();
    let sample = |_| strategy.new_tree(&mut runner).expect("a sample").current();
    (0..CONVERSATIONS).map(sample).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// A field as the Go program writes and reads it.
fn line(field: Field<'_>) -> String {
    let is_never =
        matches!(field.representation, Representation::Literal { indexing: Indexing::Never, .. });
    format!("{}:{}:{is_never}", hex(field.name), hex(field.value))
}

fn line_of(fields: &[Owned]) -> String {
    fields.iter().map(|field| line(field.field())).collect::<Vec<_>>().join(" ")
}

#[test]
fn go_finds_the_fields_that_were_encoded() {
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    for (steps, wanted) in samples((steps(), 0..6000_u32)) {
        lines.push("new".to_owned());
        let mut encoder = Encoder::new(wanted);
        for step in steps {
            match step {
                Step::Limit(limit) => {
                    encoder.set_limit(limit);
                    lines.push(format!("limit {limit}"));
                }
                Step::Block(fields) => {
                    let mut out = Vec::new();
                    encoder.begin(&mut out);
                    fields.iter().for_each(|field| encoder.field(&mut out, field.field()));
                    lines.push(format!("block {}", hex(&out)));
                    expected.push(format!("fields {}", line_of(&fields)));
                }
            }
        }
    }
    let Some(answers) = answers("encoded", &lines) else { return };
    assert!(expected.len() > CONVERSATIONS);
    assert_eq!(answers.len(), expected.len());
    for (answer, expected) in answers.iter().zip(&expected) {
        assert_eq!(answer, expected);
    }
}

#[test]
fn fields_that_go_encoded_are_found() {
    let (mut lines, mut sent) = (Vec::new(), Vec::new());
    for (steps, size) in samples((steps(), 0..6000_u32)) {
        lines.extend(["new".to_owned(), format!("size {size}")]);
        sent.push(None);
        for step in steps {
            match step {
                Step::Limit(limit) => {
                    lines.push(format!("limit {limit}"));
                    sent.push(Some(Step::Limit(limit)));
                }
                Step::Block(fields) => {
                    lines.push(format!("fields {}", line_of(&fields)));
                    sent.push(Some(Step::Block(fields)));
                }
            }
        }
    }
    let Some(answers) = answers("decoded", &lines) else { return };
    let mut blocks = answers.iter().map(|line| line.strip_prefix("block ").expect("a block"));
    let (mut decoder, mut count) = (Decoder::new(MAX_FIELD), 0);
    for step in sent {
        match step {
            None => decoder = Decoder::new(MAX_FIELD),
            Some(Step::Limit(limit)) => decoder.set_limit(limit),
            Some(Step::Block(fields)) => {
                let block = unhex(blocks.next().expect("an answer"));
                let (seen, end) = decode(&mut decoder, &block, 1..block.len().max(1));
                assert_eq!(end, Ok(()));
                assert_eq!(line_of(&seen), line_of(&fields));
                count += 1;
            }
        }
    }
    assert!(count > CONVERSATIONS && blocks.next().is_none());
}

/// How many table sizes a block begins with.
fn sizes(mut block: &[u8]) -> usize {
    let mut count = 0;
    while let [first @ 0x20..0x40, rest @ ..] = block {
        let number = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        block = if *first == 0x3f { rest.get(number..).unwrap_or_default() } else { rest };
        count += 1;
    }
    count
}

#[test]
fn go_agrees_about_any_bytes() {
    let (mut lines, mut ours) = (Vec::new(), Vec::new());
    // Beginnings that fill the table, then changed blocks and any bytes.
    let bytes = prop_oneof![
        vec(byte(), 0..40),
        (block(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
            |(fields, changes)| {
                let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
                encoder.begin(&mut out);
                fields.iter().for_each(|field| encoder.field(&mut out, field.field()));
                for (at, byte) in changes {
                    let length = out.len();
                    out.iter_mut().skip(at.index(length + 1)).take(1).for_each(|old| *old = byte);
                }
                out
            }
        ),
    ];
    for blocks in samples(vec(bytes, 1..8)) {
        lines.push("new".to_owned());
        let mut decoder = Decoder::new(MAX_FIELD);
        for block in blocks {
            lines.push(format!("block {}", hex(&block)));
            let (fields, end) = decode(&mut decoder, &block, []);
            ours.push((end, sizes(&block), line_of(&fields)));
            if end.is_err() || sizes(&block) > 1 {
                break;
            }
        }
    }
    let Some(answers) = answers("any", &lines) else { return };
    assert_eq!(answers.len(), ours.len());
    let mut accepted = 0;
    for ((end, sizes, fields), answer) in ours.iter().zip(answers) {
        match end {
            // Go refuses a second size while its table has fields.
            Ok(()) if *sizes > 1 && answer == "error" => {}
            Ok(()) => {
                assert_eq!(answer, format!("fields {fields}"));
                accepted += 1;
            }
            // Go reads numbers of 63 bits, takes a size anywhere while the table is empty, and
            // has no maximum.
            Err(HpackError::Number | HpackError::LateTableSize | HpackError::TooLong { .. }) => {}
            Err(error) => assert_eq!(answer, "error", "{error}"),
        }
    }
    assert!(accepted > CONVERSATIONS / 4, "only {accepted} blocks of {}", ours.len());
}
