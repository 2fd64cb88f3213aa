//! What is to be done about the slots: a pure function of what is known and the time.
//!
//! A slot is *blessed* once it has proved itself, and *on trial* while its UKI's name has a counter. The
//! rules, each of which the tests hold as a sentence over every view there is:
//!
//! - A slot on trial is blessed when all required services have been ready for [`WELL_FOR_MS`] together.
//! - One that is not well at the end of its gate ([`GATE_MS`]) is left: its entry is condemned and the
//!   machine reboots in order, if the other slot can boot. If not, staying is all there is.
//! - A blessed slot is never left. It stays up, degraded, with its pages.
//! - The loader took a try before the kernel ran. It is given back when that boot reached stage 2 and left
//!   no mark (panic, watchdog, unhealthy), at most [`GIVE_BACKS_MAX`] times a slot: power cuts burn no
//!   tries, and a machine that hangs unseen still rolls back.
//! - A slot that used up its tries is told of once, with the reason.

use serde::{Deserialize, Serialize};

/// All required services must be ready together for this long: a service that dies of what it does when it
/// is ready (the first merge, the first scrape) does so within seconds.
pub const WELL_FOR_MS: u64 = 30_000;

/// From stage 2's begin to the end of the gate. A box is ready in 2 to 20 s; a service may take its 90 s to
/// start once, and be restarted once.
pub const GATE_MS: u64 = 180_000;

/// Tries given back to one version in one slot.
pub const GIVE_BACKS_MAX: u32 = 5;

/// From the decision to leave to the reboot: the entry's copy, and every service's orderly end. The
/// watchdog is not fed any longer than this.
pub const LEAVE_WITHIN_MS: u64 = 120_000;

/// A slot, as its UKI's name tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no UKI.
    Empty,
    /// On trial, or, of the slot that does not run with none left, bad.
    Counted {
        /// Boots that the loader will still give it.
        left: u32,
    },
    /// Proved.
    Blessed,
}

impl State {
    /// Whether the loader would boot it.
    pub fn can_boot(self) -> bool {
        matches!(self, State::Blessed | State::Counted { left: 1.. })
    }
}

/// How a boot that reached stage 2 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// By an orderly reboot or power-off.
    Orderly,
    /// Without a mark: a power cut, as far as anybody can tell.
    Cut,
    /// It was found unhealthy, or its PID 1 failed, and said so.
    Unhealthy,
    /// By a kernel panic.
    Panic,
    /// By the hardware watchdog.
    Watchdog,
}

impl End {
    /// Whether it speaks for a try to be given back.
    pub fn is_without_mark(self) -> bool {
        matches!(self, End::Orderly | End::Cut)
    }
}

/// One of the two slots, as seen from the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one that runs.
    Running,
    /// The other one.
    Other,
}

/// How the required services are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// All are ready, since then.
    Well {
        /// When the last of them got ready, on the clock of `now_ms`.
        since_ms: u64,
    },
    /// At least one is not.
    Ill,
}

/// All that a decision is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The slot that runs.
    pub running: State,
    /// The other one.
    pub other: State,
    /// The boot before this one, when it was of a version that is still on the ESP and has not been judged
    /// yet: its slot and its end.
    pub previous: Option<(Which, End)>,
    /// Tries that the previous boot's slot was given back so far.
    pub give_backs: u32,
    /// The required services.
    pub health: Health,
    /// When the gate ends.
    pub gate_until_ms: u64,
    /// Whether the rollback from what is in the other slot was told of already.
    pub is_told: bool,
}

/// What is to be done. Each is done once; the next view shows it as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this time, or before something changes.
    Wait {
        /// When to look again; `None` when time alone changes nothing.
        until_ms: Option<u64>,
    },
    /// Give the previous boot's try back.
    GiveBack(Which),
    /// Keep the reason why the other slot was left, and show it.
    Tell,
    /// The previous boot needs nothing more.
    Close,
    /// Bless the slot that runs.
    Bless,
    /// Condemn the slot that runs and reboot.
    Leave(Why),
}

/// Why a slot is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was not well at the end of the gate.
    NotWell,
    /// Its last boot was unhealthy, and could not condemn it.
    WasUnhealthy,
}

