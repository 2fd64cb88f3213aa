//! CSV with a format that says what each column is, as VictoriaMetrics has it: `1:time:unix_s,2:label:host,3:metric:load`.
//!
//! Columns count from 1; those that the format does not name are skipped. A row gives one sample for each metric column
//! that is not empty.

use vakt_wire::time::parse_rfc3339;

use super::request::{RequestError, WriteRequest};
use super::text::{number, put_extra};

/// Columns of a row that are looked at.
const COLUMNS_MAX: usize = 1024;

/// What a column is.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Time(Unit),
    Label(String),
    Metric(String),
}

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Seconds,
    Millis,
    Nanos,
    Rfc3339,
}

/// The columns of a body, and what its rows do not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsvForm {
    columns: Vec<(usize, Column)>,
    /// The time of rows without one: milliseconds since the epoch.
    pub now: i64,
    /// Labels that every series gets, in place of one of the same name.
    pub extra: Vec<(String, String)>,
}

impl CsvForm {
    /// Reads a format.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn of(format: &str) -> Result<CsvForm, String> {
        let mut columns = Vec::new();
        for rule in format.split(',') {
            let mut parts = rule.trim().splitn(3, ':');
            let (place, kind, context) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
            let place =
                place.and_then(|place| place.parse().ok()).filter(|place| (1..=COLUMNS_MAX).contains(place));
            let place = place.ok_or_else(|| {
                format!("format {rule:?} does not begin with a column from 1 to {COLUMNS_MAX}")
            })?;
            let column = match (kind, context) {
                (Some("time"), "unix_s") => Column::Time(Unit::Seconds),
                (Some("time"), "unix_ms") => Column::Time(Unit::Millis),
                (Some("time"), "unix_ns") => Column::Time(Unit::Nanos),
                (Some("time"), "rfc3339") => Column::Time(Unit::Rfc3339),
                (Some("time"), _) => {
                    return Err(format!(
                        "format {rule:?} has a time that is none of unix_s, unix_ms, unix_ns and rfc3339"
                    ));
                }
                (Some("label" | "metric"), "") => return Err(format!("format {rule:?} has no name")),
                (Some("label"), name) => Column::Label(name.into()),
                (Some("metric"), name) => Column::Metric(name.into()),
                _ => return Err(format!("format {rule:?} is none of time, label and metric")),
            };
            columns.push((place - 1, column));
        }
        if !columns.iter().any(|(_, column)| matches!(column, Column::Metric(_))) {
            return Err("format names no metric".into());
        }
        Ok(CsvForm { columns, ..CsvForm::default() })
    }
}

impl WriteRequest {
    /// Reads an unpacked CSV body (RFC 4180, without a header; a header row is counted as one that cannot be stored).
    ///
    /// # Errors
    /// [`RequestError`] when it holds more than a request may. Rows that cannot be stored are counted.
    pub fn read_csv(&mut self, body: &[u8], form: &CsvForm) -> Result<(), RequestError> {
        self.clear();
        let Ok(mut rest) = std::str::from_utf8(body) else {
            return Err(RequestError::Text("body is not UTF-8".into()));
        };
        let mut line = 0;
        while !rest.is_empty() {
            line += 1;
            let (cells, after) = row(rest);
            rest = after;
            if cells.iter().all(String::is_empty) {
                continue;
            }
            if let Err(what) = self.put_row(&cells, form)? {
                self.refuse(1, format_args!("row {line}: {what}"));
            }
        }
        Ok(())
    }

    fn put_row(&mut self, cells: &[String], form: &CsvForm) -> Result<Result<(), String>, RequestError> {
        let (mut time, mut labels, mut values) = (form.now, Vec::new(), Vec::new());
        for (place, column) in &form.columns {
            let Some(cell) = cells.get(*place) else {
                return Ok(Err(format!("has {} columns, the format needs {}", cells.len(), place + 1)));
            };
            match column {
                Column::Label(name) => labels.push((name.clone(), cell.clone())),
                Column::Metric(_) if cell.is_empty() => {}
                Column::Metric(name) => match number(cell) {
                    Ok(value) => values.push((name, value)),
                    Err(what) => return Ok(Err(what)),
                },
                Column::Time(unit) => match unit.millis(cell) {
                    Some(millis) => time = millis,
                    None => return Ok(Err(format!("{cell:?} is no time"))),
                },
            }
        }
        for (name, value) in values {
            let mut labels = labels.clone();
            labels.push(("__name__".into(), name.clone()));
            put_extra(&mut labels, &form.extra);
            self.begin(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))?;
            self.float(time, value)?;
        }
        Ok(Ok(()))
    }
}

