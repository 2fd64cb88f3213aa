//! Operators and aggregations by their words.

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
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
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `</`: takes what is above a bound out of a histogram.
    TrimUpper,
    /// `>/`: takes what is below a bound out of a histogram.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl Operator {
    const ALL: [(Operator, &'static str, u8); 18] = [
        (Operator::Or, "or", 1),
        (Operator::And, "and", 2),
        (Operator::Unless, "unless", 2),
        (Operator::Equal, "==", 3),
        (Operator::NotEqual, "!=", 3),
        (Operator::Greater, ">", 3),
        (Operator::GreaterEqual, ">=", 3),
        (Operator::Less, "<", 3),
        (Operator::LessEqual, "<=", 3),
        (Operator::TrimUpper, "</", 3),
        (Operator::TrimLower, ">/", 3),
        (Operator::Add, "+", 4),
        (Operator::Subtract, "-", 4),
        (Operator::Multiply, "*", 5),
        (Operator::Divide, "/", 5),
        (Operator::Modulo, "%", 5),
        (Operator::Atan2, "atan2", 5),
        (Operator::Power, "^", 6),
    ];

    /// The operator that a token or a word (in any case) is.
    pub(super) fn parse(text: &str) -> Option<Operator> {
        Operator::ALL.iter().find(|(_, t, _)| t.eq_ignore_ascii_case(text)).map(|(operator, ..)| *operator)
    }

    /// How it is written.
    pub fn text(self) -> &'static str {
        Operator::ALL.iter().find(|(operator, ..)| *operator == self).map_or("", |(_, text, _)| text)
    }

    /// How strongly it binds: 1 to 6.
    pub(super) fn strength(self) -> u8 {
        Operator::ALL.iter().find(|(operator, ..)| *operator == self).map_or(0, |(.., strength)| *strength)
    }

    /// Whether it compares, so that it filters unless `bool` asks for 0 and 1.
    pub fn compares(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | GreaterEqual | Less | LessEqual)
    }

    /// Whether it works on sets of series.
    pub fn is_set(self) -> bool {
        matches!(self, Operator::And | Operator::Or | Operator::Unless)
    }
}

/// An aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `bottomk`
    Bottomk,
    /// `count_values`
    CountValues,
    /// `quantile`
    Quantile,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

impl Aggregation {
    const ALL: [(Aggregation, &'static str); 14] = [
        (Aggregation::Sum, "sum"),
        (Aggregation::Avg, "avg"),
        (Aggregation::Count, "count"),
        (Aggregation::Min, "min"),
        (Aggregation::Max, "max"),
        (Aggregation::Group, "group"),
        (Aggregation::Stddev, "stddev"),
        (Aggregation::Stdvar, "stdvar"),
        (Aggregation::Topk, "topk"),
        (Aggregation::Bottomk, "bottomk"),
        (Aggregation::CountValues, "count_values"),
        (Aggregation::Quantile, "quantile"),
        (Aggregation::Limitk, "limitk"),
        (Aggregation::LimitRatio, "limit_ratio"),
    ];

    /// The aggregation that a word (in any case) is.
    pub(super) fn parse(word: &str) -> Option<Aggregation> {
        Aggregation::ALL
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(word))
            .map(|(operator, _)| *operator)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Aggregation::ALL.iter().find(|(operator, _)| *operator == self).map_or("", |(_, name)| name)
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        use Aggregation::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(self, Topk | Bottomk | CountValues | Quantile | Limitk | LimitRatio)
    }
}
