//! Guided fuzzing of `frames`. The body is in `fuzz/targets`, which tests run, too.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz_targets::frames::run(bytes));
