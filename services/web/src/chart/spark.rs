//! A line without axes, as high as a word.

use std::fmt::Write;

use super::coordinate;

const WIDTH: f64 = 160.0;
const HEIGHT: f64 = 36.0;

/// A small drawing of values from 0 to `top`, oldest first; hidden from screen readers, since the
/// number beside it says what matters. Empty for fewer than two values.
pub fn spark(values: &[f64], top: f64) -> String {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if values.len() < 2 || top <= 0.0 {
        return String::new();
    }
    let mut path = String::new();
    for (index, value) in values.iter().enumerate() {
        let x = coordinate(index as f64 / (values.len() - 1) as f64 * WIDTH);
        let y = coordinate(HEIGHT - 2.0 - (value / top).clamp(0.0, 1.0) * (HEIGHT - 4.0));
        // Writing to a String cannot fail.
        let _ = write!(path, "{}{x} {y}", if index == 0 { 'M' } else { 'L' });
    }
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <path class=\"area c1\" d=\"{path}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z\"/><path class=\"line c1\" d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_a_line_and_too_few_nothing() {
        assert!(spark(&[0.0, 50.0, f64::NAN, 100.0], 100.0).contains("d=\"M0 34L80 18L160 2\""));
        assert_eq!(spark(&[1.0], 100.0), "");
        assert_eq!(spark(&[1.0, 2.0], 0.0), "");
    }
}
