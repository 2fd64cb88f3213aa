//! Histories of changes, confirmations, crashes and boots, by hand and at random.

use proptest::prelude::*;

use super::*;

const FIRST: &str = "first";

fn wish(text: &str, confirm_within_s: Option<u32>, effective: Effective) -> Wish {
    Wish { text: text.into(), by: "admin".into(), at_s: 10, confirm_within_s, effective, ..Wish::default() }
}

fn ledger() -> Ledger {
    Ledger::new(FIRST, "defaults", 0)
}

#[test]
fn a_change_without_a_trial_is_settled_at_once() {
    let mut ledger = ledger();
    assert_eq!(ledger.apply(wish("second", None, Effective::Now)), Ok(Some(2)));
    assert_eq!((ledger.in_force().text.as_str(), ledger.settled().number), ("second", 2));
    assert_eq!(ledger.apply(wish("second", None, Effective::Now)), Ok(None));
}

#[test]
fn a_trial_is_in_force_until_it_is_undone_and_stays_when_it_is_confirmed() {
    let mut ledger = ledger();
    ledger.apply(wish("second", Some(60), Effective::Now)).unwrap();
    assert_eq!((ledger.in_force().text.as_str(), ledger.settled().text.as_str()), ("second", FIRST));
    assert_eq!(ledger.apply(wish("third", None, Effective::Now)), Err(Refusal::Busy(2)));
    assert!(ledger.undo("not confirmed within 60 s"));
    assert_eq!(ledger.in_force().text, FIRST);
    assert_eq!(ledger.revisions()[1].undone.as_deref(), Some("not confirmed within 60 s"));
    assert_eq!(ledger.confirm(2), Err(Refusal::NotPending(2)));

    assert_eq!(ledger.apply(wish("third", Some(60), Effective::Now)), Ok(Some(3)));
    assert_eq!(ledger.confirm(2), Err(Refusal::NotPending(2)));
    assert_eq!(ledger.confirm(3), Ok(()));
    assert!(!ledger.boot());
    assert_eq!(ledger.in_force().text, "third");
}

#[test]
fn a_change_for_the_next_boot_is_tried_then_and_undone_by_another_boot() {
    let mut ledger = ledger();
    assert_eq!(ledger.apply(wish("second", None, Effective::Boot)), Err(Refusal::BootUnconfirmed));
    ledger.apply(wish("second", Some(60), Effective::Boot)).unwrap();
    assert_eq!(ledger.in_force().text, FIRST);
    assert_eq!(ledger.confirm(2), Err(Refusal::NotTried(2)));
    assert!(ledger.boot());
    assert_eq!(ledger.in_force().text, "second");
    assert!(ledger.boot());
    assert_eq!(ledger.in_force().text, FIRST);
}

#[test]
fn a_change_of_what_is_no_longer_in_force_is_refused() {
    let mut ledger = ledger();
    ledger.apply(wish("second", None, Effective::Now)).unwrap();
    let late = Wish { base: Some(1), ..wish("third", None, Effective::Now) };
    assert_eq!(ledger.apply(late), Err(Refusal::Outdated { base: 1, found: 2 }));
    for seconds in [0, 9, 3601] {
        assert_eq!(ledger.apply(wish("x", Some(seconds), Effective::Now)), Err(Refusal::Trial(seconds)));
    }
    assert_eq!(ledger.in_force().text, "second");
}

#[test]
fn a_disk_that_stays_in_the_box_is_taken_once() {
    let mut ledger = ledger();
    assert!(ledger.offer(wish("disk", None, Effective::Now), "d1".into()));
    ledger.apply(wish("page", None, Effective::Now)).unwrap();
    assert!(!ledger.offer(wish("disk", None, Effective::Now), "d1".into()));
    assert_eq!(ledger.in_force().text, "page");
    ledger.apply(wish("trial", Some(60), Effective::Now)).unwrap();
    assert!(ledger.offer(wish("other disk", None, Effective::Now), "d2".into()));
    assert_eq!((ledger.in_force().text.as_str(), ledger.pending()), ("other disk", None));
}

#[test]
fn history_is_bounded_and_never_loses_what_is_in_force() {
    let mut ledger = ledger();
    let large = "x".repeat(TEXT_BYTES_MAX / 3);
    for number in 0..REVISIONS_MAX * 2 {
        ledger.apply(wish(&format!("{number}"), None, Effective::Now)).unwrap();
    }
    assert_eq!(ledger.revisions().len(), REVISIONS_MAX);
    for number in 0..20 {
        ledger.apply(wish(&format!("{large}{number}"), Some(60), Effective::Now)).unwrap();
        ledger.undo("no");
    }
    assert_eq!(ledger.in_force().text, format!("{}", REVISIONS_MAX * 2 - 1));
    assert!(!ledger.is_over_bounds());
}

