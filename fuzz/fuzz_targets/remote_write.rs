//! Remote-write 1.0, unpacked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vakt_fuzz::read(|request| request.read_remote_write(&mut data.to_vec()));
});
