//! The one way to write a JSON value as bytes, so that a hash means the same to everybody.
//!
//! serde_json sorts members only as long as nobody in the build turns its `preserve_order` on, so the order
//! is made here. Format: EVIDENCE.md, "Canonical form".

use serde_json::Value;

/// The canonical form of `value`, or `None` when it holds a number that is no integer.
pub fn canonical(value: &Value) -> Option<String> {
    let mut text = String::new();
    write(value, &mut text)?;
    Some(text)
}

fn write(value: &Value, text: &mut String) -> Option<()> {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            text.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                string(name, text);
                text.push(':');
                write(member, text)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::String(value) => string(value, text),
        Value::Number(number) if number.is_f64() => return None,
        Value::Number(_) | Value::Bool(_) | Value::Null => text.push_str(&value.to_string()),
    }
    Some(())
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => text.push_str(&format!("\\u{:04x}", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, expected: &str) {
        assert_eq!(canonical(&value).as_deref(), Some(expected));
        assert_eq!(serde_json::from_str::<Value>(expected).unwrap(), value, "it reads back as itself");
    }

    #[test]
    fn members_are_sorted_and_strings_have_one_form() {
        check(
            json!({"b": 1, "a": {"z": [true, null, "x"], "é": -2, "Z": 0}}),
            r#"{"a":{"Z":0,"z":[true,null,"x"],"é":-2},"b":1}"#,
        );
        check(json!("\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}/é"), "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}/é\"");
    }

    #[test]
    fn fractions_have_no_canonical_form() {
        assert_eq!(canonical(&json!([1.5])), None);
    }
}
