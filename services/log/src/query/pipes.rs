//! Pipes: parsing them, and finishing rows with them.

use std::cmp::Ordering;

use super::ast::{Pipe, SyntaxError};
use super::sinks::Hit;
use super::token::{Token, Tokens};

/// Parses one pipe behind its `|`. A sort with a limit is two pipes.
pub(super) fn parse(tokens: &mut Tokens<'_>) -> Result<Vec<Pipe>, SyntaxError> {
    let name = match tokens.next()? {
        Token::Word(name) => name.to_ascii_lowercase(),
        _ => return Err(tokens.error("the name of a pipe is missing here")),
    };
    match name.as_str() {
        "limit" | "head" => Ok(vec![Pipe::Limit(number(tokens)?)]),
        "offset" | "skip" => Ok(vec![Pipe::Offset(number(tokens)?)]),
        "fields" | "keep" => Ok(vec![Pipe::Fields(names(tokens)?)]),
        "sort" | "order" => sort(tokens),
        "count" => Ok(vec![Pipe::Count { by: Vec::new(), name: "count".into() }]),
        "stats" => stats(tokens),
        _ => Err(tokens.error(format!(
            "the pipe {name:?} is not supported; known are limit, offset, sort, fields, count, stats count()"
        ))),
    }
}

fn number(tokens: &mut Tokens<'_>) -> Result<usize, SyntaxError> {
    match tokens.next()? {
        Token::Word(word) => {
            word.parse().map_err(|_| tokens.error(format!("{word:?} is not a number of rows")))
        }
        _ => Err(tokens.error("a number of rows is missing here")),
    }
}

fn field(tokens: &mut Tokens<'_>) -> Result<String, SyntaxError> {
    match tokens.next()? {
        Token::Word(name) | Token::Quoted(name) => Ok(name),
        _ => Err(tokens.error("the name of a field is missing here")),
    }
}

fn names(tokens: &mut Tokens<'_>) -> Result<Vec<String>, SyntaxError> {
    let mut names = vec![field(tokens)?];
    while tokens.eat(',')? {
        names.push(field(tokens)?);
    }
    Ok(names)
}

fn sort(tokens: &mut Tokens<'_>) -> Result<Vec<Pipe>, SyntaxError> {
    tokens.eat_word("by")?;
    tokens.require('(')?;
    let mut by = Vec::new();
    loop {
        let name = field(tokens)?;
        let descending = tokens.eat_word("desc")?;
        if !descending {
            tokens.eat_word("asc")?;
        }
        by.push((name, descending));
        if !tokens.eat(',')? {
            break;
        }
    }
    tokens.require(')')?;
    if tokens.eat_word("desc")? {
        by.iter_mut().for_each(|(_, descending)| *descending = !*descending);
    }
    let mut pipes = vec![Pipe::Sort { by }];
    if tokens.eat_word("limit")? {
        pipes.push(Pipe::Limit(number(tokens)?));
    }
    Ok(pipes)
}

fn stats(tokens: &mut Tokens<'_>) -> Result<Vec<Pipe>, SyntaxError> {
    let mut by = Vec::new();
    if tokens.eat_word("by")? {
        by = group(tokens)?;
    }
    if !tokens.eat_word("count")? {
        tokens.next()?;
        return Err(tokens.error("only count() is supported in stats"));
    }
    tokens.require('(')?;
    tokens.eat('*')?;
    tokens.require(')')?;
    let mut name = "count(*)".to_owned();
    if tokens.eat_word("as")? || matches!(tokens.peek()?, Token::Word(word) if word != "by") {
        name = field(tokens)?;
    }
    if by.is_empty() && tokens.eat_word("by")? {
        by = group(tokens)?;
    }
    Ok(vec![Pipe::Count { by, name }])
}

fn group(tokens: &mut Tokens<'_>) -> Result<Vec<String>, SyntaxError> {
    tokens.require('(')?;
    let by = names(tokens)?;
    tokens.require(')')?;
    Ok(by)
}

