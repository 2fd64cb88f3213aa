//! What a query may not do.

use super::memory::Memory;
use crate::promql::{Grid, evaluate, parse};

#[test]
fn what_would_take_too_much_is_refused() {
    let memory = Memory::default();
    let check = |query: &str, grid: Grid, expected: &str| {
        let outcome = parse(query).and_then(|expr| evaluate(&memory, &expr, grid));
        let said =
            outcome.map(|outcome| format!("{:?}", outcome.value)).unwrap_or_else(|error| error.to_string());
        assert!(said.contains(expected), "{query}: {said}");
    };
    let instant = Grid::instant(0);
    check(&"m+".repeat(9_000), instant, "at most 16384 are read");
    check(&format!("{}m{}", "(".repeat(300), ")".repeat(300)), instant, "nests deeper than 200");
    check("count_over_time(m[100y:1ms])", instant, "subquery has");
    check("m[5m]", Grid { start: 0, end: 60_000, step: 1_000 }, "must be Scalar or instant Vector");
    check("m[-1m]", instant, "duration must be greater than 0");
    check("m[1m:0s]", instant, "duration must be greater than 0");
    check("m offset 300y", instant, "duration out of range");
}
