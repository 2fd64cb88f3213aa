//! `a=b&c=d`: query strings and form bodies.

/// Decodes pairs in their order; `+` is a space and `%XX` a byte, what is not UTF-8 becomes U+FFFD. A name
/// without `=` has an empty value.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name, true), decode(value, true))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Undoes percent-encoding; a stray `%` stays as it is. In a path `+` is itself.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        match (first, after) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = tail;
                }
                _ => bytes.push(b'%'),
            },
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let of =
            |text| pairs(text).into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        assert_eq!(of("query=a%20b+c&limit=5"), "query=a b c&limit=5");
        assert_eq!(of("a&b=%zz&c=%C3%BC&&d=%ff"), "a=&b=%zz&c=ü&d=\u{fffd}");
        assert_eq!(
            of("query=a%2Bb+c&match[]=x&match%5B%5D=y&empty="),
            "query=a+b c&match[]=x&match[]=y&empty="
        );
    }

    #[test]
    fn a_percent_sign_without_two_digits_is_itself() {
        for text in ["%", "a%", "%4", "%+5", "%g0", "%0g"] {
            assert_eq!(decode(text, false), text);
        }
        assert_eq!((decode("a+%2b", false), decode("a+%2B", true)), ("a++".into(), "a +".into()));
    }
}
