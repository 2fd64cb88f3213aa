//! A tree as text again: on one line, or broken into lines that are not too long.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    At, Binary, Cardinality, Duration, DurationOperator, Expr, Extension, Grouping, Matching, Placement,
    VectorSelector,
};
use crate::promql::short_number;
use crate::series::METRIC_NAME;

/// Characters from which on an expression is broken, as in Prometheus.
const LINE_CHARS_MAX: usize = 100;

/// A text in double quotes, as Go's `strconv.Quote` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A label's name, quoted when it would not be read as a word.
fn label(name: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain = !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { quoted(name) }
}

fn list(labels: &[String]) -> String {
    labels.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number { value, duration: true, .. } => write!(f, "{}", seconds(*value)),
            Expr::Number { value, .. } => write!(f, "{}", short_number(*value)),
            Expr::Text { value, .. } => write!(f, "{}", quoted(value)),
            Expr::Paren { inner, .. } => write!(f, "({inner})"),
            Expr::Unary { negative, inner, .. } => write!(f, "{}{inner}", if *negative { "-" } else { "+" }),
            Expr::Binary(binary) => {
                write!(f, "{} {}{} {}", binary.left, binary.operator.text(), modifiers(binary), binary.right)
            }
            Expr::Aggregate(aggregate) => {
                write!(f, "{}{}", aggregate.operator.name(), grouping(&aggregate.grouping))?;
                match &aggregate.parameter {
                    Some(parameter) => write!(f, "({parameter}, {})", aggregate.inner),
                    None => write!(f, "({})", aggregate.inner),
                }
            }
            Expr::Call(call) => {
                let args: Vec<String> = call.args.iter().map(ToString::to_string).collect();
                write!(f, "{}({})", call.name, args.join(", "))
            }
            Expr::Vector(selected) => {
                write!(f, "{}{}{}", series(selected), extension(selected), placement(&selected.placement))
            }
            Expr::Matrix(matrix) => {
                let selected = &matrix.selector;
                let (series, extension) = (series(selected), extension(selected));
                write!(f, "{series}[{}]{extension}{}", matrix.range, placement(&selected.placement))
            }
            Expr::Subquery(subquery) => {
                let step = subquery.step.as_ref().map(ToString::to_string).unwrap_or_default();
                write!(f, "{}[{}:{step}]{}", subquery.inner, subquery.range, placement(&subquery.placement))
            }
        }
    }
}

fn extension(selected: &VectorSelector) -> &'static str {
    match selected.extension {
        Extension::None => "",
        Extension::Anchored => " anchored",
        Extension::Smoothed => " smoothed",
    }
}

fn series(selected: &VectorSelector) -> String {
    let name = selected.name.as_deref().unwrap_or_default();
    let own_name = |m: &crate::series::Matcher| selected.name.is_some() && m.name == METRIC_NAME;
    let inside: Vec<String> = selected
        .matchers
        .iter()
        .filter(|matcher| !own_name(matcher))
        .map(|matcher| format!("{}{}{}", label(&matcher.name), matcher.op.text(), quoted(&matcher.value)))
        .collect();
    if inside.is_empty() && !name.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", inside.join(","))
    }
}

