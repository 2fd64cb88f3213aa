//! Native histograms in arithmetic and in quantiles.

use super::*;
use crate::histogram::tests::valid;
use proptest::prelude::*;

fn numbers(histogram: &Histogram) -> f64 {
    histogram.positive.counts.iter().chain(&histogram.negative.counts).sum::<f64>() + histogram.zero_count
}

proptest! {
    #[test]
    fn a_sum_has_all_observations_and_its_difference_gives_them_back(a in valid(), b in valid()) {
        let Ok(total) = combined(&a, &b, Sum::Add) else {
            prop_assert_ne!(a.is_custom(), b.is_custom());
            return Ok(());
        };
        prop_assert_eq!(numbers(&total.histogram), numbers(&a) + numbers(&b));
        prop_assert_eq!(total.histogram.count, a.count + b.count);
        let back = combined(&total.histogram, &b, Sum::Subtract).unwrap();
        prop_assert_eq!(numbers(&back.histogram), numbers(&a));
        prop_assert_eq!(total.reconciled, a.is_custom() && a.custom_bounds != b.custom_bounds);
    }

    #[test]
    fn what_grew_is_no_reset_and_what_shrank_is_one(mut a in valid(), mut b in valid()) {
        a.reset_hint = ResetHint::Unknown;
        b.reset_hint = ResetHint::Unknown;
        if let Ok(total) = combined(&a, &b, Sum::Add) {
            prop_assert!(!is_reset(&total.histogram, &a));
            if b.count > 0.0 {
                prop_assert!(is_reset(&a, &total.histogram));
            }
        }
    }

    #[test]
    fn the_mean_of_the_same_is_the_same(a in valid(), n in 1usize..5) {
        let all = vec![a.clone(); n];
        let mut mean = mean(&mut all.iter()).unwrap().histogram;
        let mut expected = a;
        compact(&mut mean);
        compact(&mut expected);
        prop_assert!(same(&mean, &expected));
    }

    #[test]
    fn both_sides_of_a_cut_are_the_whole(a in valid(), at in -10.0f64..10.0) {
        let (low, high) = (trimmed(&a, at, true), trimmed(&a, at, false));
        let (whole, parts) = (numbers(&a), numbers(&low) + numbers(&high));
        prop_assert!(parts <= whole * (1.0 + 1e-9), "{parts} of {whole}");
    }
}
