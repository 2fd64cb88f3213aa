//! `vakt-bench [MEASURE]…`: takes the measures named (all without a name) and prints one table.
//!
//! A measure that cannot be taken here says `skipped` and why; one that fails says so and makes the exit
//! code 1. Nothing is compared with a threshold: this is for reading, not for passing.

use std::process::ExitCode;

use vakt_qemu_tests::bench::{MEASURES, Row, host, print, print_head};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let known: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
    if let Some(stranger) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("there is no measure {stranger:?}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    let before = host();
    print_head();
    for (name, measure) in MEASURES {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        eprintln!("==> {name}");
        let rows = measure().unwrap_or_else(|error| {
            code = ExitCode::FAILURE;
            vec![Row::failed(&format!("{error:#}"))]
        });
        rows.iter().for_each(|row| print(name, row));
    }
    println!("\nHost at the start: {before}; at the end: {}.", host());
    code
}
