//! What comes in: the forms in which samples are sent, read into one [`WriteRequest`].
//!
//! | form | room |
//! |---|---|
//! | remote-write 1.0 | [`remote_write`] |
//! | remote-write 2.0 | [`remote_write2`] |
//! | native histograms of both | [`histogram`] |
//! | OTLP metrics, in protobuf and JSON | [`otlp`] |
//! | Prometheus' text and OpenMetrics | [`text`] |
//! | CSV | [`csv`] |
//! | packed bodies | [`body`] |
//!
//! [`onward`] writes it again, for engines elsewhere.
//!
//! A request is read whole before anything of it is stored, so a malformed one changes nothing. Nothing here waits,
//! touches a file or asks for the time.

pub mod body;
mod csv;
mod histogram;
pub mod onward;
mod otlp;
mod remote_write;
mod remote_write2;
mod request;
mod text;

pub use csv::CsvForm;
pub use otlp::Deltas;
pub use request::{Frame, Metadata, Observed, RequestError, WriteRequest};
pub use text::TextForm;
