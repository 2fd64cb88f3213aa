//! Histories: what the machine does over time, in tables, and what it never does, whatever happens.

use proptest::prelude::*;
use vakt_peer::systemd::{ActiveState, UnitState};

use super::*;
use crate::policy;

fn demo_policy() -> Policy {
    policy::parse(
        "version: 1\nname: p\nmatch: {unit: demo.service, peers: all, for: 2s}\n\
         guards: {max_per_hour: 3, cooldown: 10s}\naction: {verb: restart, timeout: 30s}\n\
         verify: {active_for: 10s}\n",
    )
    .unwrap()
}

fn state(active: ActiveState, invocation: u32) -> UnitState {
    UnitState {
        active,
        sub: String::new(),
        load: "loaded".into(),
        result: String::new(),
        invocation: invocation.to_string(),
        restarts: 0,
        changed_us: 0,
    }
}

fn words(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::Record(step, _) => format!("{step:?}"),
        Action::RecordLater(step, detail) => match detail.get("held").or(detail.get("outcome")) {
            Some(value) => format!("{step:?}({value})").replace('"', ""),
            None => format!("{step:?}"),
        },
        Action::Call { invocation } => format!("call {invocation}"),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn phase(engine: &Engine) -> &'static str {
    match engine.phase() {
        Phase::Watching => "watching",
        Phase::Suspect { .. } => "suspect",
        Phase::Acting { .. } => "acting",
        Phase::Verifying { .. } => "verifying",
        Phase::Healthy { .. } => "healthy",
        Phase::GaveUp { .. } => "gave up",
    }
}

enum Event {
    Active(u32),
    Failed(u32),
    Starting,
    Replies(Answer),
    NotRecorded,
}
use Event::*;

/// Each row: at this second, this happens; then these actions come out, and this is the phase.
fn check(history: Vec<(u64, Event, &str, &str)>) {
    let mut engine = Engine::new(demo_policy(), []);
    for (second, event, actions, expected) in history {
        let now = second * 1_000;
        let said = match event {
            Active(invocation) => engine.seen(&state(ActiveState::Active, invocation), now),
            Failed(invocation) => engine.seen(&state(ActiveState::Failed, invocation), now),
            Starting => engine.seen(&state(ActiveState::Activating, 0), now),
            Replies(answer) => {
                engine.calling(now);
                engine.answered(answer, now)
            }
            NotRecorded => {
                engine.not_recorded(now);
                Vec::new()
            }
        };
        assert_eq!((words(&said).as_str(), phase(&engine)), (actions, expected), "at second {second}");
    }
}

#[test]
fn a_failed_unit_is_restarted_once_and_verified() {
    check(vec![
        (0, Active(1), "", "watching"),
        (1, Failed(1), "", "suspect"),
        (3, Failed(1), "Seen Decided call 1", "acting"),
        (3, Failed(1), "", "acting"),
        (4, Replies(Answer::Done), "Answered(done)", "verifying"),
        (4, Active(2), "", "verifying"),
        (13, Active(2), "", "verifying"),
        (14, Active(2), "Verified(true)", "healthy"),
        (20, Active(2), "", "healthy"),
        (21, Failed(2), "", "suspect"),
    ]);
}

#[test]
fn a_unit_that_comes_right_by_itself_is_left_alone() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (1, Active(2), "", "watching"),
        (5, Failed(2), "", "suspect"),
        (7, Failed(2), "Seen Decided call 2", "acting"),
        (7, Replies(Answer::NotCalled("active again".into())), "Answered(not called)", "watching"),
    ]);
}

#[test]
fn a_unit_that_fails_again_is_given_up_with_growing_waits() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (3, Replies(Answer::Done), "Answered(done)", "verifying"),
        (4, Failed(2), "Verified(false) Escalated", "gave up"),
        (9, Failed(2), "", "gave up"),
        (14, Failed(2), "", "suspect"),
        (16, Failed(2), "Seen Decided call 2", "acting"),
        (17, Replies(Answer::Failed("failed".into())), "Answered(failed) Escalated", "gave up"),
        (36, Failed(3), "", "gave up"),
        (37, Failed(3), "", "suspect"),
        (39, Failed(3), "Seen Decided call 3", "acting"),
        (40, Replies(Answer::Done), "Answered(done)", "verifying"),
        (41, Failed(4), "Verified(false) Escalated", "gave up"),
        (81, Failed(4), "", "suspect"),
        (83, Failed(4), "Seen Decided", "gave up"), // three in this hour
        (90, Active(5), "", "watching"),
    ]);
}

