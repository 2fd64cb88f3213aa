//! Histories: a world that carries out the actions, driven by hand and at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::manifest::{self, Manifest};

fn manifests(after: &[(&str, &[&str])]) -> BTreeMap<String, Manifest> {
    after
        .iter()
        .map(|(name, after)| {
            let after: Vec<String> = after.iter().map(|s| format!("{s:?}")).collect();
            let text =
                format!("description='x'\nexec=['/x']\nafter=[{}]\nstart_timeout_s=10", after.join(","));
            ((*name).to_owned(), manifest::parse(name, &text).unwrap())
        })
        .collect()
}

fn small() -> Supervisor {
    Supervisor::new(&manifests(&[("store", &[]), ("log", &[]), ("web", &["store", "log"])]))
}

fn names(actions: &[Action]) -> String {
    actions.iter().map(|action| format!("{action:?} ")).collect()
}

#[test]
fn a_service_starts_when_all_it_starts_after_have_been_ready() {
    let mut supervisor = small();
    assert_eq!(names(&supervisor.step(0, &Event::Tick)), "Spawn(\"log\") Spawn(\"store\") ");
    assert_eq!(supervisor.step(1, &Event::Ready("store".into())), []);
    assert_eq!(names(&supervisor.step(2, &Event::Ready("log".into()))), "Spawn(\"web\") ");
}

#[test]
fn a_service_that_failed_holds_nobody_up() {
    let mut supervisor = small();
    supervisor.step(0, &Event::Tick);
    supervisor.step(1, &Event::Ready("log".into()));
    assert_eq!(names(&supervisor.step(2, &Event::Exited("store".into()))), "Spawn(\"web\") ");
}

#[test]
fn a_service_that_dies_comes_back_after_its_delay() {
    let mut supervisor = small();
    supervisor.step(0, &Event::Tick);
    supervisor.step(10, &Event::Ready("store".into()));
    assert_eq!(supervisor.step(1000, &Event::Exited("store".into())), []);
    assert_eq!(supervisor.next_deadline_ms(), Some(1200));
    assert_eq!(supervisor.step(1199, &Event::Tick), []);
    assert_eq!(names(&supervisor.step(1200, &Event::Tick)), "Spawn(\"store\") ");
    assert_eq!(supervisor.services()["store"].restarts, 1);
}

#[test]
fn a_service_that_keeps_dying_reaches_the_ceiling_and_a_stable_life_clears_the_record() {
    let mut supervisor = small();
    let mut now = 0;
    supervisor.step(now, &Event::Tick);
    for _ in 0..20 {
        supervisor.step(now, &Event::Exited("store".into()));
        now += RESTART_DELAY_MS_MAX;
        supervisor.step(now, &Event::Tick);
    }
    assert_eq!(supervisor.services()["store"].failures, 20);
    supervisor.step(now, &Event::Exited("store".into()));
    assert_eq!(supervisor.services()["store"].state, State::Backoff { until_ms: now + RESTART_DELAY_MS_MAX });
    now += RESTART_DELAY_MS_MAX;
    supervisor.step(now, &Event::Tick);
    supervisor.step(now, &Event::Ready("store".into()));
    supervisor.step(now + STABLE_AFTER_MS, &Event::Exited("store".into()));
    assert_eq!(supervisor.services()["store"].failures, 1);
}

#[test]
fn a_service_that_never_gets_ready_is_killed_and_tried_again() {
    let mut supervisor = small();
    supervisor.step(0, &Event::Tick);
    assert_eq!(names(&supervisor.step(10_000, &Event::Tick)), "Kill(\"log\") Kill(\"store\") ");
    supervisor.step(10_001, &Event::Exited("store".into()));
    assert_eq!(names(&supervisor.step(10_201, &Event::Tick)), "Spawn(\"store\") ");
}

#[test]
fn stopping_goes_backwards_through_the_start_order_and_then_finishes_once() {
    let mut supervisor = small();
    supervisor.step(0, &Event::Tick);
    supervisor.step(1, &Event::Ready("store".into()));
    supervisor.step(2, &Event::Ready("log".into()));
    supervisor.step(3, &Event::Ready("web".into()));
    assert_eq!(names(&supervisor.step(4, &Event::Stop(Goal::PowerOff))), "Terminate(\"web\") ");
    assert_eq!(supervisor.step(5, &Event::Stop(Goal::Reboot)), [], "the first wish counts");
    let both = supervisor.step(6, &Event::Exited("web".into()));
    assert_eq!(names(&both), "Terminate(\"log\") Terminate(\"store\") ");
    assert_eq!(supervisor.step(7, &Event::Exited("log".into())), []);
    assert_eq!(supervisor.step(8, &Event::Exited("store".into())), [Action::Finish(Goal::PowerOff)]);
    assert_eq!(supervisor.step(9, &Event::Tick), []);
}