fn placement(placement: &Placement) -> String {
    let mut out = String::new();
    match placement.at {
        Some(At::Time(ms)) => out += &format!(" @ {}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000)),
        Some(At::Start) => out += " @ start()",
        Some(At::End) => out += " @ end()",
        None => {}
    }
    if let Some(offset) = &placement.offset {
        out += &format!(" offset {offset}");
    }
    out
}

fn grouping(grouping: &Grouping) -> String {
    match (grouping.without, grouping.labels.is_empty()) {
        (true, _) => format!(" without ({}) ", list(&grouping.labels)),
        (false, true) => String::new(),
        (false, false) => format!(" by ({}) ", list(&grouping.labels)),
    }
}

fn modifiers(binary: &Binary) -> String {
    let Matching { cardinality, labels, on, include, fill_left, fill_right } = &binary.matching;
    let mut out = if binary.as_bool { " bool".to_owned() } else { String::new() };
    if *on || !labels.is_empty() {
        out += &format!(" {} ({})", if *on { "on" } else { "ignoring" }, list(labels));
    }
    match cardinality {
        Cardinality::OneToOne => {}
        Cardinality::ManyToOne => out += &format!(" group_left ({})", list(include)),
        Cardinality::OneToMany => out += &format!(" group_right ({})", list(include)),
    }
    match (fill_left, fill_right) {
        (Some(a), Some(b)) if a.to_bits() == b.to_bits() => out += &format!(" fill ({})", short_number(*a)),
        _ => {
            for (word, value) in [("fill_left", fill_left), ("fill_right", fill_right)] {
                if let Some(value) = value {
                    out += &format!(" {word} ({})", short_number(*value));
                }
            }
        }
    }
    out
}

/// Seconds as a duration: `90` is `1m30s`.
fn seconds(value: f64) -> String {
    let (sign, mut left) = (if value < 0.0 { "-" } else { "" }, (value.abs() * 1000.0).round() as u64);
    if left == 0 {
        return "0s".into();
    }
    let mut out = sign.to_owned();
    // Years and weeks are written only when nothing is left over, as Prometheus does.
    let units = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    for (unit, ms, exact) in units {
        if left >= ms && (!exact || left % ms == 0) {
            out += &format!("{}{unit}", left / ms);
            left %= ms;
        }
    }
    out
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Literal(value, _) => write!(f, "{}", seconds(*value)),
            Duration::Step(_) => write!(f, "step()"),
            Duration::Range(_) => write!(f, "range()"),
            Duration::Negative(inner, _) => write!(f, "-{inner}"),
            Duration::Paren(inner, _) => write!(f, "({inner})"),
            Duration::Binary(operator, left, right, _) => {
                let sign = match operator {
                    DurationOperator::Add => "+",
                    DurationOperator::Subtract => "-",
                    DurationOperator::Multiply => "*",
                    DurationOperator::Divide => "/",
                    DurationOperator::Modulo => "%",
                    DurationOperator::Power => "^",
                    DurationOperator::Least => return write!(f, "min_of({left}, {right})"),
                    DurationOperator::Greatest => return write!(f, "max_of({left}, {right})"),
                };
                write!(f, "{left} {sign} {right}")
            }
        }
    }
}

/// The expression over several lines, each of which is short when it can be.
pub fn pretty(expr: &Expr) -> String {
    broken(expr, 0)
}

fn broken(expr: &Expr, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let line = expr.to_string();
    if line.chars().count() <= LINE_CHARS_MAX {
        return format!("{indent}{line}");
    }
    let arguments = |args: &[&Expr]| -> String {
        args.iter().map(|arg| broken(arg, depth + 1)).collect::<Vec<_>>().join(",\n")
    };
    match expr {
        Expr::Paren { inner, .. } => format!("{indent}(\n{}\n{indent})", broken(inner, depth + 1)),
        Expr::Call(call) if !call.args.is_empty() => {
            format!("{indent}{}(\n{}\n{indent})", call.name, arguments(&call.args.iter().collect::<Vec<_>>()))
        }
        Expr::Aggregate(aggregate) => {
            let args: Vec<&Expr> = aggregate.parameter.iter().chain([&aggregate.inner]).collect();
            let head = format!("{}{}", aggregate.operator.name(), grouping(&aggregate.grouping));
            format!("{indent}{head}(\n{}\n{indent})", arguments(&args))
        }
        Expr::Binary(binary) => {
            let operator = format!("{}{}", binary.operator.text(), modifiers(binary));
            let (left, right) = (broken(&binary.left, depth + 1), broken(&binary.right, depth + 1));
            format!("{left}\n{indent}{operator}\n{right}")
        }
        Expr::Unary { negative, inner, .. } => {
            let sign = if *negative { "-" } else { "+" };
            format!("{indent}{sign}{}", broken(inner, depth).trim_start())
        }
        Expr::Subquery(subquery) => {
            let step = subquery.step.as_ref().map(ToString::to_string).unwrap_or_default();
            let inner = broken(&subquery.inner, depth);
            format!("{inner}[{}:{step}]{}", subquery.range, placement(&subquery.placement))
        }
        _ => format!("{indent}{line}"),
    }
}