/// What happens to a box.
#[derive(Clone, Debug)]
enum Step {
    Apply {
        trial: bool,
        at_boot: bool,
    },
    Confirm,
    TimeOut,
    TakeBack,
    Offer,
    /// The power goes before or after the next write of the file, then the box boots.
    Crash {
        before_the_write: bool,
    },
    Boot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(trial, at_boot)| Step::Apply { trial, at_boot }),
        2 => Just(Step::Confirm),
        1 => Just(Step::TimeOut),
        1 => Just(Step::TakeBack),
        1 => Just(Step::Offer),
        3 => any::<bool>().prop_map(|before_the_write| Step::Crash { before_the_write }),
        2 => Just(Step::Boot),
    ];
    prop::collection::vec(step, 0..40)
}

/// A box: the file on its disk, and what it runs by.
struct Appliance {
    disk: String,
    ledger: Ledger,
    runs_by: String,
    /// The power goes at the next write: before it reached the disk, or right after.
    cut: Option<bool>,
}

impl Appliance {
    /// Writes first, acts then, as `run` does; a cut anywhere ends in a boot.
    fn commit(&mut self) {
        let next = serde_json::to_string(&self.ledger).unwrap();
        match self.cut.take() {
            Some(true) => self.boot(),
            Some(false) => {
                self.disk = next;
                self.boot();
            }
            None => {
                self.disk = next;
                self.runs_by = self.ledger.in_force().text.clone();
            }
        }
    }

    fn boot(&mut self) {
        self.ledger = serde_json::from_str(&self.disk).unwrap();
        self.ledger.check().unwrap();
        if self.ledger.boot() {
            self.disk = serde_json::to_string(&self.ledger).unwrap();
        }
        self.runs_by = self.ledger.in_force().text.clone();
    }
}

proptest! {
    #[test]
    fn no_sequence_of_changes_crashes_confirmations_and_boots_ends_half_applied(steps in steps()) {
        let ledger = ledger();
        let disk = serde_json::to_string(&ledger).unwrap();
        let mut world = Appliance { disk, ledger, runs_by: FIRST.into(), cut: None };
        let mut wished = vec![FIRST.to_owned()];
        // Texts that somebody settled: by confirming, without a trial, or by a disk.
        let mut settled = vec![FIRST.to_owned()];
        let mut boots_on_trial = 0;
        for (index, step) in steps.into_iter().enumerate() {
            let before = world.ledger.clone();
            match step {
                Step::Apply { trial, at_boot } => {
                    let text = format!("text {index}");
                    wished.push(text.clone());
                    let effective = if at_boot { Effective::Boot } else { Effective::Now };
                    let granted = world.ledger.apply(wish(&text, trial.then_some(60), effective));
                    prop_assert_eq!(granted.is_err(), before.pending().is_some() || (at_boot && !trial));
                    if granted.is_ok() && !trial {
                        settled.push(text);
                    }
                }
                Step::Confirm => {
                    if let Some(pending) = before.pending() {
                        let number = pending.revision.number;
                        if world.ledger.confirm(number).is_ok() {
                            settled.push(pending.revision.text.clone());
                        }
                    }
                }
                Step::TimeOut if before.pending().is_some_and(|p| p.on_trial) => {
                    world.ledger.undo("late");
                }
                Step::TimeOut => {}
                Step::TakeBack => {
                    world.ledger.undo("taken back");
                }
                Step::Offer => {
                    let text = format!("disk {index}");
                    wished.push(text.clone());
                    settled.push(text.clone());
                    world.ledger.offer(wish(&text, None, Effective::Now), format!("digest {index}"));
                }
                Step::Crash { before_the_write } => {
                    world.cut = Some(before_the_write);
                    continue;
                }
                Step::Boot => {
                    world.cut = None;
                    world.boot();
                }
            }
            if world.ledger != before && !matches!(step, Step::Boot) {
                world.commit();
            }
            // What runs is what the disk says, whole, and nothing that nobody wished.
            let on_disk: Ledger = serde_json::from_str(&world.disk).unwrap();
            prop_assert_eq!(&on_disk, &world.ledger);
            prop_assert_eq!(&world.runs_by, &on_disk.in_force().text);
            prop_assert!(wished.contains(&world.runs_by));
            prop_assert!(settled.contains(&on_disk.settled().text));
            boots_on_trial = match (step, on_disk.pending()) {
                (Step::Boot, Some(pending)) if pending.on_trial => boots_on_trial + 1,
                (_, None) => 0,
                _ => boots_on_trial,
            };
            prop_assert!(boots_on_trial <= 1, "a trial outlived a second boot");
            let numbers: Vec<u64> = on_disk.revisions().iter().map(|r| r.number).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        }
    }
}
