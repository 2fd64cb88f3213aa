//! What node_exporter reads of hardware from /sys. A machine without it is no fault: the source is absent.

pub mod cores;
pub mod firmware;
pub mod power;
pub mod sensors;
pub mod storage;
