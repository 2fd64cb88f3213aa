//! `/api/v1/format_query` and `/api/v1/parse_query`: a query without its answer.

use serde_json::{Value, json};
use vakt_wire::http::{Request, Response};

use super::Api;
use super::form::Form;
use super::query::parse;
use crate::promql::syntax::{
    At, Cardinality, Duration, Expr, Matching, Placement, VectorSelector, kind_of, pretty,
};
use crate::promql::syntax::{Extension, Kind, signature};

impl Api {
    pub(super) async fn format_query(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |_, form| Ok(json!(pretty(&parse(form)?)).to_string().into_bytes().into())).await
    }

    pub(super) async fn parse_query(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |_, form| Ok(tree(&parse(form)?).to_string().into_bytes().into())).await
    }
}

/// A tree as Prometheus' JSON has it.
fn tree(expr: &Expr) -> Value {
    match expr {
        Expr::Number { value, .. } => {
            json!({ "type": "numberLiteral", "val": super::number::text(*value) })
        }
        Expr::Text { value, .. } => json!({ "type": "stringLiteral", "val": value }),
        Expr::Paren { inner, .. } => json!({ "type": "parenExpr", "expr": tree(inner) }),
        Expr::Unary { negative, inner, .. } => {
            json!({ "type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree(inner) })
        }
        Expr::Binary(binary) => {
            let both = [&binary.left, &binary.right].iter().all(|side| kind_of(side) == Kind::Vector);
            let matching = both.then(|| matching(&binary.matching, binary.operator.is_set()));
            json!({
                "type": "binaryExpr", "op": binary.operator.text(), "lhs": tree(&binary.left),
                "rhs": tree(&binary.right), "matching": matching, "bool": binary.as_bool,
            })
        }
        Expr::Aggregate(aggregate) => json!({
            "type": "aggregation", "op": aggregate.operator.name(), "expr": tree(&aggregate.inner),
            "param": aggregate.parameter.as_ref().map(tree), "grouping": aggregate.grouping.labels,
            "without": aggregate.grouping.without,
        }),
        Expr::Call(call) => {
            let signature = signature(call.name);
            let kinds = |kinds: &[Kind]| kinds.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>();
            json!({
                "type": "call", "args": call.args.iter().map(tree).collect::<Vec<_>>(),
                "func": {
                    "name": call.name,
                    "argTypes": signature.as_ref().map(|signature| kinds(signature.args)),
                    "variadic": signature.as_ref().map(|signature| signature.variadic),
                    "returnType": signature.as_ref().map(|signature| kind_name(signature.returns)),
                },
            })
        }
        Expr::Vector(selected) => selector("vectorSelector", selected),
        Expr::Matrix(matrix) => {
            let mut value = selector("matrixSelector", &matrix.selector);
            value["range"] = duration(Some(&matrix.range));
            value
        }
        Expr::Subquery(subquery) => {
            let mut value = json!({
                "type": "subquery", "expr": tree(&subquery.inner), "range": duration(Some(&subquery.range)),
                "step": duration(subquery.step.as_ref()),
            });
            place(&mut value, &subquery.placement);
            value
        }
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "scalar",
        Kind::Vector => "vector",
        Kind::Matrix => "matrix",
        Kind::Text => "string",
    }
}

fn selector(kind: &str, selected: &VectorSelector) -> Value {
    let matchers: Vec<Value> = selected
        .matchers
        .iter()
        .map(|matcher| json!({ "name": matcher.name, "value": matcher.value, "type": matcher.op.text() }))
        .collect();
    let mut value = json!({
        "type": kind, "name": selected.name.as_deref().unwrap_or_default(), "matchers": matchers,
        "anchored": selected.extension == Extension::Anchored,
        "smoothed": selected.extension == Extension::Smoothed,
    });
    place(&mut value, &selected.placement);
    value
}

fn place(value: &mut Value, placement: &Placement) {
    value["offset"] = duration(placement.offset.as_ref());
    value["timestamp"] = match placement.at {
        Some(At::Time(time)) => json!(time),
        _ => Value::Null,
    };
    value["startOrEnd"] = match placement.at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    };
}

/// Milliseconds; of a duration that depends on the query its text.
fn duration(duration: Option<&Duration>) -> Value {
    match duration {
        None => json!(0),
        Some(Duration::Literal(seconds, _)) => json!((seconds * 1000.0).round() as i64),
        Some(other) => json!(other.to_string()),
    }
}

fn matching(matching: &Matching, is_set: bool) -> Value {
    let card = match matching.cardinality {
        _ if is_set => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
    };
    json!({
        "card": card, "labels": matching.labels, "on": matching.on, "include": matching.include,
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}