/// Decides.
pub fn assess(view: &View, now_ms: u64) -> Decision {
    if let Some(decision) = judge_previous(view) {
        return decision;
    }
    if !matches!(view.running, State::Counted { .. }) {
        return Decision::Wait { until_ms: None };
    }
    match view.health {
        Health::Well { since_ms } if now_ms >= since_ms + WELL_FOR_MS => Decision::Bless,
        Health::Well { since_ms } => Decision::Wait { until_ms: Some(since_ms + WELL_FOR_MS) },
        Health::Ill if now_ms < view.gate_until_ms => Decision::Wait { until_ms: Some(view.gate_until_ms) },
        Health::Ill if view.other.can_boot() => Decision::Leave(Why::NotWell),
        Health::Ill => Decision::Wait { until_ms: None },
    }
}

fn judge_previous(view: &View) -> Option<Decision> {
    if let Some((which, end)) = view.previous {
        let state = if which == Which::Running { view.running } else { view.other };
        let counted = matches!(state, State::Counted { .. });
        if counted && end.is_without_mark() && view.give_backs < GIVE_BACKS_MAX {
            return Some(Decision::GiveBack(which));
        }
        if which == Which::Running && counted && end == End::Unhealthy && view.other.can_boot() {
            return Some(Decision::Leave(Why::WasUnhealthy));
        }
    }
    if view.other == (State::Counted { left: 0 }) && !view.is_told {
        return Some(Decision::Tell);
    }
    view.previous.is_some().then_some(Decision::Close)
}

