//! The types of a tree, checked once after parsing, in Prometheus' words.

use super::ast::{Binary, Call, Cardinality, Expr, Kind, Span, VectorSelector};
use super::error::SyntaxError;
use super::functions::signature;
use super::operator::Aggregation;
use crate::series::METRIC_NAME;

/// The type of an expression's value.
pub fn kind_of(expr: &Expr) -> Kind {
    match expr {
        Expr::Number { .. } => Kind::Scalar,
        Expr::Text { .. } => Kind::Text,
        Expr::Paren { inner, .. } | Expr::Unary { inner, .. } => kind_of(inner),
        Expr::Binary(binary) => match (kind_of(&binary.left), kind_of(&binary.right)) {
            (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
            _ => Kind::Vector,
        },
        Expr::Aggregate(_) | Expr::Vector(_) => Kind::Vector,
        Expr::Call(call) => signature(call.name).map_or(Kind::Vector, |signature| signature.returns),
        Expr::Matrix(_) | Expr::Subquery(_) => Kind::Matrix,
    }
}

/// A type as Prometheus' errors name it.
pub fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "instant vector",
        Kind::Matrix => "range vector",
        Kind::Text => "string",
    }
}

struct Checker<'a> {
    text: &'a str,
}

/// Checks a whole tree.
pub(super) fn expression(text: &str, expr: &Expr) -> Result<(), SyntaxError> {
    Checker { text }.check(expr)
}

/// Checks one selector.
pub(super) fn selector(text: &str, selected: &VectorSelector) -> Result<(), SyntaxError> {
    Checker { text }.selector(selected, false)
}

