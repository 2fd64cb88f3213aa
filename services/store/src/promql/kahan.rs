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

/// The running sums of several slices of finite values, none of which may overflow, side by side: an addition waits for the one
/// before it, but not for those of its neighbours. The bits are those of [`Kahan::add`]: both find exactly what rounding
/// took, here by Knuth's method, which asks for no comparison.
pub fn totals<const N: usize>(slices: [&[f64]; N]) -> [Kahan; N] {
    let together = slices.iter().map(|slice| slice.len()).min().unwrap_or(0);
    let heads = slices.map(|slice| &slice[..together]);
    let (mut sums, mut corrections) = ([0.0; N], [0.0; N]);
    for at in 0..together {
        for (lane, head) in heads.iter().enumerate() {
            let (sum, term) = (sums[lane], head[at]);
            let next: f64 = sum + term;
            let taken = next - sum;
            corrections[lane] += (sum - (next - taken)) + (term - taken);
            sums[lane] = next;
        }
    }
    std::array::from_fn(|lane| {
        let mut total = Kahan { sum: sums[lane], correction: corrections[lane] };
        slices[lane][together..].iter().for_each(|&term| total.add(term));
        total
    })
}

/// The sum of some values.
pub fn sum(values: &[f64]) -> f64 {
    let mut kahan = Kahan::default();
    values.iter().for_each(|&value| kahan.add(value));
    kahan.total()
}

/// A running mean; where the sum would overflow it is worked out step by step, as Prometheus' `avg` does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    kahan: Kahan,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Adds a term.
    #[inline]
    pub fn add(&mut self, term: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.kahan = Kahan { sum: term, correction: 0.0 };
            return;
        }
        if !self.incremental {
            let mut next = self.kahan;
            next.add(term);
            if !next.sum.is_infinite() {
                self.kahan = next;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.kahan = Kahan { sum: self.kahan.sum / before, correction: self.kahan.correction / before };
        }
        let share = (self.count - 1.0) / self.count;
        self.kahan = Kahan { sum: share * self.kahan.sum, correction: share * self.kahan.correction };
        self.kahan.add(term / self.count);
    }

    /// The mean of all terms; NaN of none.
    pub fn total(self) -> f64 {
        if self.incremental {
            return self.kahan.total();
        }
        self.kahan.sum / self.count + self.kahan.correction / self.count
    }
}

/// The mean of some values; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    let mut mean = Mean::default();
    values.iter().for_each(|&value| mean.add(value));
    mean.total()
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
    let last = values.len() - 1;
    let rank = phi * last as f64;
    let lower = (rank.floor().max(0.0) as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    let mut values = values.to_vec();
    // NaN comes before everything, as Go's sort.Float64s has it.
    let order = |a: &f64, b: &f64| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b));
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, order);
    let high = above.iter().copied().min_by(order).filter(|_| upper > lower).unwrap_or(low);
    low * (1.0 - weight) + high * weight
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
