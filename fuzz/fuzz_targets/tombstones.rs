//! The file of deletions: what is read of it is written and read again the same.
#![no_main]

use vakt_store::deletions::file::{bytes, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (found, _) = parse(data);
    assert_eq!(parse(&bytes(&found)), (found, None));
});
