//! Checks a chain record by record, in constant memory.

use super::record::{Flaw, Head, Record, catalog_key};

/// Why a chain is not to be believed. `seq` is the record at which it was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record is bad in itself.
    #[error("record {seq}: {flaw}")]
    Flawed {
        /// Where.
        seq: u64,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A record is missing, doubled or out of order.
    #[error("record {expected} is missing: record {found} stands in its place")]
    Gap {
        /// The place that came next.
        expected: u64,
        /// The place that the record claims.
        found: u64,
    },
    /// The record does not follow the one before it.
    #[error("record {seq}: does not follow record {before}: its prev is another hash")]
    Unlinked {
        /// Where.
        seq: u64,
        /// The record before.
        before: u64,
    },
    /// Signed by somebody else.
    #[error("record {seq}: signed by {found}, not by {expected}")]
    Stranger {
        /// Where.
        seq: u64,
        /// Whose signature was expected.
        expected: String,
        /// Whose it is.
        found: String,
    },
    /// The chain does not hold the head that was noted earlier.
    #[error("the noted head {noted_seq} is not in the chain: {reason}")]
    NotedHead {
        /// Its place.
        noted_seq: u64,
        /// What is there instead.
        reason: String,
    },
    /// A record belongs to a repair that began after it.
    #[error("record {seq}: repair {repair} did not begin before it")]
    Repair {
        /// Where.
        seq: u64,
        /// The repair it names.
        repair: String,
    },
}

/// A chain that is being checked.
#[derive(Clone, Debug)]
pub struct Verifier {
    head: Head,
    key: Option<String>,
    noted: Option<Head>,
    noted_found: bool,
    any_key: bool,
}

impl Verifier {
    /// A check from the first record on. `key`: the public key that must have signed (64 hex digits);
    /// without, the first record's is taken. `noted`: a head that must be in the chain.
    pub fn new(key: Option<String>, noted: Option<Head>) -> Verifier {
        let noted_found = noted.as_ref().is_none_or(|head| *head == Head::empty());
        Verifier { head: Head::empty(), key, noted, noted_found, any_key: false }
    }

    /// A check that goes on after a head that is believed.
    pub fn after(head: Head) -> Verifier {
        Verifier { head, key: None, noted: None, noted_found: true, any_key: false }
    }

    /// Lets the signer change within the chain: a box that lost its key goes on with a new one, and an
    /// auditor, who checks without this, is told where.
    pub fn of_any_key(mut self) -> Verifier {
        self.any_key = true;
        self
    }

