//! The bound on what was received and is not yet durable, and how it is shared out.
//!
//! Everything is counted in bytes, a short message as [`MESSAGE_COST_MIN`] of them: so one number bounds
//! bytes and messages alike. Who waits is let in by order of arrival; nobody is overtaken for good.

use tokio::sync::{Semaphore, SemaphorePermit};

/// What a message counts at least. A row costs its time whatever its length: 4 MiB of ten-byte lines would
/// be 420,000 rows of work, and are 65,536 this way.
pub const MESSAGE_COST_MIN: usize = 64;

/// Bytes of syslog and kernel messages that are received but not yet durable, over lanes, ring and the
/// unsynced end of the append log. This is the size that a kill can lose; 65,536 messages at most.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// The share of [`IN_FLIGHT_BYTES_MAX`] for senders that can wait, so that a bulk sender does not make UDP
/// lose messages.
pub const PATIENT_BYTES_MAX: usize = 3 << 20;

/// The same for lines of HTTP inserts, apart from syslog: 16,384 lines at most, and four of the longest.
pub const INSERT_BYTES_MAX: usize = 1 << 20;

// A message that never fits would wait for ever.
const _: () = assert!(crate::row::VALUE_BYTES_MAX < INSERT_BYTES_MAX && INSERT_BYTES_MAX < PATIENT_BYTES_MAX);

/// Whose share a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A sender that cannot wait.
    Datagram,
    /// Syslog and kernel messages that can stand where they are.
    Patient,
    /// HTTP inserts.
    Insert,
}

/// What some messages take of each bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    flow: usize,
    patient: usize,
    insert: usize,
}

impl Held {
    /// Counts one more message.
    pub fn add(&mut self, share: Share, cost: usize) {
        match share {
            Share::Datagram => self.flow += cost,
            Share::Patient => {
                self.flow += cost;
                self.patient += cost;
            }
            Share::Insert => self.insert += cost,
        }
    }

    /// Counts what others take.
    pub fn add_all(&mut self, other: Held) {
        self.flow += other.flow;
        self.patient += other.patient;
        self.insert += other.insert;
    }

    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.flow + self.insert
    }
}

/// The gate is closed: nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Places that were had, and go back unless they are [`Places::kept`].
#[must_use = "places go back when this is dropped"]
#[derive(Debug)]
pub struct Places<'a> {
    permits: [Option<SemaphorePermit<'a>>; 2],
}

impl Places<'_> {
    /// The message is inside now; [`Gate::leave`] gives its places back.
    pub fn kept(self) {
        self.permits.into_iter().flatten().for_each(SemaphorePermit::forget);
    }
}

/// The gate before the lanes.
#[derive(Debug)]
pub struct Gate {
    flow: Semaphore,
    patient: Semaphore,
    insert: Semaphore,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            flow: Semaphore::new(IN_FLIGHT_BYTES_MAX),
            patient: Semaphore::new(PATIENT_BYTES_MAX),
            insert: Semaphore::new(INSERT_BYTES_MAX),
        }
    }
}

impl Gate {
    /// What a message of `bytes` counts.
    pub fn cost(bytes: usize) -> usize {
        bytes.clamp(MESSAGE_COST_MIN, INSERT_BYTES_MAX)
    }

    /// Places for a message that cannot wait; `None` when there are none now.
    pub fn try_enter(&self, cost: usize) -> Option<Places<'_>> {
        let permit = self.flow.try_acquire_many(cost as u32).ok()?;
        Some(Places { permits: [Some(permit), None] })
    }

    /// Waits for places. May be dropped while it waits: nothing is held then.
    ///
    /// # Errors
    /// [`Closed`] after [`Gate::close`].
    pub async fn enter(&self, share: Share, cost: usize) -> Result<Places<'_>, Closed> {
        let permits = match share {
            Share::Datagram => [Some(acquire(&self.flow, cost).await?), None],
            Share::Patient => {
                let patient = acquire(&self.patient, cost).await?;
                [Some(patient), Some(acquire(&self.flow, cost).await?)]
            }
            Share::Insert => [Some(acquire(&self.insert, cost).await?), None],
        };
        Ok(Places { permits })
    }

    /// What was held is durable, or was given up.
    pub fn leave(&self, held: Held) {
        self.flow.add_permits(held.flow);
        self.patient.add_permits(held.patient);
        self.insert.add_permits(held.insert);
    }

    /// Lets nobody in any more; who waits is told.
    pub fn close(&self) {
        self.flow.close();
        self.patient.close();
        self.insert.close();
    }

    /// Bytes inside now.
    pub fn bytes(&self) -> usize {
        let taken = |semaphore: &Semaphore, all: usize| all.saturating_sub(semaphore.available_permits());
        taken(&self.flow, IN_FLIGHT_BYTES_MAX) + taken(&self.insert, INSERT_BYTES_MAX)
    }
}

async fn acquire(places: &Semaphore, cost: usize) -> Result<SemaphorePermit<'_>, Closed> {
    // A cost is at most INSERT_BYTES_MAX, far below 4 GiB.
    places.acquire_many(cost as u32).await.map_err(|_| Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(gate: &Gate, cost: usize) -> usize {
        std::iter::from_fn(|| gate.try_enter(cost).map(Places::kept)).count()
    }

    #[test]
    fn short_messages_are_bounded_by_their_number() {
        let gate = Gate::default();
        assert_eq!(fill(&gate, Gate::cost(10)), IN_FLIGHT_BYTES_MAX / MESSAGE_COST_MIN);
        assert_eq!(gate.bytes(), IN_FLIGHT_BYTES_MAX);
        let mut held = Held::default();
        held.add(Share::Datagram, 2 * MESSAGE_COST_MIN);
        gate.leave(held);
        assert_eq!(fill(&gate, Gate::cost(1)), 2);
    }

    #[tokio::test]
    async fn inserts_have_places_however_full_syslog_is() {
        let gate = Gate::default();
        fill(&gate, Gate::cost(1000));
        gate.enter(Share::Insert, Gate::cost(1000)).await.unwrap().kept();
    }

    #[tokio::test]
    async fn who_waits_longest_enters_first() {
        let gate = std::sync::Arc::new(Gate::default());
        fill(&gate, Gate::cost(0));
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        for cost in [5000, 100] {
            let (waiter, told) = (gate.clone(), told.clone());
            tokio::spawn(async move {
                waiter.enter(Share::Patient, cost).await.unwrap().kept();
                told.send(cost).unwrap();
            });
            // Runs the task until it waits.
            tokio::task::yield_now().await;
        }
        let mut held = Held::default();
        held.add(Share::Datagram, 200);
        gate.leave(held);
        tokio::task::yield_now().await;
        assert!(order.try_recv().is_err(), "the smaller one does not overtake");
        held.add(Share::Datagram, 4800);
        gate.leave(held);
        assert_eq!((order.recv().await, order.recv().await), (Some(5000), Some(100)));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_nothing() {
        let gate = Gate::default();
        let before = gate.bytes();
        let places = gate.enter(Share::Patient, 500).await.unwrap();
        assert_eq!(gate.bytes(), 500);
        drop(places);
        assert_eq!(gate.bytes(), before);
    }

    #[tokio::test]
    async fn a_closed_gate_tells_who_waits() {
        let gate = Gate::default();
        fill(&gate, Gate::cost(0));
        let (entered, ()) = tokio::join!(gate.enter(Share::Patient, 100), async { gate.close() });
        assert_eq!(entered.err(), Some(Closed));
    }
}
