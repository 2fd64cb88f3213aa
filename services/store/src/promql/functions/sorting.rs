//! sort, sort_desc, sort_by_label and sort_by_label_desc: of use to instant queries only.

use std::cmp::Ordering;

use super::super::aggregate::compare;
use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::syntax::Call;
use super::super::value::{Column, is_absent};

/// Sorts a vector by the function `name`.
pub(in super::super) fn eval(
    context: &Context<'_>,
    name: &str,
    call: &Call,
) -> Result<Vec<Column>, QueryError> {
    if context.grid.len() > 1 {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        context.notes.warn(call.span, text);
    }
    let labels = call.args[1..].iter().map(|arg| context.text(arg)).collect::<Result<Vec<_>, _>>()?;
    let mut columns = context.vector(&call.args[0])?;
    let descending = name.ends_with("_desc");
    match name {
        "sort" | "sort_desc" => {
            let first = |column: &Column| column.values.first().copied().unwrap_or(f64::NAN);
            if context.grid.len() == 1 {
                // Histograms have no order.
                columns.retain(|column| !is_absent(first(column)));
            }
            columns.sort_by(|a, b| compare(first(a), first(b), descending));
        }
        "sort_by_label" | "sort_by_label_desc" => {
            columns.sort_by(|a, b| {
                let mut pairs = labels.iter().map(|label| natural(a.labels.get(label), b.labels.get(label)));
                let order = pairs.find(|order| order.is_ne()).unwrap_or_else(|| a.labels.cmp(&b.labels));
                if descending { order.reverse() } else { order }
            });
        }
        other => return Err(QueryError::execution(format!("function {other}() is not known"))),
    }
    Ok(columns)
}

/// Compares texts with the numbers in them as numbers, so that `a2` is before `a10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (x, y) = (chunk(a), chunk(b));
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(x) && digits(y) {
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[x.len()..], &b[y.len()..]);
    }
    a.len().cmp(&b.len())
}

/// The run of digits, or of anything else, that a text begins with.
fn chunk(text: &str) -> &str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    &text[..text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::natural;
    use std::cmp::Ordering;

    #[test]
    fn numbers_in_texts_are_compared_as_numbers() {
        assert_eq!(natural("a2", "a10"), Ordering::Less);
        assert_eq!(natural("a02", "a2"), Ordering::Equal);
        assert_eq!(natural("1.9", "1.10"), Ordering::Less);
        assert_eq!(natural("b", "a10"), Ordering::Greater);
        assert_eq!(natural("", "a"), Ordering::Less);
        assert_eq!(natural("x9", "x"), Ordering::Greater);
    }
}