/// Sends rows through the pipes, in order.
pub(super) fn apply(mut rows: Vec<Hit>, pipes: &[Pipe]) -> Vec<Hit> {
    for pipe in pipes {
        match pipe {
            Pipe::Limit(count) => rows.truncate(*count),
            Pipe::Offset(count) => {
                rows.drain(..(*count).min(rows.len()));
            }
            Pipe::Fields(names) => rows.iter_mut().for_each(|row| row.keep(names)),
            Pipe::Sort { by } => rows.sort_by(|a, b| compare(a, b, by)),
            Pipe::Count { by, name } => rows = count(&rows, by, name),
        }
    }
    rows
}

fn compare(a: &Hit, b: &Hit, by: &[(String, bool)]) -> Ordering {
    by.iter()
        .map(|(name, descending)| {
            let ordering = match name.as_str() {
                "_time" => a.time_ns.cmp(&b.time_ns),
                _ => values(a.get(name), b.get(name)),
            };
            if *descending { ordering.reverse() } else { ordering }
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers as numbers, before texts as texts.
fn values(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

fn count(rows: &[Hit], by: &[String], name: &str) -> Vec<Hit> {
    let mut groups = std::collections::BTreeMap::<Vec<String>, u64>::new();
    for row in rows {
        let key = by.iter().map(|name| row.value(name).into_owned()).collect();
        *groups.entry(key).or_default() += 1;
    }
    counted(groups, by, name)
}

/// Groups and their counts as rows without a time, the largest first.
pub(super) fn counted(
    mut groups: std::collections::BTreeMap<Vec<String>, u64>,
    by: &[String],
    name: &str,
) -> Vec<Hit> {
    if by.is_empty() {
        groups.entry(Vec::new()).or_default();
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let row = |(key, count): (Vec<String>, u64)| {
        let mut fields: Vec<_> = by.iter().cloned().zip(key).collect();
        fields.push((name.to_owned(), count.to_string()));
        Hit { time_ns: 0, has_time: false, fields }
    };
    groups.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse as parse_query;
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match parse_query(text, 0) {
            Ok(query) => format!("{:?}", query.pipes),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn pipes_are_read_in_order() {
        check("* | limit 5 | fields a, \"b c\"", r#"[Limit(5), Fields(["a", "b c"])]"#);
        check(
            "* | sort by (_time desc, a) limit 3",
            r#"[Sort { by: [("_time", true), ("a", false)] }, Limit(3)]"#,
        );
        check("* | sort (a) desc | skip 2", r#"[Sort { by: [("a", true)] }, Offset(2)]"#);
        check("* | stats by (level) count() as n", r#"[Count { by: ["level"], name: "n" }]"#);
        check("* | stats count() n by (level)", r#"[Count { by: ["level"], name: "n" }]"#);
        check("* | count", r#"[Count { by: [], name: "count" }]"#);
        check(
            "* | top 5",
            "query, column 5: the pipe \"top\" is not supported; known are limit, offset, sort, fields, count, stats count()",
        );
        check("* | limit x", "query, column 11: \"x\" is not a number of rows");
        check("* | stats sum(a)", "query, column 11: only count() is supported in stats");
    }

    #[test]
    fn rows_go_through_the_pipes() {
        let row = |time_ns, a: &str| Hit { time_ns, has_time: true, fields: vec![("a".into(), a.into())] };
        let rows = vec![row(1, "10"), row(2, "9"), row(3, "x"), row(4, "9")];
        let run = |text| {
            let rows = apply(rows.clone(), &parse_query(text, 0).unwrap().pipes);
            rows.iter().map(|r| format!("{}{:?}", r.time_ns, r.fields)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            run("* | sort by (a desc, _time) | offset 1 | limit 2"),
            r#"1[("a", "10")] 2[("a", "9")]"#
        );
        assert_eq!(run("* | stats by (a) count() n | limit 1"), r#"0[("a", "9"), ("n", "2")]"#);
        assert_eq!(run("* | offset 9 | count"), r#"0[("count", "0")]"#);
    }
}
