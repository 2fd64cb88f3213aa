//! Which servers to believe: those whose intervals overlap with most others' (RFC 5905, section 11.2.1, after
//! Marzullo), and what they say together.

/// A server's word: our clock is off by `offset_s`, give or take `distance_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Seconds to be added to our clock.
    pub offset_s: f64,
    /// How wrong that may be, in seconds.
    pub distance_s: f64,
}

/// What the believed servers say.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Seconds to be added to our clock.
    pub offset_s: f64,
    /// How wrong that may be: the best server's distance.
    pub distance_s: f64,
    /// The best server's place among the candidates.
    pub best: usize,
    /// The places of all that are believed.
    pub believed: Vec<usize>,
}

/// The largest group of candidates that can all be right at once; it must be more than half of them, or nobody
/// knows who is.
pub fn select(candidates: &[Candidate]) -> Option<Chosen> {
    let believed = majority(candidates)?;
    let best = believed
        .iter()
        .copied()
        .min_by(|one, other| candidates[*one].distance_s.total_cmp(&candidates[*other].distance_s))?;
    // The nearer a server, the more its word counts.
    let weight = |place: &usize| 1.0 / candidates[*place].distance_s.max(1e-6);
    let total: f64 = believed.iter().map(weight).sum();
    let offset_s =
        believed.iter().map(|place| candidates[*place].offset_s * weight(place)).sum::<f64>() / total;
    Some(Chosen { offset_s, distance_s: candidates[best].distance_s, best, believed })
}

fn majority(candidates: &[Candidate]) -> Option<Vec<usize>> {
    // The point that most intervals hold is at the lower end of one of them.
    let holds =
        |candidate: &Candidate, point: f64| (candidate.offset_s - point).abs() <= candidate.distance_s + 1e-9;
    let groups = candidates.iter().map(|candidate| {
        let point = candidate.offset_s - candidate.distance_s;
        (0..candidates.len()).filter(|place| holds(&candidates[*place], point)).collect::<Vec<_>>()
    });
    groups.max_by_key(Vec::len).filter(|group| group.len() * 2 > candidates.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(candidates: &[(f64, f64)], expected: Option<&[usize]>) -> Option<Chosen> {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|(offset_s, distance_s)| Candidate { offset_s: *offset_s, distance_s: *distance_s })
            .collect();
        let chosen = select(&candidates);
        assert_eq!(chosen.as_ref().map(|chosen| &chosen.believed[..]), expected, "{candidates:?}");
        chosen
    }

    #[test]
    fn a_majority_that_can_be_right_together_is_believed() {
        check(&[], None);
        check(&[(5.0, 0.1)], Some(&[0]));
        check(&[(0.0, 0.1), (5.0, 0.1)], None);
        check(&[(0.0, 0.1), (5.0, 0.1), (0.15, 0.1)], Some(&[0, 2]));
        check(&[(0.0, 0.1), (5.0, 0.1), (9.0, 0.1)], None);
        let chosen = check(&[(0.0, 0.3), (0.2, 0.1), (99.0, 50.0)], Some(&[0, 1])).unwrap();
        assert_eq!((chosen.best, chosen.distance_s), (1, 0.1));
        assert!((chosen.offset_s - 0.15).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn servers_that_are_right_are_believed_whatever_a_minority_says(
            truth in -1e6..1e6f64,
            right in prop::collection::vec((0.001..1.0f64, -1.0..1.0f64), 3..6),
            wrong in prop::collection::vec((-1e7..1e7f64, 0.001..0.1f64), 0..2),
        ) {
            let mut candidates: Vec<Candidate> = right.iter()
                .map(|(distance_s, at)| Candidate { offset_s: truth + distance_s * at, distance_s: *distance_s }).collect();
            candidates.extend(wrong.iter().map(|(offset_s, distance_s)| Candidate { offset_s: *offset_s, distance_s: *distance_s }));
            let chosen = select(&candidates).unwrap();
            let widest = right.iter().map(|(distance_s, _)| *distance_s).fold(0.0, f64::max);
            prop_assert!((chosen.offset_s - truth).abs() <= 2.0 * widest + 0.2);
        }
    }
}
