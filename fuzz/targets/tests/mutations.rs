//! Runs each target with its seeds, and for some seconds with random changes of them.
//!
//! This finds less than `cargo xtask fuzz`, which is guided by coverage, but it needs no other
//! compiler flags. The inputs are different each time. A failing input is printed, so that it can
//! become a test case or a seed.

#![forbid(unsafe_code)]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use interceptor_fuzz_targets::{condition, framer, frames, hello, hpack, http1, rule, workloads};
use rstest::rstest;

/// Time for each target in seconds. `FUZZ_SECONDS` overrides it.
const SECONDS: u64 = 3;
/// Maximum length of an input, in bytes.
const MAXIMUM_LENGTH: usize = 9000;

#[rstest]
#[case::condition("condition", |bytes: &[u8]| text(bytes, condition::run))]
#[case::framer("framer", framer::run)]
#[case::frames("frames", frames::run)]
#[case::hello("hello", hello::run)]
#[case::hpack("hpack", hpack::run)]
#[case::http1("http1", http1::run)]
#[case::rule("rule", |bytes: &[u8]| text(bytes, rule::run))]
#[case::workloads("workloads", |bytes: &[u8]| text(bytes, workloads::run))]
fn a_target_holds_for_its_seeds_and_random_changes_of_them(
    #[case] target: &str,
    #[case] run: fn(&[u8]),
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> =
        files.map(|file| fs::read(file.expect("a file").path()).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds.iter().for_each(|seed| attempt(run, seed));

    let seconds =
        env::var("FUZZ_SECONDS").map_or(SECONDS, |seconds| seconds.parse().expect("a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut dice = Dice::new();
    let mut runs = 0;
    while Instant::now() < end {
        let mut input = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(8) {
            dice.change(&mut input, &seeds);
        }
        input.truncate(MAXIMUM_LENGTH);
        attempt(run, &input);
        runs += 1;
    }
    println!("{target}: {runs} runs");
    assert!(runs > 10, "only {runs} runs");
}

/// Runs a target, and prints the input if it fails.
fn attempt(run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("the input was b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn text(bytes: &[u8], run: fn(&str)) {
    if let Ok(text) = str::from_utf8(bytes) {
        run(text);
    }
}

/// A random number generator (xorshift64).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Self(now.as_nanos() as u64 | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    /// Makes one random change to `input`.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        /// Bytes at limits, and delimiters.
        const EDGES: [u8; 9] = [0, 1, b'\r', b'\n', b'"', 0x7f, 0x80, 0xfe, 0xff];
        let at = self.below(input.len() + 1);
        let some = 1 + self.below(16);
        let until = (at + some).min(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..until)),
            2 => input.insert(at, EDGES[self.below(EDGES.len())]),
            3 if at < input.len() => input[at] = EDGES[self.below(EDGES.len())],
            4 if at < input.len() => input[at] ^= 1 << self.below(8),
            // Repeat a piece of the input.
            5 => {
                let piece = input[at..until].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            // Insert a piece of another seed.
            6 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let piece = other[from..(from + 4 * some).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            _ if at < input.len() => input[at] = self.below(256) as u8,
            _ => {}
        }
    }
}
