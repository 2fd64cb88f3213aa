//! Which series there are: their labels, their ids, and how matchers find them.
//!
//! A series is its set of labels. Its canonical form is the protobuf encoding of remote-write's
//! `repeated Label labels = 1`, sorted by name and without empty values: what a well-behaved sender
//! puts on the wire *is* the key, so a known series is found by one hash over the request's own bytes.

mod cardinality;
mod forget;
mod key;
mod keys;
mod labels;
mod matcher;
mod matching;
mod registry;

pub use cardinality::Cardinality;
pub use key::{LABELS_MAX, LabelError, NAME_BYTES_MAX, Pairs, RawPair, VALUE_BYTES_MAX, canonical, encode};
pub use labels::{Label, Labels, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, anchored};
pub use registry::{Registry, RegistryFull, SeriesId};
