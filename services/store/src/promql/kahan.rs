//! Sums that do not lose the small terms: Kahan's method with Neumaier's improvement, as Prometheus'
//! `kahanSumInc` does it.

/// A running sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kahan {
    /// The plain sum.
    pub sum: f64,
    /// What rounding took from it.
    pub correction: f64,
}

impl Kahan {
    /// Adds a term.
    #[inline]
    pub fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        if sum.is_infinite() {
            self.correction = 0.0;
        } else if self.sum.abs() >= term.abs() {
            self.correction += (self.sum - sum) + term;
        } else {
            self.correction += (term - sum) + self.sum;
        }
        self.sum = sum;
    }

    /// The sum.
    pub fn total(self) -> f64 {
        self.sum + self.correction
    }
}

/// The sum of some values.
pub fn sum(values: &[f64]) -> f64 {
    let mut kahan = Kahan::default();
    values.iter().for_each(|&value| kahan.add(value));
    kahan.total()
}

/// The mean of at least one value; where the sum would overflow it is worked out step by step, as
/// Prometheus' `avg` does.
pub fn mean(values: &[f64]) -> f64 {
    let mut kahan = Kahan { sum: values.first().copied().unwrap_or(f64::NAN), correction: 0.0 };
    let mut incremental = false;
    for (index, &value) in values.iter().enumerate().skip(1) {
        let count = (index + 1) as f64;
        if !incremental {
            let mut next = kahan;
            next.add(value);
            if !next.sum.is_infinite() {
                kahan = next;
                continue;
            }
            incremental = true;
            kahan = Kahan { sum: kahan.sum / (count - 1.0), correction: kahan.correction / (count - 1.0) };
        }
        let share = (count - 1.0) / count;
        kahan = Kahan { sum: share * kahan.sum, correction: share * kahan.correction };
        kahan.add(value / count);
    }
    if incremental {
        return kahan.total();
    }
    let count = values.len() as f64;
    kahan.sum / count + kahan.correction / count
}

/// The population variance of at least one value (Welford's method).
pub fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for (index, &value) in values.iter().enumerate() {
        let delta = value - mean.total();
        mean.add(delta / (index + 1) as f64);
        squares.add(delta * (value - mean.total()));
    }
    squares.total() / values.len() as f64
}

/// The φ-quantile of some values, as Prometheus' `quantile` defines it: linear between the nearest ranks; NaN of
/// nothing, and -Inf or +Inf for a φ below 0 or above 1.
pub fn quantile(phi: f64, values: &[f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    // NaN sorts before everything, as Go's sort.Float64s does.
    sorted.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let last = sorted.len() - 1;
    let rank = phi * last as f64;
    let lower = (rank.floor().max(0.0) as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    sorted[lower] * (1.0 - weight) + sorted[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(sum(&[1e100, 1.0, -1e100, 1.0]), 2.0);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
    }

    #[test]
    fn quantiles_lie_between_the_nearest_ranks() {
        let values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(quantile(0.5, &values), 2.5);
        assert_eq!(quantile(0.0, &values), 1.0);
        assert_eq!(quantile(1.0, &values), 4.0);
        assert_eq!(quantile(-0.1, &values), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &values), f64::INFINITY);
        assert!(quantile(0.5, &[]).is_nan());
        assert_eq!(quantile(1.0, &[f64::NAN, 1.0]), 1.0);
    }
}
