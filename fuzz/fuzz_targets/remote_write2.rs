//! Remote-write 2.0, unpacked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vakt_fuzz::read(|request| request.read_remote_write2(data));
});
