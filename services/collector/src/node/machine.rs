//! The machine's name and kernel.

use crate::family::{Family, Kind};
use crate::inputs::{Inputs, SourceError};

/// `node_uname_info`.
///
/// # Errors
/// When the kernel was not asked.
pub fn uname(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let uname = inputs.uname.clone().ok_or_else(|| SourceError::Other("uname is not known".into()))?;
    let labels = vec![
        ("domainname", uname.domainname),
        ("machine", uname.machine),
        ("nodename", uname.nodename),
        ("release", uname.release),
        ("sysname", uname.sysname),
        ("version", uname.version),
    ];
    let help = "Labeled system information as provided by the uname system call.";
    Ok(vec![Family::new("node_uname_info", Kind::Gauge, help).with(labels, 1.0)])
}