/// Whether the hardware watchdog is fed by a loop that turns. A slot on trial is fed only as long as it may
/// still become well: what its orderly reboot cannot end, the watchdog does.
pub fn may_feed(view: &View, now_ms: u64) -> bool {
    let on_trial = matches!(view.running, State::Counted { .. }) && view.other.can_boot();
    !on_trial
        || matches!(view.health, Health::Well { .. })
        || now_ms < view.gate_until_ms.saturating_add(LEAVE_WITHIN_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet, VecDeque};

    use super::*;
    use crate::slots::entry::{Entry, Slot, TRIES, Tries};
    use crate::slots::loader;

    const STATES: [State; 6] = [
        State::Empty,
        State::Counted { left: 0 },
        State::Counted { left: 1 },
        State::Counted { left: 2 },
        State::Counted { left: 3 },
        State::Blessed,
    ];
    const ENDS: [End; 5] = [End::Orderly, End::Cut, End::Unhealthy, End::Panic, End::Watchdog];
    const GATE_UNTIL: u64 = 1_000_000;

    /// Every view that differs in what the rules look at, with every time that does.
    fn every_view() -> Vec<(View, u64)> {
        let mut previous = vec![None];
        for which in [Which::Running, Which::Other] {
            previous.extend(ENDS.map(|end| Some((which, end))));
        }
        let mut all = Vec::new();
        for running in STATES {
            for other in STATES {
                for previous in &previous {
                    for give_backs in 0..=GIVE_BACKS_MAX + 1 {
                        for is_told in [false, true] {
                            for (health, now_ms) in moments() {
                                let view = View {
                                    running,
                                    other,
                                    previous: *previous,
                                    give_backs,
                                    health,
                                    gate_until_ms: GATE_UNTIL,
                                    is_told,
                                };
                                all.push((view, now_ms));
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(all.len(), 6 * 6 * 11 * 7 * 2 * 11);
        all
    }

    fn moments() -> Vec<(Health, u64)> {
        let mut all = Vec::new();
        for now_ms in [0, GATE_UNTIL - 1, GATE_UNTIL, GATE_UNTIL + 1, u64::MAX / 2] {
            all.push((Health::Ill, now_ms));
        }
        for since_ms in [0, GATE_UNTIL - 10] {
            for passed in [0, WELL_FOR_MS - 1, WELL_FOR_MS] {
                all.push((Health::Well { since_ms }, since_ms + passed));
            }
        }
        all
    }

    #[test]
    fn a_blessed_slot_is_never_left_and_never_starved_of_the_watchdog() {
        for (view, now_ms) in every_view().into_iter().filter(|(view, _)| view.running == State::Blessed) {
            assert!(!matches!(assess(&view, now_ms), Decision::Leave(_) | Decision::Bless), "{view:?}");
            assert!(may_feed(&view, now_ms), "{view:?}");
        }
    }

    #[test]
    fn a_slot_is_left_only_on_trial_and_only_for_one_that_can_boot() {
        for (view, now_ms) in every_view() {
            if let Decision::Leave(why) = assess(&view, now_ms) {
                assert!(matches!(view.running, State::Counted { .. }) && view.other.can_boot(), "{view:?}");
                match why {
                    Why::NotWell => assert!(now_ms >= GATE_UNTIL && view.health == Health::Ill, "{view:?}"),
                    Why::WasUnhealthy => {
                        assert_eq!(view.previous, Some((Which::Running, End::Unhealthy)), "{view:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_slot_is_blessed_only_on_trial_and_after_it_was_well_for_the_stated_time() {
        for (view, now_ms) in every_view() {
            let long_enough =
                matches!(view.health, Health::Well { since_ms } if now_ms >= since_ms + WELL_FOR_MS);
            let on_trial = matches!(view.running, State::Counted { .. });
            match assess(&view, now_ms) {
                Decision::Bless => assert!(long_enough && on_trial, "{view:?}"),
                Decision::Wait { .. } => assert!(!(long_enough && on_trial), "{view:?} waits"),
                _ => {}
            }
        }
    }

    #[test]
    fn a_try_is_given_back_only_without_a_mark_and_at_most_five_times() {
        let mut given = 0;
        for (view, now_ms) in every_view() {
            let may = view.previous.is_some_and(|(which, end)| {
                let state = if which == Which::Running { view.running } else { view.other };
                matches!(state, State::Counted { .. }) && matches!(end, End::Orderly | End::Cut)
            }) && view.give_backs < 5;
            let does = matches!(assess(&view, now_ms), Decision::GiveBack(_));
            assert_eq!(does, may, "{view:?}");
            given += u32::from(does);
        }
        assert!(given > 0);
    }

    #[test]
    fn whatever_waits_for_the_time_decides_when_it_has_come() {
        for (view, now_ms) in every_view() {
            if let Decision::Wait { until_ms: Some(until_ms) } = assess(&view, now_ms) {
                assert!(until_ms > now_ms, "{view:?} would spin");
                let then = assess(&view, until_ms);
                let stays = Decision::Wait { until_ms: None };
                assert!(
                    matches!(then, Decision::Bless | Decision::Leave(_))
                        || (then == stays && !view.other.can_boot()),
                    "{view:?}: {then:?}"
                );
            }
        }
    }

    #[test]
    fn a_bad_slot_is_told_of_once_and_every_previous_boot_is_closed() {
        for (view, now_ms) in every_view() {
            let decision = assess(&view, now_ms);
            if decision == Decision::Tell {
                assert!(view.other == State::Counted { left: 0 } && !view.is_told, "{view:?}");
            }
            // Done once, each of these leads to a view in which it is not asked for again.
            let after = match decision {
                Decision::GiveBack(_) | Decision::Close => View { previous: None, ..view },
                Decision::Tell => View { is_told: true, ..view },
                _ => continue,
            };
            assert_ne!(assess(&after, now_ms), decision, "{view:?}");
        }
    }

    // The whole life of an update: slot a is blessed, slot b is new. The loader, this module and the worst
    // of worlds take turns; every path is walked.

    /// What becomes of a boot of slot b.
    const FATES: [Fate; 7] = [
        Fate::DiesEarly,
        Fate::Ends(End::Orderly),
        Fate::Ends(End::Cut),
        Fate::Ends(End::Panic),
        Fate::Ends(End::Watchdog),
        Fate::IsIll,
        Fate::IsWell,
    ];

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    enum Fate {
        /// Before stage 2: nothing is written down.
        DiesEarly,
        Ends(End),
        IsIll,
        IsWell,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        b: Entry,
        give_backs: u32,
        /// The last boot that reached stage 2.
        last: Option<(Slot, End)>,
        is_told: bool,
    }

    fn start() -> World {
        let tries = Some(Tries { left: TRIES, done: 0 });
        let b = Entry { slot: Slot::B, version: "2".into(), tries };
        World { b, give_backs: 0, last: Some((Slot::A, End::Orderly)), is_told: false }
    }

    fn a() -> Entry {
        Entry { slot: Slot::A, version: "1".into(), tries: None }
    }

    fn state(entry: &Entry) -> State {
        entry.tries.map_or(State::Blessed, |tries| State::Counted { left: tries.left })
    }

    /// One boot: the loader takes an entry, and the machine lives as `fate` says. Returns the slot that ran.
    fn boot(world: &mut World, fate: Fate) -> Slot {
        let entries = [a(), world.b.clone()];
        let slot = loader::choice(&entries).unwrap().slot;
        if slot == Slot::B {
            world.b = loader::taken(&world.b);
            if fate == Fate::DiesEarly {
                return slot;
            }
        }
        let mut view = View {
            running: state(if slot == Slot::A { &entries[0] } else { &world.b }),
            other: state(if slot == Slot::A { &world.b } else { &entries[0] }),
            previous: world
                .last
                .map(|(of, end)| (if of == slot { Which::Running } else { Which::Other }, end)),
            give_backs: if world.last.is_some_and(|(of, _)| of == Slot::B) { world.give_backs } else { 0 },
            health: if matches!(fate, Fate::IsWell) { Health::Well { since_ms: 0 } } else { Health::Ill },
            gate_until_ms: GATE_MS,
            is_told: world.is_told,
        };
        let end = match fate {
            Fate::Ends(end) => end,
            _ => End::Orderly,
        };
        let now_ms = if matches!(fate, Fate::Ends(_)) { 1 } else { GATE_MS + WELL_FOR_MS };
        world.last = Some((slot, end));
        for _ in 0..10 {
            match assess(&view, now_ms) {
                Decision::GiveBack(which) => {
                    let given = if which == Which::Running { slot } else { slot.other() };
                    assert_eq!(given, Slot::B);
                    world.give_backs += 1;
                    let tries = world.b.tries.unwrap();
                    world.b = world.b.with(Some(Tries { left: tries.left + 1, ..tries }));
                    if which == Which::Running {
                        view.running = state(&world.b)
                    } else {
                        view.other = state(&world.b)
                    }
                    view.previous = None;
                }
                Decision::Tell => {
                    world.is_told = true;
                    view.is_told = true;
                }
                Decision::Close => view.previous = None,
                Decision::Bless => {
                    world.b = world.b.with(None);
                    view.running = State::Blessed;
                }
                Decision::Leave(_) => {
                    let tries = world.b.tries.unwrap();
                    world.b = world.b.with(Some(Tries { left: 0, ..tries }));
                    world.last = Some((slot, End::Unhealthy));
                    return slot;
                }
                Decision::Wait { .. } => return slot,
            }
        }
        panic!("no end of decisions in {view:?}");
    }

    #[test]
    fn from_every_world_that_can_come_about_the_box_ends_in_a_slot_that_works() {
        let mut seen = HashSet::from([start()]);
        let mut to_do = VecDeque::from([start()]);
        while let Some(world) = to_do.pop_front() {
            assert!(world.give_backs <= GIVE_BACKS_MAX, "{world:?}");
            for fate in FATES {
                let mut next = world.clone();
                boot(&mut next, fate);
                if seen.insert(next.clone()) {
                    to_do.push_back(next);
                }
            }
            check_convergence(&world);
        }
        assert!(seen.len() > 100, "only {} worlds", seen.len());
    }

    /// From here, whatever single way slot b has of failing, slot a runs in the end, and if b works, b does.
    fn check_convergence(world: &World) {
        for fate in FATES {
            let mut next = world.clone();
            let mut slots: Vec<Slot> = (0..26).map(|_| boot(&mut next, fate)).collect();
            let last = slots.split_off(24);
            let blessed = next.b.tries.is_none();
            match fate {
                // What left b's counter at none stays as it is: only a new update brings b back.
                Fate::IsWell => assert!(blessed || last == [Slot::A, Slot::A], "{world:?} {fate:?} {next:?}"),
                _ if blessed => {}
                // Left, told of, and not tried again.
                _ => assert!(last == [Slot::A, Slot::A] && next.is_told, "{world:?} {fate:?} {next:?}"),
            }
        }
    }

    #[test]
    fn a_new_slot_boots_at_most_eight_times_without_being_blessed() {
        let boots = |fate: Fate| {
            let mut world = start();
            (0..20).filter(|_| boot(&mut world, fate) == Slot::B).count()
        };
        assert_eq!(boots(Fate::DiesEarly), 3);
        assert_eq!(boots(Fate::Ends(End::Panic)), 3);
        assert_eq!(boots(Fate::Ends(End::Watchdog)), 3);
        assert_eq!(boots(Fate::IsIll), 1);
        assert_eq!(boots(Fate::Ends(End::Cut)), 3 + 5);
        assert_eq!(boots(Fate::Ends(End::Orderly)), 3 + 5);
    }

    #[test]
    fn a_slot_on_trial_that_cannot_leave_is_ended_by_the_watchdog() {
        let unfed: BTreeSet<bool> = every_view()
            .into_iter()
            .filter(|(view, now_ms)| !may_feed(view, *now_ms))
            .map(|(view, now_ms)| {
                assert_eq!(view.health, Health::Ill);
                now_ms > view.gate_until_ms
            })
            .collect();
        assert_eq!(unfed, BTreeSet::from([true]));
    }
}
