//! The tree of a query.

use super::operator::{Aggregation, Operator};
use crate::series::Matcher;

/// Bytes of the query's text, from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One number a step.
    Scalar,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
    /// A text.
    Text,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number; `duration` tells that it was written as one (`5m`), in seconds.
    Number {
        /// Its value.
        value: f64,
        /// Written as a duration.
        duration: bool,
        /// Where.
        span: Span,
    },
    /// A quoted text.
    Text {
        /// Without quotes and escapes.
        value: String,
        /// As it was written, in its quotes.
        written: String,
        /// Where.
        span: Span,
    },
    /// An expression in parentheses.
    Paren {
        /// What is inside.
        inner: Box<Expr>,
        /// Where, with the parentheses.
        span: Span,
    },
    /// A sign before an expression.
    Unary {
        /// Whether the sign is minus.
        negative: bool,
        /// What it stands before.
        inner: Box<Expr>,
        /// Where.
        span: Span,
    },
    /// Two operands.
    Binary(Box<Binary>),
    /// `sum by (job) (…)`.
    Aggregate(Box<Aggregate>),
    /// `rate(…)`.
    Call(Call),
    /// `up{job="x"}`.
    Vector(VectorSelector),
    /// `up[5m]`.
    Matrix(Box<Matrix>),
    /// `(…)[5m:1m]`.
    Subquery(Box<Subquery>),
}

impl Expr {
    /// Where it stands in the text.
    pub fn span(&self) -> Span {
        match self {
            Expr::Number { span, .. }
            | Expr::Text { span, .. }
            | Expr::Paren { span, .. }
            | Expr::Unary { span, .. } => *span,
            Expr::Binary(binary) => Span { start: binary.left.span().start, end: binary.right.span().end },
            Expr::Aggregate(aggregate) => aggregate.span,
            Expr::Call(call) => call.span,
            Expr::Vector(selector) => selector.span,
            Expr::Matrix(matrix) => Span { start: matrix.selector.span.start, end: matrix.end },
            Expr::Subquery(subquery) => Span { start: subquery.inner.span().start, end: subquery.end },
        }
    }

    /// The expression inside all parentheses around it.
    pub fn bare(&self) -> &Expr {
        match self {
            Expr::Paren { inner, .. } => inner.bare(),
            other => other,
        }
    }
}

/// `left operator modifiers right`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub operator: Operator,
    /// The left operand.
    pub left: Expr,
    /// The right operand.
    pub right: Expr,
    /// Whether a comparison gives 0 and 1 instead of filtering.
    pub as_bool: bool,
    /// How series of two vectors find each other.
    pub matching: Matching,
}

/// How many partners a series may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// One on each side.
    OneToOne,
    /// `group_left`: several on the left.
    ManyToOne,
    /// `group_right`: several on the right.
    OneToMany,
}

/// How series of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// Partners a series may have.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether they are those of `on`.
    pub on: bool,
    /// Labels that the result takes from the "one" side.
    pub include: Vec<String>,
    /// The value of series that are missing on the left.
    pub fill_left: Option<f64>,
    /// The value of series that are missing on the right.
    pub fill_right: Option<f64>,
}

impl Default for Matching {
    fn default() -> Matching {
        Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        }
    }
}

/// By which labels an aggregation groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// The labels.
    pub labels: Vec<String>,
    /// Whether they are those that are left out.
    pub without: bool,
}

/// `operator by (labels) (parameter, inner)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub operator: Aggregation,
    /// What is aggregated.
    pub inner: Expr,
    /// The first of two arguments.
    pub parameter: Option<Expr>,
    /// The groups.
    pub grouping: Grouping,
    /// Where.
    pub span: Span,
}

/// A function's call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function's name, one that [`super::signature`] knows.
    pub name: &'static str,
    /// Its arguments, checked by number and type.
    pub args: Vec<Expr>,
    /// Where.
    pub span: Span,
}

/// The time that `@` fixes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// The query's first step.
    Start,
    /// The query's last step.
    End,
}

/// When a selector or a subquery looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// How much earlier than the step.
    pub offset: Option<Duration>,
    /// At which time, instead of the step's.
    pub at: Option<At>,
}

/// What happens at the bounds of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extension {
    /// Only samples inside count.
    #[default]
    None,
    /// The last sample before counts as one at the bound.
    Anchored,
    /// Values at the bounds are interpolated.
    Smoothed,
}

/// `name{label="value"} offset 5m @ 12`.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name before the braces, which is among the matchers too.
    pub name: Option<String>,
    /// What labels must be.
    pub matchers: Vec<Matcher>,
    /// When it looks.
    pub placement: Placement,
    /// `anchored` or `smoothed`.
    pub extension: Extension,
    /// Where.
    pub span: Span,
}

/// A selector over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The selector; it has the placement.
    pub selector: VectorSelector,
    /// The range.
    pub range: Duration,
    /// Where it ends.
    pub end: usize,
}

/// An expression evaluated at the steps of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The expression.
    pub inner: Expr,
    /// The range.
    pub range: Duration,
    /// The step; `None` takes the default one.
    pub step: Option<Duration>,
    /// When it looks.
    pub placement: Placement,
    /// Where it ends.
    pub end: usize,
}

/// An operator of a duration expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
    /// `min_of`
    Least,
    /// `max_of`
    Greatest,
}

/// A duration in seconds, which may depend on the query.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    /// So many seconds.
    Literal(f64, Span),
    /// The query's step.
    Step(Span),
    /// The query's range.
    Range(Span),
    /// Minus a duration.
    Negative(Box<Duration>, Span),
    /// A duration in parentheses.
    Paren(Box<Duration>, Span),
    /// Two durations.
    Binary(DurationOperator, Box<Duration>, Box<Duration>, Span),
}

impl Duration {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Duration::Literal(_, span)
            | Duration::Step(span)
            | Duration::Range(span)
            | Duration::Negative(_, span)
            | Duration::Paren(_, span)
            | Duration::Binary(_, _, _, span) => *span,
        }
    }
}
