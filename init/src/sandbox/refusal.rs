//! What seccomp refused, out of the kernel's records, as a line that a person can use.
//!
//! A refused call answers EPERM, and the filter asks the kernel to write it down (SECCOMP_FILTER_FLAG_LOG). The
//! kernel's audit does so in its log: `audit: type=1326 audit(…): … uid=64004 … pid=123 … syscall=165 …`.
//! Each service's uid is its own, so the record names the service.

use std::collections::BTreeMap;

use vakt_wire::role::Role;

use super::names::name_of;

/// One service and call is told of at most this often; what came between is counted. A service that tries
/// for ever must not fill the log.
const TOLD_EVERY_MS: u64 = 60_000;

/// Pairs of service and call that are kept apart: more than any service has calls. Past it nothing is told until
/// the oldest has had its time.
const PAIRS_MAX: usize = 512;

/// AUDIT_SECCOMP (include/uapi/linux/audit.h).
const AUDIT_SECCOMP: &str = "type=1326";

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose it was.
    pub role: Role,
    /// Its number.
    pub call: i64,
    /// The process, as the machine numbers it.
    pub pid: i32,
    /// The thread's own name: it tells one of the service's from a program that was brought into its room.
    pub thread: String,
}

impl Refusal {
    /// Reads a record of /dev/kmsg. `None` for one about something else, or about no service of ours.
    pub fn parse(record: &str) -> Option<Refusal> {
        let text = record.split_once(';')?.1.strip_prefix("audit: ")?;
        let mut words = text.split_whitespace();
        if words.next()? != AUDIT_SECCOMP {
            return None;
        }
        let field = |name: &str| words.clone().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let role = Role::of_uid(field("uid")?.parse().ok()?).filter(|role| *role != Role::Init)?;
        Some(Refusal {
            role,
            call: field("syscall")?.parse().ok()?,
            pid: field("pid")?.parse().ok()?,
            thread: field("comm")?.trim_matches('"').to_owned(),
        })
    }
}

/// When what was told last.
#[derive(Debug, Default)]
pub struct Teller {
    told: BTreeMap<(Role, i64), Told>,
}

#[derive(Debug)]
struct Told {
    at_ms: u64,
    /// Refusals since then that nobody was told of.
    silent: u64,
}

impl Teller {
    /// The line for a refusal, or `None` when the same was told of within [`TOLD_EVERY_MS`].
    pub fn line(&mut self, now_ms: u64, refusal: &Refusal) -> Option<String> {
        let key = (refusal.role, refusal.call);
        let recent = |told: &Told| now_ms < told.at_ms + TOLD_EVERY_MS;
        if let Some(told) = self.told.get_mut(&key).filter(|told| recent(told)) {
            told.silent += 1;
            return None;
        }
        let silent = self.told.remove(&key).map_or(0, |told| told.silent);
        if self.told.len() == PAIRS_MAX {
            self.told.retain(|_, told| recent(told));
        }
        if self.told.len() == PAIRS_MAX {
            return None;
        }
        self.told.insert(key, Told { at_ms: now_ms, silent: 0 });
        let call = name_of(refusal.call);
        let message = format!("seccomp refused {call}(2) to {}", refusal.role);
        let line = serde_json::json!({
            "level": "WARN", "message": message, "service": refusal.role.name(), "call": call,
            "pid": refusal.pid, "thread": refusal.thread, "untold": silent,
        });
        Some(line.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "5,358,28239906867,-;audit: type=1326 audit(1795366877.753:2): auid=4294967295 uid=64004 \
        gid=64004 ses=4294967295 pid=1433 comm=\"vakt-store\" exe=\"/usr/bin/vakt-store\" sig=0 arch=c000003e \
        syscall=165 compat=0 ip=0x7fd649ebb829 code=0x50000\n";

    #[test]
    fn a_record_of_the_kernel_names_service_call_and_process() {
        assert_eq!(
            Refusal::parse(RECORD),
            Some(Refusal { role: Role::Store, call: 165, pid: 1433, thread: "vakt-store".into() })
        );
        for other in [
            RECORD.replace("uid=64004", "uid=1000"),
            RECORD.replace("uid=64004", "uid=0"),
            RECORD.replace("1326", "1327"),
            RECORD.replace("audit: ", "x: "),
            RECORD.replace("syscall=165", ""),
            "6,1,2,-;eth0: link up".into(),
            String::new(),
        ] {
            assert_eq!(Refusal::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn the_same_refusal_is_told_once_a_minute_with_what_came_between() {
        let (mut teller, refusal) = (Teller::default(), Refusal::parse(RECORD).unwrap());
        let first = teller.line(0, &refusal).unwrap();
        assert!(first.contains("\"untold\":0") && first.contains("\"service\":\"store\""), "{first}");
        for now_ms in [1, 2, TOLD_EVERY_MS - 1] {
            assert_eq!(teller.line(now_ms, &refusal), None);
        }
        let other = Refusal { call: 1, ..refusal.clone() };
        assert!(teller.line(3, &other).is_some());
        assert!(teller.line(TOLD_EVERY_MS, &refusal).unwrap().contains("\"untold\":3"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut teller = Teller::default();
        let refusal = |call| Refusal { role: Role::Web, call, pid: 1, thread: String::new() };
        let told =
            (0..PAIRS_MAX as i64 + 10).filter(|call| teller.line(0, &refusal(*call)).is_some()).count();
        assert_eq!(told, PAIRS_MAX);
        assert!(teller.line(TOLD_EVERY_MS, &refusal(9999)).is_some());
    }
}