#[test]
fn a_service_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let mut supervisor = Supervisor::new(&manifests(&[("store", &[])]));
    supervisor.step(0, &Event::Tick);
    supervisor.step(1, &Event::Stop(Goal::Reboot));
    assert_eq!(supervisor.step(STOP_TIMEOUT_MS, &Event::Tick), []);
    assert_eq!(names(&supervisor.step(STOP_TIMEOUT_MS + 1, &Event::Tick)), "Kill(\"store\") ");
    let last = supervisor.step(STOP_TIMEOUT_MS + 2, &Event::Exited("store".into()));
    assert_eq!(last, [Action::Finish(Goal::Reboot)]);
}

#[test]
fn a_restart_in_order_is_no_failure_and_starts_the_service_again_at_once() {
    let mut supervisor = Supervisor::new(&manifests(&[("store", &[]), ("web", &["store"])]));
    supervisor.step(0, &Event::Tick);
    supervisor.step(1, &Event::Ready("store".into()));
    supervisor.step(2, &Event::Ready("web".into()));
    assert_eq!(names(&supervisor.step(3, &Event::Restart("store".into()))), "Terminate(\"store\") ");
    assert_eq!(supervisor.step(4, &Event::Restart("store".into())), [], "it stops already");
    assert_eq!(names(&supervisor.step(5, &Event::Exited("store".into()))), "Spawn(\"store\") ");
    assert_eq!(supervisor.services()["store"].failures, 0);
    assert!(matches!(supervisor.services()["web"].state, State::Ready { .. }), "others go on");
}

/// What a random history may do next.
#[derive(Clone, Debug)]
enum Deed {
    Wait(u64),
    Exit(usize),
    Ready(usize),
    Restart(usize),
    Stop,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0u64..40_000).prop_map(Deed::Wait),
        4 => (0usize..3).prop_map(Deed::Exit),
        4 => (0usize..3).prop_map(Deed::Ready),
        2 => (0usize..3).prop_map(Deed::Restart),
        1 => Just(Deed::Stop),
    ]
}

proptest! {
    /// Whatever happens: states change only along the table, a process is spawned only where none
    /// is, signals go only to processes, and after a wish to stop everything ends in bounded time.
    #[test]
    fn no_history_breaks_the_rules(deeds in proptest::collection::vec(deed(), 0..60)) {
        const NAMES: [&str; 3] = ["log", "store", "web"];
        let mut supervisor = small();
        let mut alive: BTreeSet<String> = BTreeSet::new();
        let mut now = 0;
        let mut finished = 0;
        let mut play = |supervisor: &mut Supervisor, alive: &mut BTreeSet<String>, now: u64, event: Event| {
            if let Event::Exited(name) = &event { alive.remove(name); }
            // Every edge is held against the table by `Service::go`.
            let actions = supervisor.step(now, &event);
            for action in actions {
                match action {
                    Action::Spawn(name) => assert!(alive.insert(name.clone()), "{name} was spawned twice"),
                    Action::Terminate(name) | Action::Kill(name) => assert!(alive.contains(&name), "{name} is dead"),
                    Action::Finish(_) => { assert!(alive.is_empty()); finished += 1; }
                }
            }
        };
        play(&mut supervisor, &mut alive, now, Event::Tick);
        for deed in deeds {
            let event = match deed {
                Deed::Wait(ms) => { now += ms; Event::Tick }
                Deed::Exit(index) if alive.contains(NAMES[index]) => Event::Exited(NAMES[index].into()),
                Deed::Exit(_) => Event::Tick,
                Deed::Ready(index) => Event::Ready(NAMES[index].into()),
                Deed::Restart(index) => Event::Restart(NAMES[index].into()),
                Deed::Stop => Event::Stop(Goal::PowerOff),
            };
            play(&mut supervisor, &mut alive, now, event);
        }
        play(&mut supervisor, &mut alive, now, Event::Stop(Goal::PowerOff));
        for _ in 0..8 {
            now += STOP_TIMEOUT_MS;
            play(&mut supervisor, &mut alive, now, Event::Tick);
            if let Some(name) = alive.first().cloned() {
                play(&mut supervisor, &mut alive, now, Event::Exited(name));
            }
        }
        assert_eq!(finished, 1, "everything stopped exactly once");
    }
}
