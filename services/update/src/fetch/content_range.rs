//! `Content-Range` (RFC 9110, section 14.4).

/// What the header says of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte that is sent; 0 for an answer without any.
    pub first: u64,
    /// The file's size, when the server knows it.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-9/10`, `bytes 0-9/*` and `bytes */10`; `None` for anything else.
    pub fn parse(text: &str) -> Option<ContentRange> {
        let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        let first = if range == "*" { 0 } else { range.split_once('-')?.0.parse().ok()? };
        Some(ContentRange { first, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let check = |text: &str, expected: Option<(u64, Option<u64>)>| {
            let found = ContentRange::parse(text).map(|range| (range.first, range.total));
            assert_eq!(found, expected, "{text:?}");
        };
        check("bytes 5-9/10", Some((5, Some(10))));
        check("bytes 5-9/*", Some((5, None)));
        check("bytes */10", Some((0, Some(10))));
        for bad in ["", "bytes", "bytes 5", "bytes a-b/10", "bytes 5-9/x", "lines 5-9/10"] {
            check(bad, None);
        }
    }
}
