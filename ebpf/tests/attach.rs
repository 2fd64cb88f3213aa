//! The real kernel.

use std::sync::mpsc;
use std::thread;

use vakt_ebpf::RunQueue;

/// Two threads wake each other this often.
const ROUNDS: u64 = 2000;

#[test]
fn the_run_queue_is_measured_or_the_reason_is_given() {
    let queue = match RunQueue::attach() {
        Ok(queue) => queue,
        Err(reason) => {
            eprintln!("run-queue latency is unavailable here: {reason}");
            assert!(reason.to_string().starts_with("cannot "), "{reason}");
            return;
        }
    };
    let before = queue.read().expect("the map is there");
    let ((ping, pinged), (pong, ponged)) = (mpsc::channel(), mpsc::channel());
    let echo = thread::spawn(move || {
        for round in pinged {
            if pong.send(round).is_err() {
                break;
            }
        }
    });
    for round in 0..ROUNDS {
        ping.send(round).expect("the other thread listens");
        assert_eq!(ponged.recv(), Ok(round));
    }
    drop(ping);
    echo.join().expect("the other thread ends");
    let after = queue.read().expect("the map is there");
    let counted = after.count() - before.count();
    assert!(counted >= ROUNDS / 10, "{counted} waits counted in {ROUNDS} rounds");
    assert!(after.sum_ns > before.sum_ns);
}
