//! Guided fuzzing of `hpack`. The body is in `fuzz/targets`, which tests run, too.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz_targets::hpack::run(bytes));
