//! Guided fuzzing of `condition`. The body is in `fuzz/targets`, which tests run, too.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| interceptor_fuzz_targets::condition::run(text));