#[test]
fn a_restart_in_between_starts_the_verification_anew() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (2, Replies(Answer::Done), "Answered(done)", "verifying"),
        (3, Active(2), "", "verifying"),
        (12, Active(3), "", "verifying"),
        (13, Active(3), "", "verifying"),
        (22, Active(3), "Verified(true)", "healthy"),
    ]);
}

#[test]
fn a_unit_that_never_gets_there_is_given_up_in_time() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (2, Replies(Answer::Unknown("connection lost".into())), "Answered(unknown)", "verifying"),
        (30, Starting, "", "verifying"),
        (42, Starting, "Verified(false) Escalated", "gave up"),
    ]);
}

#[test]
fn a_call_that_never_ends_is_given_up_too() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (91, Failed(1), "", "acting"),
        (92, Active(2), "Answered(unknown)", "verifying"),
    ]);
}

#[test]
fn nothing_is_done_without_evidence() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (2, NotRecorded, "", "gave up"),
        (6, Failed(1), "", "gave up"),
        (7, Failed(1), "", "suspect"),
    ]);
}

#[test]
fn a_refusal_by_the_machine_is_escalated() {
    check(vec![
        (0, Failed(1), "", "suspect"),
        (2, Failed(1), "Seen Decided call 1", "acting"),
        (2, Replies(Answer::Refused("polkit".into())), "Answered(refused) Escalated", "gave up"),
    ]);
}

#[test]
fn calls_before_a_restart_of_the_service_count() {
    let mut engine = Engine::new(demo_policy(), [0, 20_000, 40_000]);
    engine.seen(&state(ActiveState::Failed, 1), 60_000);
    let said = engine.seen(&state(ActiveState::Failed, 1), 62_000);
    assert_eq!((words(&said).as_str(), phase(&engine)), ("Seen Decided", "gave up"));
    assert_eq!(engine.look_again_at(), Some(3_600_000));
}

proptest! {
    /// Whatever is seen and answered, and whenever: never more than three calls in any hour, never two within
    /// the cooldown, never a call for a unit that is not failed, never a second before the first ended or was given up.
    #[test]
    fn the_guards_hold_in_every_history(
        events in prop::collection::vec((0u64..60_000, 0u8..8, 0u32..4), 1..400)
    ) {
        let (mut engine, mut now, mut called) = (Engine::new(demo_policy(), []), 0, vec![]);
        for (pause, what, invocation) in events {
            now += pause;
            let failed = what < 4;
            let under_way = phase(&engine) == "acting";
            let ends = engine.look_again_at().is_some_and(|at| now >= at);
            let actions = match what {
                0..=3 => engine.seen(&state(ActiveState::Failed, invocation), now),
                4 => engine.seen(&state(ActiveState::Active, invocation), now),
                5 => engine.seen(&state(ActiveState::Activating, invocation), now),
                _ if !under_way => continue,
                6 => engine.answered(Answer::Done, now),
                _ => engine.answered(Answer::Failed("x".into()), now),
            };
            for action in actions {
                if let Action::Call { .. } = action {
                    prop_assert!(failed && (!under_way || ends));
                    prop_assert!(called.last().is_none_or(|last| now - last >= 10_000));
                    engine.calling(now);
                    called.push(now);
                    let in_hour = called.iter().filter(|at| now - **at < 3_600_000).count();
                    prop_assert!(in_hour <= 3, "{called:?}");
                }
            }
            if let Some(at) = engine.look_again_at() {
                prop_assert!(at <= now + 3_600_000 + 60_000, "it looks again within bounds");
            }
        }
    }
}
