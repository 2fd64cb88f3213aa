//! The console: a status screen on the first virtual terminal and on every serial port that exists, and a small menu
//! behind it. There is no shell.
//!
//! The screen is always shown on a virtual terminal. A serial port keeps the plain lines that init writes and shows the
//! screen once Enter is pressed there, until it is closed or nobody types for [`IDLE_MS_MAX`]. Who can press keys there
//! stands at the box: that, and a word typed as the screen asks for it, is what the menu's actions need.
//!
//! [`menu`] and [`screen`] decide and draw, purely: (state, key) to (state, action), (state, facts) to lines. [`ports`]
//! finds terminals without waiting for one, [`outlet`] writes without waiting for a slow line, [`terminal`] puts them
//! together. `run/terminals.rs` carries out what the menu asks for.

pub mod keys;
pub mod menu;
pub mod outlet;
pub mod ports;
pub mod screen;
pub mod sys;
pub mod terminal;

/// A menu that nobody types in closes after this long: who went away left it open.
pub const IDLE_MS_MAX: u64 = 120_000;

/// Characters of a line, and lines of a screen: what every terminal has.
pub const COLUMNS: usize = 79;
pub const ROWS: usize = 24;
