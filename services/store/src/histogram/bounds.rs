//! Where a bucket ends.
//!
//! The bounds here are the powers of two rounded once. Prometheus has them in a table whose later entries are up to 4 units
//! in the last place lower (its 2^-0.5 ends in ..475, not ..476); which bucket a sample is in depends on indexes alone.

use std::sync::LazyLock;

use super::{SCHEMA_CUSTOM, SCHEMA_MAX};

/// Bounds of the finest schema in [0.5, 1): `2^(k/256 - 1)`. Coarser schemas use each 2nd, 4th, ... of them.
const FRACTIONS: usize = 1 << SCHEMA_MAX;

static FRACTION: LazyLock<[f64; FRACTIONS]> =
    LazyLock::new(|| std::array::from_fn(|k| (k as f64 / FRACTIONS as f64 - 1.0).exp2()));

/// The upper bound of bucket `index`, which is the lower one of the bucket after it.
///
/// The last bucket of finite numbers ends at [`f64::MAX`], the one after it at infinity. With custom bounds, the
/// bucket after the last bound ends at infinity, and index -1 at minus infinity.
pub fn bound(index: i32, schema: i8, custom_bounds: &[f64]) -> f64 {
    if schema == SCHEMA_CUSTOM {
        return match usize::try_from(index) {
            Ok(index) => custom_bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        };
    }
    let schema = schema.min(SCHEMA_MAX);
    let (fraction, exponent) = if schema < 0 {
        (0.5, (i64::from(index) << schema.unsigned_abs().min(16)) + 1)
    } else {
        let within = (index & ((1 << schema) - 1)) as usize;
        (FRACTION[within << (SCHEMA_MAX - schema)], i64::from(index >> schema) + 1)
    };
    // 2^1024 is the first number past the finite ones.
    if fraction == 0.5 && exponent == 1025 { f64::MAX } else { scaled(fraction, exponent) }
}

/// `fraction * 2^exponent`, rounded once.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    // Beyond these the outcome is zero or infinity; half of them is the exponent of a normal number.
    let exponent = exponent.clamp(-2000, 2000);
    let half = exponent / 2;
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    // The first product is exact.
    fraction * power(half) * power(exponent - half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_powers_that_the_schema_names() {
        let check = |index, schema, expected: f64| {
            assert_eq!(bound(index, schema, &[]).to_bits(), expected.to_bits(), "{index} of schema {schema}");
        };
        check(0, 0, 1.0);
        check(0, 8, 1.0);
        check(1, 0, 2.0);
        check(-1, 0, 0.5);
        check(1, 1, std::f64::consts::SQRT_2);
        check(-1, 1, std::f64::consts::FRAC_1_SQRT_2);
        check(2, -1, 16.0);
        check(1, -4, 65_536.0);
        check(-1074, 0, f64::from_bits(1));
        check(-1076, 0, 0.0);
        check(1024, 0, f64::MAX);
        check(1025, 0, f64::INFINITY);
        check(512, -1, f64::MAX);
        check(513, -1, f64::INFINITY);
        check(262_144, 8, f64::MAX);
        check(i32::MAX, -4, f64::INFINITY);
        check(i32::MIN, -4, 0.0);
        check(i32::MIN, 8, 0.0);
    }

    #[test]
    fn custom_bounds_begin_and_end_at_infinity() {
        let check = |index, expected| assert_eq!(bound(index, SCHEMA_CUSTOM, &[1.0, 5.0]), expected);
        check(-1, f64::NEG_INFINITY);
        check(0, 1.0);
        check(1, 5.0);
        check(2, f64::INFINITY);
    }

    #[test]
    fn every_bucket_between_normal_numbers_is_wider_than_nothing() {
        for schema in super::super::SCHEMA_MIN..=SCHEMA_MAX {
            for index in -3000..3000 {
                let (low, high) = (bound(index - 1, schema, &[]), bound(index, schema, &[]));
                assert!(
                    low < high || high < f64::MIN_POSITIVE || low == f64::INFINITY,
                    "{index} of {schema}"
                );
            }
        }
    }
}
