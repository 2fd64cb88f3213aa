//! One SSH connection to a managed machine.
