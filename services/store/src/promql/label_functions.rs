//! `label_replace` and `label_join`.

use promql_parser::parser::FunctionArgs;

use super::eval::{Context, distinct};
use super::limits::QueryError;
use super::value::Column;

/// `label_replace(v, destination, replacement, source, regex)`.
///
/// # Errors
/// For a bad regular expression or label name, and when results collide.
pub(super) fn replace(context: &Context<'_>, args: &FunctionArgs) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&args.args[0])?;
    let text = |index: usize| context.text(&args.args[index]);
    let (destination, replacement, source, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
    check_name(&destination, "label_replace")?;
    let regex = regex::Regex::new(&format!("^(?s:{pattern})$")).map_err(|_| {
        QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    let one = |mut column: Column| {
        let value = column.labels.get(&source).to_owned();
        if let Some(captures) = regex.captures(&value) {
            let mut replaced = String::new();
            captures.expand(&replacement, &mut replaced);
            column.labels = column.labels.with(&destination, &replaced);
        }
        column
    };
    distinct(columns.into_iter().map(one).collect())
}

/// `label_join(v, destination, separator, source, …)`.
///
/// # Errors
/// For a bad label name, and when results collide.
pub(super) fn join(context: &Context<'_>, args: &FunctionArgs) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&args.args[0])?;
    let texts = args.args[1..].iter().map(|arg| context.text(arg)).collect::<Result<Vec<_>, _>>()?;
    let (destination, separator, sources) = (&texts[0], &texts[1], &texts[2..]);
    check_name(destination, "label_join")?;
    let one = |mut column: Column| {
        let values: Vec<&str> = sources.iter().map(|source| column.labels.get(source)).collect();
        column.labels = column.labels.with(destination, &values.join(separator));
        column
    };
    distinct(columns.into_iter().map(one).collect())
}

fn check_name(name: &str, function: &str) -> Result<(), QueryError> {
    if name.is_empty() {
        return Err(QueryError::execution(format!(
            "invalid destination label name in {function}(): {name:?}"
        )));
    }
    Ok(())
}