impl Unit {
    fn millis(self, cell: &str) -> Option<i64> {
        match self {
            Unit::Seconds => {
                let millis = (cell.parse::<f64>().ok()? * 1000.0).round();
                (millis.abs() < 9e15).then_some(millis as i64)
            }
            Unit::Millis => cell.parse().ok(),
            Unit::Nanos => Some(cell.parse::<i64>().ok()?.div_euclid(1_000_000)),
            Unit::Rfc3339 => Some(parse_rfc3339(cell)?.div_euclid(1_000_000)),
        }
    }
}

/// The cells of the first row, and what follows it. Quoted cells may hold commas, doubled quotes and line ends.
fn row(text: &str) -> (Vec<String>, &str) {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' if quoted && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                cell.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => {
                if cells.len() < COLUMNS_MAX {
                    cells.push(std::mem::take(&mut cell));
                }
                cell.clear();
            }
            '\n' if !quoted => {
                cells.push(cell.trim_end_matches('\r').to_owned());
                return (cells, &text[at + 1..]);
            }
            c => cell.push(c),
        }
    }
    cells.push(cell.trim_end_matches('\r').to_owned());
    (cells, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(format: &str, body: &str) -> WriteRequest {
        let mut request = WriteRequest::default();
        request.read_csv(body.as_bytes(), &CsvForm { now: 7, ..CsvForm::of(format).unwrap() }).unwrap();
        request
    }

    #[test]
    fn rows_become_a_sample_for_each_metric() {
        let request = read(
            "2:metric:ask,3:metric:bid,1:label:ticker,4:time:unix_s",
            "GOOG,1.23,4.56,1.5\r\n\"A,\"\"B\",,7,2\n",
        );
        assert_eq!(request.refused, (0, None));
        assert_eq!(request.samples, [(1500, 1.23), (1500, 4.56), (2000, 7.0)]);
        let labels = request.labels(&request.frames[2]).unwrap();
        assert_eq!(labels, [(&b"__name__"[..], &b"bid"[..]), (b"ticker", b"A,\"B")]);
    }

    #[test]
    fn every_kind_of_time_is_read() {
        let check = |unit, cell, expected| {
            let request = read(&format!("1:metric:m,2:time:{unit}"), &format!("1,{cell}"));
            assert_eq!(request.samples, [(expected, 1.0)], "{cell}");
        };
        check("unix_ms", "-5", -5);
        check("unix_ns", "1999999", 1);
        check("rfc3339", "1970-01-01T00:00:01.5Z", 1500);
        assert_eq!(read("1:metric:m", "3").samples, [(7, 3.0)]);
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let check = |body: &str, what: &str| {
            let request = read("1:metric:m,2:time:unix_ms", body);
            let reason = request.refused.1.clone().unwrap_or_default();
            assert!(reason.contains(what), "{reason}");
            assert_eq!(request.refused.0, 1);
        };
        check("1,2\nload,time\n", "row 2: \"load\" is no number");
        check("1,x", "\"x\" is no time");
        check("1", "has 1 columns, the format needs 2");
        let format = |text, what: &str| assert!(CsvForm::of(text).unwrap_err().contains(what), "{text}");
        format("0:metric:m", "column from 1");
        format("1:time:custom:02", "none of unix_s");
        format("1:label:x", "names no metric");
        format("1:metric:", "has no name");
        format("1:thing:m", "none of time");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in r#"([a-z]|[",\n\r]|[0-9]|é){0,40}"#) {
            read("1:metric:m,3:label:l,2:time:unix_s", &body);
        }
    }
}
