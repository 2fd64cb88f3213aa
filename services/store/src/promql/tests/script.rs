//! A script's commands.

use super::sequence::{Item, items, series, starts};
use crate::promql::syntax::{duration_ms, unquote};
use crate::series::Labels;

/// One command.
pub(super) enum Command {
    Clear,
    /// Samples with a step between them (milliseconds), and whether classic histograms are loaded as native ones too.
    Load {
        step: i64,
        series: Vec<Loaded>,
        native: bool,
    },
    Eval(Box<Eval>),
}

/// A series to load.
pub(super) struct Loaded {
    pub(super) labels: Labels,
    pub(super) items: Vec<Item>,
    /// For each item the start of its counter before or after it, in milliseconds; empty when none is given.
    pub(super) starts: Vec<Option<i64>>,
}

/// How a text must look.
pub(super) enum Words {
    Any,
    Exactly(String),
    Matching(regex::Regex),
}

impl Words {
    pub(super) fn fit(&self, text: &str) -> bool {
        match self {
            Words::Any => true,
            Words::Exactly(words) => words == text,
            Words::Matching(regex) => regex.is_match(text),
        }
    }
}

/// What a query is to give.
#[derive(Default)]
pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Of a range query.
    pub(super) step: Option<i64>,
    pub(super) ordered: bool,
    pub(super) fail: Option<Words>,
    pub(super) warnings: Vec<Words>,
    pub(super) infos: Vec<Words>,
    pub(super) no_warnings: bool,
    pub(super) no_infos: bool,
    /// First time, last time and step of an expected range vector.
    pub(super) range_vector: Option<(i64, i64, i64)>,
    pub(super) text: Option<String>,
    pub(super) scalar: Option<f64>,
    pub(super) series: Vec<(Labels, Vec<Item>)>,
}

/// Reads a script. A line that is wrong gives an error with its number.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        at += 1;
        if lines[first].is_empty() {
            continue;
        }
        while at < lines.len() && !lines[at].is_empty() {
            at += 1;
        }
        let block = &lines[first..at];
        let command = match block[0] {
            "clear" => {
                at = first + 1;
                Command::Clear
            }
            line if line.starts_with("load") => {
                load(block).map_err(|e| format!("line {}: {e}", first + 1))?
            }
            line if line.starts_with("eval") => {
                let next = block[1..].iter().position(|line| line.starts_with("eval ") || *line == "clear");
                let block = &block[..next.map_or(block.len(), |next| next + 1)];
                at = first + block.len();
                Command::Eval(Box::new(
                    eval(block, first + 1).map_err(|e| format!("line {}: {e}", first + 1))?,
                ))
            }
            line => return Err(format!("line {}: {line:?} is no command", first + 1)),
        };
        commands.push(command);
    }
    Ok(commands)
}

fn load(block: &[&str]) -> Result<Command, String> {
    let (word, step) = block[0].split_once(' ').ok_or("load needs a step")?;
    let native = match word {
        "load" => false,
        "load_with_nhcb" => true,
        other => return Err(format!("{other:?} is no command")),
    };
    let (mut all, mut pending) = (Vec::new(), Vec::new());
    for line in &block[1..] {
        let head = line.split_whitespace().next().unwrap_or_default();
        if let Some(labels) = head.strip_suffix("@st") {
            series(labels)?;
            pending = starts(&line[head.len()..])?;
            continue;
        }
        let (labels, values) = series(line)?;
        let items = items(values)?;
        if !pending.is_empty() && pending.len() != items.len() {
            return Err(format!("{line}: {} starts for {} values", pending.len(), items.len()));
        }
        all.push(Loaded { labels, items, starts: std::mem::take(&mut pending) });
    }
    Ok(Command::Load { step: duration_ms(step.trim())?, series: all, native })
}

fn eval(block: &[&str], line: usize) -> Result<Eval, String> {
    let mut eval = Eval { line, ..Eval::default() };
    let (word, rest) = block[0].split_once(' ').ok_or("eval needs a query")?;
    match word {
        "eval" => {}
        "eval_fail" => eval.fail = Some(Words::Any),
        "eval_warn" => eval.warnings.push(Words::Any),
        "eval_info" => eval.infos.push(Words::Any),
        "eval_ordered" => eval.ordered = true,
        other => return Err(format!("{other:?} is no command")),
    }
    let mut rest = rest.trim();
    let mut take = |word: &str| -> Result<i64, String> {
        rest = rest.strip_prefix(word).ok_or_else(|| format!("{word:?} is missing"))?.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (text, more) = rest.split_at(end);
        rest = more.trim_start();
        duration_ms(text)
    };
    if let Ok(instant) = take("instant at") {
        (eval.start, eval.end) = (instant, instant);
    } else {
        eval.start = take("range from")?;
        eval.end = take("to")?;
        eval.step = Some(take("step")?);
    }
    eval.query = rest.to_owned();
    for line in &block[1..] {
        match line.strip_prefix("expect ") {
            Some(expectation) => expect(&mut eval, expectation.trim())?,
            None if line.starts_with("expected_fail_message") => {
                eval.fail = Some(Words::Exactly(line["expected_fail_message".len()..].trim().into()));
            }
            None if line.starts_with("expected_fail_regexp") => {
                eval.fail = Some(Words::Matching(regex(line["expected_fail_regexp".len()..].trim())?));
            }
            None => {
                let items_of_line = items(line);
                if let (Ok(items), false) = (&items_of_line, line.starts_with("{{"))
                    && let [Item::Float(value)] = items.as_slice()
                {
                    eval.scalar = Some(*value);
                    continue;
                }
                let (labels, values) = series(line)?;
                eval.series.push((labels, items(values)?));
            }
        }
    }
    Ok(eval)
}

fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| error.to_string())
}

fn expect(eval: &mut Eval, expectation: &str) -> Result<(), String> {
    if let Some(range) = expectation.strip_prefix("range vector from ") {
        let words: Vec<&str> = range.split_whitespace().collect();
        let [from, "to", to, "step", step] = words.as_slice() else {
            return Err(format!("{range:?} is no range"));
        };
        eval.range_vector = Some((duration_ms(from)?, duration_ms(to)?, duration_ms(step)?));
        return Ok(());
    }
    if let Some(text) = expectation.strip_prefix("string ") {
        eval.text = Some(unquote(text.trim())?);
        return Ok(());
    }
    let (kind, words) = match expectation.split_once(' ') {
        None => (expectation, Words::Any),
        Some((kind, rest)) => {
            let (form, text) = rest.split_once(':').ok_or_else(|| format!("{rest:?} has no colon"))?;
            let text = text.trim();
            (kind, if form == "msg" { Words::Exactly(text.into()) } else { Words::Matching(regex(text)?) })
        }
    };
    match kind {
        "fail" => eval.fail = Some(words),
        "warn" => eval.warnings.push(words),
        "info" => eval.infos.push(words),
        "no_warn" => eval.no_warnings = true,
        "no_info" => eval.no_infos = true,
        "ordered" => eval.ordered = true,
        other => return Err(format!("{other:?} is nothing to expect")),
    }
    Ok(())
}
