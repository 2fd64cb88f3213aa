//! Numbers, durations and quoted texts.

/// A number as Go's parser reads it: decimal, hexadecimal (`0x1f`), octal (`0755`, `0o7`), binary (`0b1`), with
/// underscores between digits in those with a prefix; `Inf` and `NaN` in any case.
pub fn number(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "+inf" => return Some(f64::INFINITY),
        "-inf" => return Some(f64::NEG_INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let whole = |digits: &str, radix| {
        let digits = digits.replace('_', "");
        i64::from_str_radix(&digits, radix).ok().filter(|_| !digits.starts_with(['+', '-'])).map(|n| n as f64)
    };
    if let Some(digits) = lower.strip_prefix("0x") {
        return whole(digits, 16);
    }
    if let Some(digits) = lower.strip_prefix("0b") {
        return whole(digits, 2);
    }
    if let Some(digits) = lower.strip_prefix("0o") {
        return whole(digits, 8);
    }
    if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return whole(&lower[1..], 8);
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || ".+-".contains(c)) {
        return None;
    }
    lower.replace('_', "").parse().ok()
}

/// The units of a duration in the order in which they may follow each other, with their milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration such as `1h30m` in milliseconds. `0` needs no unit.
///
/// # Errors
/// In Prometheus' words.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    match text {
        "" => return Err("empty duration string".into()),
        "0" => return Ok(0),
        _ => {}
    }
    let wrong = || format!("not a valid duration string: {text:?}");
    let (mut total, mut rest, mut next_unit) = (0u64, text, 0);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let (count, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let place = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .filter(|&at| at >= next_unit)
            .ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        let part = count.checked_mul(UNITS[place].1).ok_or("duration out of range")?;
        // Go's durations are nanoseconds in 63 bits.
        total = total
            .checked_add(part)
            .filter(|&ms| ms <= i64::MAX as u64 / 1_000_000)
            .ok_or("duration out of range")?;
        rest = &rest[digits + letters..];
        next_unit = place + 1;
    }
    Ok(total as i64)
}

/// The text inside quotes, its escapes resolved (Go's, in `"…"` and `'…'`; none in backquotes). `\xNN` and octal
/// escapes that make no UTF-8 become the replacement character.
///
/// # Errors
/// For a text that is not quoted or an escape that is none.
pub fn unquote(quoted: &str) -> Result<String, String> {
    let wrong = || format!("error unquoting string {quoted:?}: invalid syntax");
    let quote = quoted.chars().next().filter(|c| "\"'`".contains(*c)).ok_or_else(wrong)?;
    let inside = quoted[1..].strip_suffix(quote).ok_or_else(wrong)?;
    if quote == '`' || !inside.contains('\\') {
        return Ok(inside.to_owned());
    }
    let mut bytes = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, quote, &mut bytes).ok_or_else(wrong)?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn escape(chars: &mut std::str::Chars<'_>, quote: char, out: &mut Vec<u8>) -> Option<()> {
    let digits = |chars: &mut std::str::Chars<'_>, first: u32, count: usize, radix: u32| {
        (0..count).try_fold(first, |n, _| Some(n * radix + chars.next()?.to_digit(radix)?))
    };
    let kind = chars.next()?;
    match kind {
        'a' => out.push(7),
        'b' => out.push(8),
        'f' => out.push(12),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'v' => out.push(11),
        '\\' => out.push(b'\\'),
        'x' => out.push(digits(chars, 0, 2, 16)? as u8),
        '0'..='7' => out.push(u8::try_from(digits(chars, kind.to_digit(8)?, 2, 8)?).ok()?),
        'u' | 'U' => {
            let code = digits(chars, 0, if kind == 'u' { 4 } else { 8 }, 16)?;
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
        other if other == quote => out.push(quote as u8),
        _ => return None,
    }
    Some(())
}
