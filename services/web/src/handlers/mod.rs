//! The pages: each file holds what its page shows, how that is found out, and its tests.

pub mod backup;
pub mod boots;
pub mod config;
pub mod host;
pub mod logs;
pub mod machine;
pub mod outside;
pub mod overview;
pub mod problems;
pub mod range;
pub mod repairs;
pub mod set_up;
pub mod sign_in;
pub mod sign_out;
pub mod updates;
pub mod welcome;
