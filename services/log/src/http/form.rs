//! `a=b&c=d`: query strings and form bodies.

/// Decodes pairs; `+` is a space and `%XX` a byte. What is not UTF-8 is replaced by U+FFFD.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let hex = |range: &[u8]| u8::from_str_radix(std::str::from_utf8(range).ok()?, 16).ok();
        match (byte, tail.get(..2).and_then(hex)) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(value)) => {
                out.push(value);
                rest = &tail[2..];
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let of =
            |text| pairs(text).into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        assert_eq!(of("query=a%20b+c&limit=5"), "query=a b c&limit=5");
        assert_eq!(of("a&b=%zz&c=%C3%BC&"), "a=&b=%zz&c=ü");
    }
}