impl Checker<'_> {
    fn fail<T>(&self, span: Span, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, span, reason))
    }

    fn expect(&self, expr: &Expr, wanted: Kind, context: &str) -> Result<(), SyntaxError> {
        self.check(expr)?;
        let kind = kind_of(expr);
        if kind == wanted {
            return Ok(());
        }
        let (wanted, kind) = (type_name(wanted), type_name(kind));
        self.fail(expr.span(), format!("expected type {wanted} in {context}, got {kind}"))
    }

    fn check(&self, expr: &Expr) -> Result<(), SyntaxError> {
        match expr {
            Expr::Number { .. } | Expr::Text { .. } => Ok(()),
            Expr::Paren { inner, .. } => self.check(inner),
            Expr::Unary { inner, span, .. } => {
                self.check(inner)?;
                match kind_of(inner) {
                    Kind::Scalar | Kind::Vector => Ok(()),
                    other => self.fail(
                        *span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                            type_name(other)
                        ),
                    ),
                }
            }
            Expr::Binary(binary) => self.binary(binary, expr.span()),
            Expr::Aggregate(aggregate) => {
                self.expect(&aggregate.inner, Kind::Vector, "aggregation expression")?;
                match &aggregate.parameter {
                    Some(parameter) if aggregate.operator == Aggregation::CountValues => {
                        self.expect(parameter, Kind::Text, "aggregation parameter")
                    }
                    Some(parameter) => self.expect(parameter, Kind::Scalar, "aggregation parameter"),
                    None => Ok(()),
                }
            }
            Expr::Call(call) => self.call(call),
            Expr::Vector(selected) => self.selector(selected, false),
            Expr::Matrix(matrix) => self.selector(&matrix.selector, false),
            Expr::Subquery(subquery) => {
                self.check(&subquery.inner)?;
                match kind_of(&subquery.inner) {
                    Kind::Vector => Ok(()),
                    other => self.fail(
                        expr.span(),
                        format!(
                            "subquery is only allowed on instant vector, got {} instead",
                            short_name(other)
                        ),
                    ),
                }
            }
        }
    }

    fn binary(&self, binary: &Binary, span: Span) -> Result<(), SyntaxError> {
        let (left, right) = (&binary.left, &binary.right);
        self.check(left)?;
        self.check(right)?;
        let (left_kind, right_kind) = (kind_of(left), kind_of(right));
        let between = Span { start: left.span().end + 1, end: right.span().start };
        let (operator, matching) = (binary.operator, &binary.matching);
        if binary.as_bool && !operator.compares() {
            return self.fail(between, "bool modifier can only be used on comparison operators");
        }
        let scalars = left_kind == Kind::Scalar && right_kind == Kind::Scalar;
        if operator.compares() && !binary.as_bool && scalars {
            return self.fail(between, "comparisons between scalars must use BOOL modifier");
        }
        let twice = matching.labels.iter().find(|label| matching.on && matching.include.contains(label));
        if let Some(label) = twice {
            return self
                .fail(between, format!("label {label:?} must not occur in ON and GROUP clause at once"));
        }
        for (side, kind) in [(left, left_kind), (right, right_kind)] {
            if !matches!(kind, Kind::Scalar | Kind::Vector) {
                let reason = "binary expression must contain only scalar and instant vector types";
                return self.fail(side.span(), reason);
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left_kind != Kind::Vector || right_kind != Kind::Vector {
            if !matching.labels.is_empty() {
                return self.fail(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                return self.fail(span, "filling in missing series only allowed between instant vectors");
            }
            if operator.is_set() {
                let reason =
                    format!("set operator {:?} not allowed in binary scalar expression", operator.text());
                return self.fail(span, reason);
            }
        } else if operator.is_set() {
            if matching.cardinality != Cardinality::OneToOne {
                return self.fail(span, format!("no grouping allowed for {:?} operation", operator.text()));
            }
            if fills {
                return self.fail(span, "filling in missing series not allowed for set operators");
            }
        }
        Ok(())
    }

    fn call(&self, call: &Call) -> Result<(), SyntaxError> {
        let Some(signature) = signature(call.name) else {
            return self.fail(call.span, format!("unknown function with name {:?}", call.name));
        };
        let (wanted, given, name) = (signature.args.len(), call.args.len(), call.name);
        let least = wanted - usize::from(signature.variadic != 0);
        let most = usize::try_from(signature.variadic).map_or(usize::MAX, |more| least + more);
        if signature.variadic == 0 && given != wanted {
            return self
                .fail(call.span, format!("expected {wanted} argument(s) in call to {name:?}, got {given}"));
        }
        if given < least {
            let reason = format!("expected at least {least} argument(s) in call to {name:?}, got {given}");
            return self.fail(call.span, reason);
        }
        if given > most {
            let reason = format!("expected at most {most} argument(s) in call to {name:?}, got {given}");
            return self.fail(call.span, reason);
        }
        for (index, arg) in call.args.iter().enumerate() {
            if name == "info" && index == 1 {
                match arg {
                    Expr::Vector(selected) if selected.name.is_none() => {}
                    Expr::Vector(_) => {
                        return self
                            .fail(arg.span(), "expected label selectors only, got vector selector instead");
                    }
                    _ => return self.fail(arg.span(), "expected label selectors only"),
                }
                continue;
            }
            self.check(arg)?;
            let (wanted, kind) = (signature.args[index.min(wanted - 1)], kind_of(arg));
            if kind != wanted {
                let (wanted, kind) = (type_name(wanted), type_name(kind));
                let reason = format!("expected type {wanted} in call to function {name:?}, got {kind}");
                return self.fail(arg.span(), reason);
            }
        }
        Ok(())
    }

    fn selector(&self, selected: &VectorSelector, may_be_empty: bool) -> Result<(), SyntaxError> {
        if let Some(name) = &selected.name {
            let inside = &selected.matchers[..selected.matchers.len() - 1];
            return match inside.iter().find(|matcher| matcher.name == METRIC_NAME) {
                Some(matcher) => self.fail(
                    selected.span,
                    format!("metric name must not be set twice: {name:?} or {:?}", matcher.value),
                ),
                None => Ok(()),
            };
        }
        if !may_be_empty && selected.matchers.iter().all(|matcher| matcher.is_match("")) {
            let reason = "vector selector must contain at least one non-empty matcher";
            return self.fail(selected.span, reason);
        }
        Ok(())
    }
}

fn short_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "vector",
        Kind::Matrix => "matrix",
        Kind::Text => "string",
    }
}
