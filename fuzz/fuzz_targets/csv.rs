//! CSV: the first line is the format.
#![no_main]

use vakt_store::ingest::CsvForm;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(format) = std::str::from_utf8(&data[..line]) else { return };
    let Ok(form) = CsvForm::of(format) else { return };
    vakt_fuzz::read(|request| request.read_csv(data.get(line + 1..).unwrap_or_default(), &form));
});
