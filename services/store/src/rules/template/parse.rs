//! Template text to nodes.

use super::{Arg, Call, Data, Node, Pipeline, functions};
use crate::promql::syntax::{number, unquote};

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;

/// Variables that a template may name.
const VARIABLES: [&str; 4] = ["$labels", "$value", "$externalLabels", "$externalURL"];

/// A text or an action, spaces around it already trimmed as `{{-` and `-}}` ask.
enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// Reads a whole template.
pub(super) fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(text)?;
    let mut rest = pieces.iter();
    let (nodes, end) = block(&mut rest, 0)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(format!("{word} without if or range")),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut all, mut rest, mut trim) = (Vec::new(), text, false);
    loop {
        let start = rest.find("{{");
        let mut plain = &rest[..start.unwrap_or(rest.len())];
        if trim {
            plain = plain.trim_start();
        }
        let Some(start) = start else {
            all.push(Piece::Text(plain));
            return Ok(all);
        };
        let action = &rest[start + 2..];
        let end = action_end(action).ok_or("action has no end")?;
        let mut inside = &action[..end];
        rest = &action[end + 2..];
        if let Some(trimmed) = inside.strip_prefix("- ") {
            (plain, inside) = (plain.trim_end(), trimmed);
        }
        trim = inside.ends_with(" -");
        inside = inside.strip_suffix(" -").unwrap_or(inside).trim();
        all.push(Piece::Text(plain));
        if !(inside.starts_with("/*") && inside.ends_with("*/")) {
            all.push(Piece::Action(inside));
        }
    }
}

/// Where `}}` stands, not counting what is in quotes.
fn action_end(action: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in action.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if action[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// Nodes up to an `else` or `end` that belongs to who asks; gives which action that was.
fn block<'p>(
    rest: &mut std::slice::Iter<'p, Piece<'p>>,
    depth: usize,
) -> Result<(Vec<Node>, Option<&'p str>), String> {
    if depth > DEPTH_MAX {
        return Err(format!("blocks nest deeper than {DEPTH_MAX}"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = rest.next() {
        let action = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text((*text).to_owned()));
                }
                continue;
            }
            Piece::Action(action) => *action,
        };
        let (word, more) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" | "range" => nodes.push(conditional(word, more, rest, depth)?),
            _ => nodes.push(Node::Show(pipeline(action)?)),
        }
    }
    Ok((nodes, None))
}

fn conditional<'p>(
    word: &str,
    condition: &str,
    rest: &mut std::slice::Iter<'p, Piece<'p>>,
    depth: usize,
) -> Result<Node, String> {
    let condition = pipeline(condition)?;
    let (then, mut end) = block(rest, depth + 1)?;
    let mut other = Vec::new();
    if let Some(action) = end.filter(|action| action.starts_with("else")) {
        let more = action["else".len()..].trim();
        if let Some(condition) = more.strip_prefix("if ") {
            other.push(conditional("if", condition, rest, depth + 1)?);
            end = Some("end");
        } else {
            (other, end) = block(rest, depth + 1)?;
        }
    }
    if end != Some("end") {
        return Err("if or range has no end".into());
    }
    Ok(if word == "if" { Node::If(condition, then, other) } else { Node::Range(condition, then, other) })
}

fn pipeline(text: &str) -> Result<Pipeline, String> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let found = calls(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(found),
        Some(token) => Err(format!("{token:?} stands where nothing can")),
    }
}

type Tokens<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn calls(tokens: &mut Tokens<'_>, depth: usize) -> Result<Pipeline, String> {
    if depth > DEPTH_MAX {
        return Err(format!("parentheses nest deeper than {DEPTH_MAX}"));
    }
    let mut all = Vec::new();
    loop {
        let mut call = Call { function: None, args: Vec::new() };
        while let Some(token) = tokens.next_if(|token| *token != "|" && *token != ")") {
            if token == "(" {
                call.args.push(Arg::Paren(calls(tokens, depth + 1)?));
                tokens.next_if_eq(&")").ok_or("a parenthesis has no end")?;
            } else if let Some(arg) = arg(token)? {
                call.args.push(arg);
            } else if call.function.is_none() && call.args.is_empty() {
                call.function = Some(token.to_owned());
            } else {
                return Err(format!("{token:?} stands where a value must be"));
            }
        }
        if call.function.is_none() && call.args.is_empty() {
            return Err("an action is empty".into());
        }
        if let Some(name) = call.function.as_ref().filter(|name| !functions::is_known(name)) {
            return Err(format!("function {name:?} is not known"));
        }
        all.push(call);
        if tokens.next_if_eq(&"|").is_none() {
            return Ok(all);
        }
    }
}

/// A value; `None` for the name of a function.
fn arg(token: &str) -> Result<Option<Arg>, String> {
    if token.starts_with(['"', '`']) {
        return Ok(Some(Arg::Value(Data::Text(unquote(token)?))));
    }
    if token.starts_with(['$', '.']) {
        let mut parts = token.split('.');
        let start = parts.next().unwrap_or_default().to_owned();
        if !start.is_empty() && !VARIABLES.contains(&start.as_str()) {
            return Err(format!("variable {start} is not known"));
        }
        let fields: Vec<String> = if token == "." { Vec::new() } else { parts.map(str::to_owned).collect() };
        if fields.iter().any(String::is_empty) {
            return Err("a field has no name".into());
        }
        return Ok(Some(Arg::Path(start, fields)));
    }
    match token {
        "true" | "false" => return Ok(Some(Arg::Value(Data::Truth(token == "true")))),
        _ => {}
    }
    let (sign, digits) = token.strip_prefix('-').map_or((1.0, token), |digits| (-1.0, digits));
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        let value = number(digits).ok_or_else(|| format!("{token:?} is no number"))?;
        return Ok(Some(Arg::Value(Data::Number(sign * value))));
    }
    Ok(None)
}

fn tokens(text: &str) -> Result<Vec<&str>, String> {
    let (mut all, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '|' | '(' | ')' => 1,
            '"' | '`' => quoted(rest).ok_or("a text has no end")?,
            _ => rest.find(|c: char| c.is_whitespace() || "|()".contains(c)).unwrap_or(rest.len()),
        };
        all.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    Ok(all)
}

fn quoted(text: &str) -> Option<usize> {
    let open = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if open == '"' => escaped = true,
            c if c == open => return Some(at + 1),
            _ => {}
        }
    }
    None
}
