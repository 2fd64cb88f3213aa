//! Loads the groups of programs and attaches them, each whole or not at all.

use std::os::fd::{AsFd, OwnedFd};

use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, include_bytes_aligned};

use crate::sys;
use crate::unavailable::Unavailable;

/// Programs that belong together and are in one object.
pub struct Group {
    /// Its name, as in `ebpf/<name>`.
    pub name: &'static str,
    object: &'static [u8],
    programs: &'static [Program],
}

/// A program of an object and the tracepoint that it goes to.
struct Program {
    name: &'static str,
    tracepoint: &'static str,
    /// The group is of no use without it.
    required: bool,
}

const fn to(name: &'static str, tracepoint: &'static str) -> Program {
    Program { name, tracepoint, required: true }
}

static RUNQLAT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/runqlat.bpf.o"));
static BLKIO: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/blkio.bpf.o"));
static TCP: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcp.bpf.o"));
static PROCESS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/process.bpf.o"));
static IRQ: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/irq.bpf.o"));

/// Every group, in the order in which they are loaded.
pub static GROUPS: [Group; 5] = [
    Group {
        name: "runqlat",
        object: RUNQLAT,
        programs: &[
            to("on_wakeup", "sched_wakeup"),
            to("on_wakeup_new", "sched_wakeup_new"),
            to("on_switch", "sched_switch"),
        ],
    },
    Group {
        name: "blkio",
        object: BLKIO,
        programs: &[to("on_issue", "block_rq_issue"), to("on_complete", "block_rq_complete")],
    },
    Group {
        name: "tcp",
        object: TCP,
        programs: &[to("on_state", "inet_sock_set_state"), to("on_retransmit", "tcp_retransmit_skb")],
    },
    Group {
        name: "process",
        object: PROCESS,
        programs: &[
            to("on_fork", "sched_process_fork"),
            to("on_exec", "sched_process_exec"),
            to("on_exit", "sched_process_exit"),
            // Kernels before 6.8 give it another argument.
            Program { name: "on_victim", tracepoint: "mark_victim", required: false },
        ],
    },
    Group {
        name: "irq",
        object: IRQ,
        programs: &[
            to("on_soft_entry", "softirq_entry"),
            to("on_soft_exit", "softirq_exit"),
            to("on_hard_entry", "irq_handler_entry"),
            to("on_hard_exit", "irq_handler_exit"),
        ],
    },
];

/// What a group that is attached consists of. Closing the links detaches it.
#[derive(Debug)]
pub struct Parts {
    /// Maps by name.
    pub maps: Vec<(String, OwnedFd)>,
    /// Programs by name.
    pub programs: Vec<(String, OwnedFd)>,
    /// What keeps the programs attached.
    pub links: Vec<OwnedFd>,
    /// Why a program that the group can do without is not there.
    pub missing: Vec<Unavailable>,
}

/// The kernel's types.
///
/// # Errors
/// [`Unavailable`] on a kernel without BTF.
pub fn types() -> Result<Btf, Unavailable> {
    Btf::from_sys_fs().map_err(|e| Unavailable::new("read /sys/kernel/btf/vmlinux", &e))
}

/// Loads a group and attaches it.
///
/// # Errors
/// [`Unavailable`] when the kernel lacks a tracepoint or refuses; nothing stays attached.
pub fn load(group: &Group, btf: &Btf) -> Result<Parts, Unavailable> {
    let name = group.name;
    let namespace = namespace();
    let mut object = EbpfLoader::new()
        .btf(Some(btf))
        .override_global("own_namespace", &namespace, false)
        .load(group.object)
        .map_err(|e| Unavailable::new(format!("load {name}"), &e))?;
    let mut parts = Parts { maps: Vec::new(), programs: Vec::new(), links: Vec::new(), missing: Vec::new() };
    for wanted in group.programs {
        match attach(&mut object, wanted, btf) {
            Ok((program, link)) => {
                parts.programs.push((wanted.name.into(), program));
                parts.links.push(link);
            }
            Err(reason) if wanted.required => return Err(reason),
            Err(reason) => parts.missing.push(reason),
        }
    }
    for (map_name, map) in object.maps() {
        let copied = fd_of(map).transpose();
        if let Some(copy) = copied.map_err(|e| Unavailable::new(format!("keep map {map_name}"), &e))? {
            parts.maps.push((map_name.to_owned(), copy));
        }
    }
    Ok(parts)
}

fn attach(object: &mut Ebpf, wanted: &Program, btf: &Btf) -> Result<(OwnedFd, OwnedFd), Unavailable> {
    let tracepoint = wanted.tracepoint;
    let failed = |error: &dyn std::error::Error| {
        Unavailable::new(format!("attach {} to {tracepoint}", wanted.name), error)
    };
    let missing = std::io::Error::other("the object lacks the program");
    let program = object.program_mut(wanted.name).ok_or_else(|| failed(&missing))?;
    let program: &mut BtfTracePoint = program.try_into().map_err(|e| failed(&e))?;
    program.load(tracepoint, btf).map_err(|e| failed(&e))?;
    let fd = program.fd().map_err(|e| failed(&e))?.as_fd().try_clone_to_owned().map_err(|e| failed(&e))?;
    let link = sys::attach(fd.as_fd()).map_err(|e| failed(&e))?;
    Ok((fd, link))
}

/// A copy of a map's descriptor; `None` for kinds that the programs do not use.
fn fd_of(map: &aya::maps::Map) -> Option<std::io::Result<OwnedFd>> {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::LruHashMap(data)
        | Map::HashMap(data) => Some(data.fd().as_fd().try_clone_to_owned()),
        _ => None,
    }
}

/// Names the network namespace of the machine that is measured, for a process in a room without a network.
const NAMESPACE: &str = "VAKT_NETNS";

/// The inode number of the network namespace whose connections are counted, as the kernel's `ns_common.inum`: the one that
/// `VAKT_NETNS` names, else that we are in; 0 when /proc is closed.
fn namespace() -> u32 {
    told_namespace().unwrap_or_else(own_namespace)
}

fn told_namespace() -> Option<u32> {
    std::env::var(NAMESPACE).ok().and_then(|number| number.parse().ok())
}

fn own_namespace() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/net").map_or(0, |found| found.ino() as u32)
}

/// Whether the network that is measured is another than that we are in, as `VAKT_NETNS` says.
pub fn is_apart() -> bool {
    told_namespace().is_some_and(|told| told != own_namespace())
}
