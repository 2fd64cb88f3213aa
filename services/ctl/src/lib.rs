//! vaktctl, the operator's command line. It talks to the API of a box' web service and to nothing else.

pub mod backup;
pub mod box_api;
pub mod config;
pub mod https;
pub mod reset;
pub mod update;
