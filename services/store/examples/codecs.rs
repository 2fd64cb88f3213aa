//! Bytes a value of a block's codecs on real series: `VAKT_DATA=DIR cargo run -p vakt-store --example codecs`.
//!
//! DIR holds CSV files (`timestamp,value`, the first line a header). Each file is cut into chunks as a block is; the
//! table has a line for each codec alone, and one for the choice that is made.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vakt_store::codec::{CHUNK_SAMPLES_MAX, Effort, values};

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|end| end == "csv") {
            out.push(path);
        }
    }
}

fn main() {
    let folder = std::env::var_os("VAKT_DATA").expect("VAKT_DATA names no folder of CSV files");
    let mut paths = Vec::new();
    files(Path::new(&folder), &mut paths);
    paths.sort();
    let (mut sizes, mut count) = (BTreeMap::<String, usize>::new(), 0);
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let column: Vec<f64> =
            text.lines().filter_map(|line| line.rsplit(',').next()?.trim().parse().ok()).collect();
        count += column.len();
        for chunk in column.chunks(CHUNK_SAMPLES_MAX) {
            for effort in [Effort::Quick, Effort::Thorough, Effort::Lasting] {
                let coded = values::encode(chunk, effort);
                assert_eq!(values::decode(&coded, chunk.len()).unwrap(), chunk);
                *sizes.entry(format!("{effort:?}: the choice")).or_default() += coded.len();
                *sizes.entry(format!("{effort:?}: chunks with codec {}", coded[0])).or_default() +=
                    coded.len();
            }
            for level in [6, 8, 12] {
                let config = pco::ChunkConfig::default().with_compression_level(level);
                let coded = pco::standalone::simple_compress(chunk, &config).unwrap();
                *sizes.entry(format!("pco on floats alone, level {level:2}")).or_default() += coded.len();
            }
        }
    }
    println!("{count} values of {} files", paths.len());
    for (what, bytes) in sizes {
        println!("{what:40} {:.3} bytes a value", bytes as f64 / count as f64);
    }
}
