//! Guided fuzzing of `http2`. The body is in `fuzz/targets`, which tests run, too.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz_targets::http2::run(bytes));
