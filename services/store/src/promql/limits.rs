//! What a query may use, and why one was refused.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Longest query text.
pub const QUERY_BYTES_MAX: usize = 16 << 10;

/// Samples that one query may read (Prometheus' `query.max-samples`). It bounds time, not memory:
/// series are read one after the other.
const SAMPLES_MAX: u64 = 50_000_000;

/// Values that one query may hold at a time: 4 million are 32 MiB.
const VALUES_MAX: usize = 4_000_000;

/// Deepest nesting; each level takes some hundred bytes of the thread's stack of 2 MiB.
const DEPTH_MAX: usize = 200;

/// Longest a query may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Why a query has no answer. The variants are Prometheus' error types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong.
    #[error("{0}")]
    BadData(String),
    /// The question is right, but what it asks cannot be done.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// The store is at fault.
    #[error("{0}")]
    Internal(String),
}

impl QueryError {
    /// An [`QueryError::Execution`].
    pub fn execution(text: impl Into<String>) -> QueryError {
        QueryError::Execution(text.into())
    }
}

/// What a query has used so far.
#[derive(Debug)]
pub struct Usage {
    samples: Cell<u64>,
    until: Instant,
}

impl Usage {
    /// A fresh allowance; the time runs from now.
    pub fn start() -> Usage {
        Usage { samples: Cell::new(0), until: Instant::now() + TIME_MAX }
    }

    /// Accounts for samples that were read.
    ///
    /// # Errors
    /// When samples or time are used up.
    pub fn read(&self, samples: usize) -> Result<(), QueryError> {
        self.samples.set(self.samples.get() + samples as u64);
        if self.samples.get() > SAMPLES_MAX {
            return Err(QueryError::execution(format!("query reads more than {SAMPLES_MAX} samples")));
        }
        if Instant::now() > self.until {
            return Err(QueryError::Timeout(format!("query took longer than {TIME_MAX:?}")));
        }
        Ok(())
    }

    /// Asks whether `series` of `steps` values each may be held.
    ///
    /// # Errors
    /// When they may not.
    pub fn hold(&self, series: usize, steps: usize) -> Result<(), QueryError> {
        if series.saturating_mul(steps) > VALUES_MAX {
            return Err(QueryError::execution(format!(
                "query would hold {series} series of {steps} steps; at most {VALUES_MAX} values are held"
            )));
        }
        Ok(())
    }

    /// Asks whether an expression may nest this deep.
    ///
    /// # Errors
    /// Past 200 levels.
    pub fn nest(&self, depth: usize) -> Result<(), QueryError> {
        if depth > DEPTH_MAX {
            return Err(QueryError::BadData(format!("query nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }
}
