//! Parameters of a request: query string and form body, times and durations as Prometheus reads them.

use vakt_wire::form::{decode, pairs};
use vakt_wire::http::{Request, read};
use vakt_wire::time::days_from_civil;

use crate::promql::QueryError;
use crate::promql::syntax::duration_ms;

/// Largest form body.
const FORM_BYTES_MAX: usize = 1 << 20;

/// Parameters in the order they were given, those of the URL first.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the parameters of a request.
    ///
    /// # Errors
    /// [`QueryError::BadData`] when the body is too large or breaks off.
    pub async fn of(request: Request) -> Result<Form, QueryError> {
        let mut parameters = pairs(request.uri().query().unwrap_or_default());
        let is_form = request
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            let body = read(request.body, FORM_BYTES_MAX).await;
            let body = body.map_err(|error| QueryError::BadData(error.to_string()))?;
            parameters.extend(pairs(&String::from_utf8_lossy(&body)));
        }
        Ok(Form(parameters))
    }

    /// The first value of `name`, empty ones counted as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A time in milliseconds: unix seconds with a fraction, or RFC 3339. `None` when it is absent.
    ///
    /// # Errors
    /// In Prometheus' words.
    pub fn time(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        time(text)
            .map(Some)
            .ok_or_else(|| invalid(name, format_args!("cannot parse {text:?} to a valid timestamp")))
    }

    /// A duration in milliseconds: seconds with a fraction, or as in PromQL. `None` when it is absent.
    ///
    /// # Errors
    /// In Prometheus' words.
    pub fn duration(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        duration(text)
            .map(Some)
            .ok_or_else(|| invalid(name, format_args!("cannot parse {text:?} to a valid duration")))
    }

    /// A whole number. `None` when it is absent; 0 means no limit and is absent as well.
    ///
    /// # Errors
    /// When it is no such number.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: usize = text.parse().map_err(|_| invalid(name, format_args!("{text:?} is no number")))?;
        Ok(Some(number).filter(|&number| number > 0))
    }
}

/// An error about one parameter, in Prometheus' form.
pub fn invalid(name: &str, reason: impl std::fmt::Display) -> QueryError {
    QueryError::BadData(format!("invalid parameter \"{name}\": {reason}"))
}

/// The label in `/api/v1/label/<name>/values`.
pub fn label_of_path(path: &str) -> Option<String> {
    let name = path.strip_prefix("/api/v1/label/")?.strip_suffix("/values")?;
    Some(decode(name, false)).filter(|name| !name.is_empty())
}

/// Milliseconds of a time as Prometheus takes it.
fn time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        // Beyond this no millisecond is exact; Prometheus' own bound is of the same size.
        return Some((seconds * 1000.0).round()).filter(|ms| ms.abs() < 9e15).map(|ms| ms as i64);
    }
    rfc3339(text)
}

fn duration(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds * 1000.0).filter(|ms| ms.abs() < 9e15).map(|ms| ms as i64);
    }
    duration_ms(text).ok()
}

/// `2026-01-02T03:04:05.678Z` or with an offset such as `+01:00` (RFC 3339, section 5.6).
fn rfc3339(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let at = |index: usize, expected: &str| text.get(index..index + 1).filter(|c| expected.contains(c));
    at(4, "-").and(at(7, "-")).and(at(10, "Tt ")).and(at(13, ":")).and(at(16, ":"))?;
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let millis =
        fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let start = text.len() - zone.len();
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            (zone.len() == 6 && zone.starts_with(['+', '-']) && zone[3..].starts_with(':')).then_some(())?;
            sign * (number(start + 1..start + 3)? * 60 + number(start + 4..start + 6)?)
        }
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_minutes * 60;
    Some(seconds * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_prometheus_reads_them() {
        let check = |text, expected| assert_eq!(time(text), expected, "{text}");
        check("1", Some(1000));
        check("1.2345", Some(1235));
        check("-1.5", Some(-1500));
        check("1970-01-01T00:00:01Z", Some(1000));
        check("2024-02-29T23:59:59.5Z", Some(1_709_251_199_500));
        check("2024-03-01T00:59:59+01:00", Some(1_709_251_199_000));
        check("1969-12-31T23:59:59Z", Some(-1000));
        check("nonsense", None);
        check("NaN", None);
        check("2024-13-01T00:00:00Z", None);
        check("2024-01-01T00:00:00", None);
        check("2024-01-01T00:00:00é", None);
    }

    #[test]
    fn durations_are_seconds_or_promql() {
        assert_eq!(duration("15"), Some(15_000));
        assert_eq!(duration("0.5"), Some(500));
        assert_eq!(duration("1h30m"), Some(5_400_000));
        assert_eq!(duration("x"), None);
    }

    #[test]
    fn forms_are_decoded() {
        let form = Form(pairs("query=a%2Bb+c&match[]=x&match%5B%5D=y&empty=&stray=%zz"));
        assert_eq!(form.get("query"), Some("a+b c"));
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!((form.get("empty"), form.get("stray")), (None, Some("%zz")));
        assert_eq!(label_of_path("/api/v1/label/a%2Fb/values").as_deref(), Some("a/b"));
        assert_eq!(label_of_path("/api/v1/label//values"), None);
    }
}
