//! Each target with its seeds, and for some seconds with what becomes of them by chance: not as good as `cargo xtask fuzz`,
//! which sees what is covered, but it needs nothing that is not compiled anyway.
//!
//! Other inputs each time. One that fails is shown, and makes a test case or a seed.

#![forbid(unsafe_code)]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use interceptor_fuzz_targets::{condition, framer, hello, http1, http2, rule, workloads};
use rstest::rstest;

/// For each target, in seconds; `FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 3;
/// Inputs do not grow longer than that, in bytes.
const LONG: usize = 9000;

#[rstest]
#[case::condition("condition", |bytes: &[u8]| text(bytes, condition::run))]
#[case::framer("framer", framer::run)]
#[case::hello("hello", hello::run)]
#[case::http1("http1", http1::run)]
#[case::http2("http2", http2::run)]
#[case::rule("rule", |bytes: &[u8]| text(bytes, rule::run))]
#[case::workloads("workloads", |bytes: &[u8]| text(bytes, workloads::run))]
fn what_is_promised_of_any_input_is_true_of(#[case] target: &str, #[case] run: fn(&[u8])) {
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
        input.truncate(LONG);
        attempt(run, &input);
        runs += 1;
    }
    println!("{target}: {runs} runs");
    assert!(runs > 10, "only {runs} runs");
}

/// Shows the input if it fails.
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

/// Chance (xorshift64).
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

    /// Changes something somewhere.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        /// Where limits and signs are.
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
            // A piece of it once more.
            5 => {
                let piece = input[at..until].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            // A piece of another one.
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
