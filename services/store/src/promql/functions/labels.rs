//! `label_replace` and `label_join`.

use super::super::call::sets_name;
use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::syntax::Expr;
use super::super::value::Column;
use crate::series::anchored;

/// `label_replace(v, destination, replacement, source, regex)`.
///
/// # Errors
/// For a bad regular expression or label name, and when results collide.
pub(in super::super) fn replace(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let text = |index: usize| context.text(&args[index]);
    let (destination, replacement, source, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
    let regex = anchored(&pattern).map_err(|_| {
        QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    check_name(&destination, "destination", "label_replace")?;
    let mut columns = context.vector(&args[0])?;
    for column in &mut columns {
        let value = column.labels.get(&source).to_owned();
        if let Some(captures) = regex.captures(&value) {
            let mut replaced = String::new();
            captures.expand(&replacement, &mut replaced);
            column.labels = column.labels.with(&destination, &replaced);
            column.drop_name &= destination != crate::series::METRIC_NAME;
        }
    }
    super::super::eval::distinct(columns)
}

/// `label_join(v, destination, separator, source, …)`.
///
/// # Errors
/// For a bad label name, and when results collide.
pub(in super::super) fn join(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let texts = args[1..].iter().map(|arg| context.text(arg)).collect::<Result<Vec<_>, _>>()?;
    let (destination, separator, sources) = (&texts[0], &texts[1], &texts[2..]);
    sources.iter().try_for_each(|source| check_name(source, "source", "label_join"))?;
    check_name(destination, "destination", "label_join")?;
    let mut columns = context.vector(&args[0])?;
    for column in &mut columns {
        let values: Vec<&str> = sources.iter().map(|source| column.labels.get(source)).collect();
        column.labels = column.labels.with(destination, &values.join(separator));
    }
    sets_name(destination, columns)
}

fn check_name(name: &str, what: &str, function: &str) -> Result<(), QueryError> {
    if name.is_empty() || name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(QueryError::execution(format!("invalid {what} label name in {function}(): {name}")));
    }
    Ok(())
}
