//! One record: what it holds, how it is sealed, and how a seal is checked. Format: EVIDENCE.md.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::canonical::canonical;
use super::hex;

/// Version of the format.
pub const VERSION: u32 = 1;

/// Goes before the hash into the signature, so that it can never be taken for another kind of document.
const CONTEXT: &[u8; 16] = b"vakt-evidence-1\n";

/// What happened in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A unit was found in a state that a policy repairs.
    Seen,
    /// The guards were asked.
    Decided,
    /// The verb is about to be sent.
    Called,
    /// systemd answered, or did not.
    Answered,
    /// The state after was looked at.
    Verified,
    /// A person is needed.
    Escalated,
    /// The box stopped in the middle.
    Interrupted,
}

/// What is to be recorded, before it has a place in the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// When it happened, milliseconds since 1970.
    pub at_ms: u64,
    /// The repair it belongs to; `None` opens a new one.
    pub repair: Option<String>,
    /// By which policy.
    pub policy: String,
    /// On which machine.
    pub peer: String,
    /// What.
    pub unit: String,
    /// What happened.
    pub step: Step,
    /// What was found; integers, strings and booleans only.
    pub detail: Map<String, Value>,
}

/// A sealed record. Members as in EVIDENCE.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the format.
    pub v: u32,
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Key of the repair's first record.
    pub repair: String,
    /// By which policy.
    pub policy: String,
    /// On which machine.
    pub peer: String,
    /// What.
    pub unit: String,
    /// What happened.
    pub step: Step,
    /// What was found.
    pub detail: Map<String, Value>,
    /// Hash of the record before.
    pub prev: String,
    /// Public key of the signer.
    pub key: String,
    /// Hash of everything above.
    pub hash: String,
    /// Signature of the hash.
    pub sig: String,
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Place of the last record; 0 when there is none.
    pub seq: u64,
    /// Its hash; 64 zeros when there is none.
    pub hash: String,
}

impl Head {
    /// The end of a chain without records.
    pub fn empty() -> Head {
        Head { seq: 0, hash: "0".repeat(64) }
    }
}

impl std::str::FromStr for Head {
    type Err = String;

    /// Reads `SEQ:HASH`.
    fn from_str(text: &str) -> Result<Head, String> {
        let parsed = text.split_once(':').and_then(|(seq, hash)| {
            hex::decode::<32>(hash)?;
            Some(Head { seq: seq.parse().ok()?, hash: hash.to_owned() })
        });
        parsed.ok_or_else(|| format!("{text:?} is no head; example: 12:<64 hex digits>"))
    }
}

/// The record's key in the catalog: 16 decimal digits, so that keys sort as numbers do.
pub fn catalog_key(seq: u64) -> String {
    format!("{seq:016}")
}

/// What is wrong with a record on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Of another time.
    #[error("format version is not {VERSION}")]
    Version,
    /// Its hash is not the hash of its content.
    #[error("content does not match its hash")]
    Hash,
    /// The key is no ed25519 public key.
    #[error("key is no ed25519 public key")]
    Key,
    /// The signature is not by that key over that hash.
    #[error("signature does not match")]
    Signature,
}

impl Record {
    /// Gives `draft` the place after `head` and signs it. `None` when its detail holds a fraction, which
    /// has no canonical form.
    pub fn seal(draft: Draft, head: &Head, key: &SigningKey) -> Option<Record> {
        let seq = head.seq + 1;
        let mut record = Record {
            v: VERSION,
            seq,
            at_ms: draft.at_ms,
            repair: draft.repair.unwrap_or_else(|| catalog_key(seq)),
            policy: draft.policy,
            peer: draft.peer,
            unit: draft.unit,
            step: draft.step,
            detail: draft.detail,
            prev: head.hash.clone(),
            key: hex::encode(key.verifying_key().as_bytes()),
            hash: String::new(),
            sig: String::new(),
        };
        let hash = record.content_hash()?;
        record.hash = hex::encode(&hash);
        record.sig = hex::encode(&key.sign(&signed(&hash)).to_bytes());
        Some(record)
    }

    /// Checks hash and signature; the place in the chain is [`super::Verifier`]'s to check.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn check(&self) -> Result<(), Flaw> {
        if self.v != VERSION {
            return Err(Flaw::Version);
        }
        let hash = self.content_hash().ok_or(Flaw::Hash)?;
        if hex::encode(&hash) != self.hash {
            return Err(Flaw::Hash);
        }
        let key = hex::decode(&self.key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let key = key.ok_or(Flaw::Key)?;
        let signature = hex::decode(&self.sig).map(|bytes| Signature::from_bytes(&bytes));
        let signature = signature.ok_or(Flaw::Signature)?;
        key.verify_strict(&signed(&hash), &signature).map_err(|_| Flaw::Signature)
    }

    /// The chain's end when this is its last record.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    fn content_hash(&self) -> Option<[u8; 32]> {
        let Value::Object(mut members) = serde_json::to_value(self).ok()? else { return None };
        members.remove("hash");
        members.remove("sig");
        Some(Sha256::digest(canonical(&Value::Object(members))?.as_bytes()).into())
    }
}

fn signed(hash: &[u8; 32]) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(CONTEXT);
    bytes[16..].copy_from_slice(hash);
    bytes
}
