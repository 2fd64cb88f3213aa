//! Tests made ready for scanning: finders built once, words hashed once.

use memchr::memmem::Finder;

use super::ast::{Comparison, Filter, Test, TimeRange};
use crate::block;
use crate::row::Row;
use crate::words::{contains, each_word};

/// A filter made ready.
#[derive(Debug)]
pub enum Matcher {
    /// Every row.
    All,
    /// No row.
    Nothing,
    /// Rows of a time.
    Time(TimeRange),
    /// Rows by a field's value.
    Field(Box<FieldMatcher>),
    /// All of these.
    And(Vec<Matcher>),
    /// Any of these.
    Or(Vec<Matcher>),
    /// Not this.
    Not(Box<Matcher>),
}

/// A test of one field.
#[derive(Debug)]
pub struct FieldMatcher {
    /// The field.
    pub name: String,
    test: Ready,
    /// Hashes of words that the block's token filter must have.
    words: Vec<u64>,
}

#[derive(Debug)]
enum Ready {
    Contains { finder: Finder<'static>, prefix: bool },
    ContainsAnyCase(Finder<'static>),
    Exact(String),
    ExactPrefix(String),
    OneOf(Vec<String>),
    Empty,
    Present,
    Compare(Comparison, f64),
    Label(Finder<'static>),
}

impl FieldMatcher {
    fn new(name: &str, test: &Test) -> FieldMatcher {
        let finder = |text: &str| Finder::new(text.as_bytes()).into_owned();
        let (ready, searched, cut) = match test {
            Test::Phrase(text) => {
                (Ready::Contains { finder: finder(text), prefix: false }, text.as_str(), false)
            }
            Test::Prefix(text) => {
                (Ready::Contains { finder: finder(text), prefix: true }, text.as_str(), true)
            }
            Test::Exact(text) => (Ready::Exact(text.clone()), text.as_str(), false),
            Test::ExactPrefix(text) => (Ready::ExactPrefix(text.clone()), text.as_str(), true),
            Test::StreamLabel(text) => (Ready::Label(finder(text)), text.as_str(), false),
            Test::AnyCase(text) => (Ready::ContainsAnyCase(finder(text)), "", false),
            Test::OneOf(values) => (Ready::OneOf(values.clone()), "", false),
            Test::Empty => (Ready::Empty, "", false),
            Test::Present => (Ready::Present, "", false),
            Test::Compare(how, number) => (Ready::Compare(*how, *number), "", false),
        };
        let mut words = Vec::new();
        each_word(searched, |word| words.push(block::token_hash(name, word)));
        // The last word of a prefix may be longer in the text, unless something follows it.
        if cut && searched.ends_with(crate::words::is_word_char) {
            words.pop();
        }
        FieldMatcher { name: name.to_owned(), test: ready, words }
    }

    /// Does a value pass? A missing field is the empty text.
    pub fn test(&self, value: &str) -> bool {
        match &self.test {
            Ready::Contains { finder, prefix } => contains(value, finder, *prefix),
            Ready::ContainsAnyCase(finder) => contains(&value.to_lowercase(), finder, false),
            Ready::Exact(text) => value == text,
            Ready::ExactPrefix(text) => value.starts_with(text.as_str()),
            Ready::OneOf(values) => values.iter().any(|known| known == value),
            Ready::Empty => value.is_empty(),
            Ready::Present => !value.is_empty(),
            Ready::Compare(how, number) => value.parse::<f64>().is_ok_and(|value| match how {
                Comparison::Greater => value > *number,
                Comparison::GreaterOrEqual => value >= *number,
                Comparison::Less => value < *number,
                Comparison::LessOrEqual => value <= *number,
            }),
            Ready::Label(finder) => finder
                .find_iter(value.as_bytes())
                .any(|at| at > 0 && matches!(value.as_bytes()[at - 1], b'{' | b',')),
        }
    }
}

impl Matcher {
    /// Makes a filter ready.
    pub fn new(filter: &Filter) -> Matcher {
        let each = |parts: &[Filter]| parts.iter().map(Matcher::new).collect();
        match filter {
            Filter::All => Matcher::All,
            Filter::Nothing => Matcher::Nothing,
            Filter::Time(range) => Matcher::Time(*range),
            Filter::Field { name, test } => Matcher::Field(Box::new(FieldMatcher::new(name, test))),
            Filter::And(parts) => Matcher::And(each(parts)),
            Filter::Or(parts) => Matcher::Or(each(parts)),
            Filter::Not(inner) => Matcher::Not(Box::new(Matcher::new(inner))),
        }
    }

    /// Does a row pass?
    pub fn matches(&self, row: &Row<'_>) -> bool {
        match self {
            Matcher::All => true,
            Matcher::Nothing => false,
            Matcher::Time(range) => range.contains(row.time_ns),
            Matcher::Field(field) => field.test(row.get(&field.name)),
            Matcher::And(parts) => parts.iter().all(|part| part.matches(row)),
            Matcher::Or(parts) => parts.iter().any(|part| part.matches(row)),
            Matcher::Not(inner) => !inner.matches(row),
        }
    }

    /// May a block with this token filter hold a row that passes? `false` is certain.
    pub fn may_match(&self, filter: &block::Filter) -> bool {
        match self {
            Matcher::Nothing => false,
            Matcher::Field(field) => field.words.iter().all(|hash| filter.may_contain(*hash)),
            Matcher::And(parts) => parts.iter().all(|part| part.may_match(filter)),
            Matcher::Or(parts) => parts.iter().any(|part| part.may_match(filter)),
            Matcher::All | Matcher::Time(_) | Matcher::Not(_) => true,
        }
    }

    /// Is there any word that a token filter could rule out?
    pub fn has_words(&self) -> bool {
        match self {
            Matcher::Field(field) => !field.words.is_empty(),
            Matcher::And(parts) | Matcher::Or(parts) => parts.iter().any(Matcher::has_words),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn check(text: &str, field: (&str, &str), expected: bool) {
        let matcher = Matcher::new(&parse(text, 0).unwrap().filter);
        let row = Row { time_ns: 0, fields: vec![field] };
        assert_eq!(matcher.matches(&row), expected, "{text} on {field:?}");
    }

    #[test]
    fn values_pass_as_the_filter_says() {
        check("refused", ("_msg", "connection refused"), true);
        check("refuse", ("_msg", "connection refused"), false);
        check("refuse*", ("_msg", "connection refused"), true);
        check("!refused", ("_msg", "connection refused"), false);
        check("a:=x", ("a", "x y"), false);
        check("a:=x*", ("a", "x y"), true);
        check("a:in(x,z)", ("a", "z"), true);
        check("a:\"\"", ("b", "x"), true);
        check("a:*", ("a", "x"), true);
        check("a:*", ("b", "x"), false);
        check("a:i(ERROR)", ("a", "An Error"), true);
        check("a:>=10", ("a", "9"), false);
        check("a:<10", ("a", "9.5"), true);
        check("a:<10", ("a", "many"), false);
        check("{app=\"x\"}", ("_stream", "{app=\"x\",b=\"y\"}"), true);
        check("{pp=\"x\"}", ("_stream", "{app=\"x\"}"), false);
        check("a:x or b:y", ("b", "y"), true);
        check("a:x b:y", ("b", "y"), false);
    }

    #[test]
    fn a_token_filter_rules_out_what_cannot_match() {
        let mut builder = block::FilterBuilder::default();
        for (column, text) in [("_msg", "disk full"), ("app", "nginx")] {
            each_word(text, |word| builder.add(block::token_hash(column, word)));
        }
        let filter = block::Filter::new(builder.finish()).unwrap();
        let check = |text: &str, expected| {
            let matcher = Matcher::new(&parse(text, 0).unwrap().filter);
            assert_eq!(matcher.may_match(&filter), expected, "{text}");
        };
        check("disk", true);
        check("nginx", false);
        check("app:nginx", true);
        check("fu*", true);
        check("\"disk fu\"*", true);
        check("\"floppy fu\"*", false);
        check("absent or disk", true);
        check("absent disk", false);
        check("!absent", true);
        check("app:=apache", false);
    }
}
