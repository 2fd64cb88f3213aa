//! Functions of instant vectors.

pub(super) mod absent;
pub(super) mod arithmetic;
mod classic;
pub(super) mod histograms;
pub(super) mod info;
pub(super) mod labels;
pub(super) mod sorting;
