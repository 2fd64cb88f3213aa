//! What the parser takes, what it refuses and where, and what it prints.

use super::*;

#[test]
fn what_is_read_is_printed_again() {
    let check = |text: &str, expected: &str| {
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.to_string(), expected);
        assert_eq!(parse(expected).unwrap().to_string(), expected, "{expected} again");
    };
    check("1+2*3^2", "1 + 2 * 3 ^ 2");
    check("-up ^ 2", "-up ^ 2");
    check("sum(up)by(job,\"a b\")", "sum by (job, \"a b\") (up)");
    check("up{job=~'a|b',x!=\"1\"}[5m]offset 90s", "up{job=~\"a|b\",x!=\"1\"}[5m] offset 1m30s");
    check("{\"a.b\",\"c d\"=\"1\"}", "{__name__=\"a.b\",\"c d\"=\"1\"}");
    check("rate(a[5m:1m]@end() offset -1m)", "rate(a[5m:1m] @ end() offset -1m)");
    check("a/on(x)group_left(y)b", "a / on (x) group_left (y) b");
    check("a+ignoring(x)fill(0)b", "a + ignoring (x) fill (0) b");
    check("a == bool 1e3", "a == bool 1000");
    check("rate(a[2*step()]anchored)", "rate(a[2s * step()] anchored)");
    check("topk(3,a)and b or c unless d", "topk(3, a) and b or c unless d");
    check("time() # nothing more", "time()");
    check("sum", "sum");
    check("0x1f + 1_000", "31 + 1000");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check =
        |text: &str, expected: &str| assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    check("", "1:1: parse error: no expression found in input");
    check("1 +", "1:4: parse error: unexpected end of input");
    check("up{", "1:4: parse error: unexpected end of input inside braces");
    check("(up", "1:4: parse error: unclosed left parenthesis");
    check("up{job~\"a\"}", "1:7: parse error: unexpected character inside braces: '~'");
    check("up{job=1}", "1:8: parse error: unexpected number \"1\" in label matching, expected string");
    check("foo(up)", "1:1: parse error: unknown function with name \"foo\"");
    check(
        "rate(up)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    check("rate(up[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2");
    check("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier");
    check("{a=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher");
    check("up[5m] offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times");
    check("up offset 1m[5m]", "1:13: parse error: no offset modifiers allowed before range");
    check("sum(up,)", "1:7: parse error: trailing commas not allowed in function call args");
    check("\n  up)", "2:5: parse error: unexpected right parenthesis ')'");
    assert!(
        parse("up{a=~\"(\"}").unwrap_err().to_string().starts_with("1:4: parse error: error parsing regexp")
    );
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    for (open, close) in [("(", ")"), ("-", ""), ("abs(", ")"), ("1+", ""), ("1^", "")] {
        let text = format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("nests deeper than 200"), "{open}: {error}");
    }
    let text = format!("up{}", "[1m:]".repeat(3_000));
    assert!(parse(&text).is_err());
}
