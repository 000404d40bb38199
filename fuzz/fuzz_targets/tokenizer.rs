#![no_main]
#[path = "../../tests/support/readers.rs"]
#[allow(dead_code)]
mod readers;

use std::sync::Once;

/// The tokenizers crate panics on some files, which the reader catches. libFuzzer's hook would abort before; without it
/// a panic that leaves the reader still ends the run.
static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    readers::tokenizer(bytes);
});