    /// Checks the next record.
    ///
    /// # Errors
    /// [`Broken`]; nothing after it means anything.
    pub fn take(&mut self, record: &Record) -> Result<(), Broken> {
        let (seq, expected) = (record.seq, self.head.seq + 1);
        if seq != expected {
            return Err(Broken::Gap { expected, found: seq });
        }
        record.check().map_err(|flaw| Broken::Flawed { seq, flaw })?;
        if record.prev != self.head.hash {
            return Err(Broken::Unlinked { seq, before: self.head.seq });
        }
        let expected = self.key.get_or_insert_with(|| record.key.clone());
        if *expected != record.key && !self.any_key {
            return Err(Broken::Stranger { seq, expected: expected.clone(), found: record.key.clone() });
        }
        if record.repair > catalog_key(seq) {
            return Err(Broken::Repair { seq, repair: record.repair.clone() });
        }
        self.head = record.head();
        match &self.noted {
            Some(noted) if noted.seq == seq && *noted != self.head => {
                let reason = format!("record {seq} has the hash {}", self.head.hash);
                Err(Broken::NotedHead { noted_seq: seq, reason })
            }
            Some(noted) if noted.seq == seq => {
                self.noted_found = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The end of the records taken so far.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The key that signed them; `None` before the first.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The whole chain was taken: was the noted head in it?
    ///
    /// # Errors
    /// [`Broken::NotedHead`] when the chain ends before it: records were cut off.
    pub fn finish(self) -> Result<Head, Broken> {
        match self.noted {
            Some(noted) if !self.noted_found => {
                let reason = format!("the chain ends at record {}: the rest was cut off", self.head.seq);
                Err(Broken::NotedHead { noted_seq: noted.seq, reason })
            }
            _ => Ok(self.head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Draft, Step};
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn draft(n: u64) -> Draft {
        let detail = json!({"n": n, "text": "a\n\"ü\""});
        Draft {
            at_ms: 1_700_000_000_000 + n,
            repair: None,
            policy: "restart-demo".into(),
            peer: "db1".into(),
            unit: "demo.service".into(),
            step: Step::Seen,
            detail: detail.as_object().cloned().unwrap_or_else(Map::new),
        }
    }

    fn chain(length: u64, seed: u8) -> Vec<Record> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let mut head = Head::empty();
        (0..length)
            .map(|n| {
                let record = Record::seal(draft(n), &head, &key).unwrap();
                head = record.head();
                record
            })
            .collect()
    }

    fn verify(records: &[Record], noted: Option<Head>) -> Result<Head, Broken> {
        let mut verifier = Verifier::new(None, noted);
        records.iter().try_for_each(|record| verifier.take(record))?;
        verifier.finish()
    }

    #[test]
    fn a_whole_chain_holds_also_after_a_trip_through_text() {
        let records = chain(5, 1);
        let text: Vec<String> = records.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
        let read: Vec<Record> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(verify(&read, None), Ok(records[4].head()));
        assert_eq!(verify(&[], None), Ok(Head::empty()));
    }

    #[test]
    fn a_missing_doubled_or_moved_record_is_found() {
        let records = chain(4, 1);
        let without_second = [&records[..1], &records[2..]].concat();
        assert_eq!(verify(&without_second, None), Err(Broken::Gap { expected: 2, found: 3 }));
        let mut moved = records.clone();
        moved.swap(1, 2);
        assert_eq!(verify(&moved, None), Err(Broken::Gap { expected: 2, found: 3 }));
    }

    #[test]
    fn a_record_of_another_chain_or_key_is_found() {
        let (ours, theirs) = (chain(3, 1), chain(3, 2));
        let mixed = [&ours[..1], &theirs[1..]].concat();
        assert_eq!(verify(&mixed, None), Err(Broken::Unlinked { seq: 2, before: 1 }));
        let key = SigningKey::from_bytes(&[2; 32]);
        let forged = Record::seal(draft(1), &ours[0].head(), &key).unwrap();
        let said = verify(&[ours[0].clone(), forged], None).unwrap_err();
        assert!(matches!(said, Broken::Stranger { seq: 2, .. }), "{said}");
    }

    #[test]
    fn a_cut_end_is_found_with_a_noted_head_only() {
        let records = chain(4, 1);
        assert!(verify(&records[..2], None).is_ok());
        let said = verify(&records[..2], Some(records[3].head())).unwrap_err();
        assert!(said.to_string().contains("cut off"), "{said}");
        assert!(verify(&records, Some(records[1].head())).is_ok());
        let other = Head { seq: 2, hash: "1".repeat(64) };
        assert!(matches!(verify(&records, Some(other)), Err(Broken::NotedHead { noted_seq: 2, .. })));
    }

    proptest! {
        /// Whatever single byte of a record's text is changed: it is refused, or it is the same record.
        #[test]
        fn any_changed_byte_is_found(at in 0usize..600, to in 0x20u8..0x7f) {
            let records = chain(2, 1);
            let mut text = serde_json::to_string(&records[1]).unwrap().into_bytes();
            let at = at % text.len();
            text[at] = to;
            let Ok(changed) = serde_json::from_slice::<Record>(&text) else { return Ok(()) };
            let held = verify(&[records[0].clone(), changed.clone()], None).is_ok();
            prop_assert_eq!(held, changed == records[1]);
        }
    }
}
