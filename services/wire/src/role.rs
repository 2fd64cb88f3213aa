//! Who is who: each service's fixed uid, the table that every `SO_PEERCRED` check reads.

use std::fmt;

/// A process of the appliance. Its uid is the same on every box, so that state moves between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// PID 1 and its own children that run as root.
    Init,
    /// DHCP and addresses.
    Network,
    /// Metrics of peers and targets in.
    Collector,
    /// Logs in, at rest, and queried.
    Log,
    /// Metrics at rest and the catalog.
    Store,
    /// Policies and repairs.
    Repair,
    /// Pages and the public API.
    Web,
    /// Signed updates, written to the slot that does not run.
    Update,
    /// The clock, by NTP.
    Time,
    /// What leaves the box.
    Egress,
    /// Metrics of this box in.
    Probe,
}

impl Role {
    /// Every role, in start order.
    pub const ALL: [Role; 11] = [
        Role::Init,
        Role::Network,
        Role::Log,
        Role::Store,
        Role::Collector,
        Role::Repair,
        Role::Web,
        Role::Update,
        Role::Time,
        Role::Egress,
        Role::Probe,
    ];

    /// The uid and gid of the role. 64001 and up: above Debian's range for users (to 59999) and
    /// systemd's dynamic ones (61184 to 65519 are handed out only where DynamicUser= is used, and
    /// systemd skips uids that are in use), below `nobody`.
    pub const fn uid(self) -> u32 {
        match self {
            Role::Init => 0,
            Role::Network => 64001,
            Role::Collector => 64002,
            Role::Log => 64003,
            Role::Store => 64004,
            Role::Repair => 64005,
            Role::Web => 64006,
            Role::Update => 64007,
            Role::Time => 64008,
            Role::Egress => 64009,
            Role::Probe => 64010,
        }
    }

    /// The name in manifests, paths and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Init => "init",
            Role::Network => "network",
            Role::Collector => "collector",
            Role::Log => "log",
            Role::Store => "store",
            Role::Repair => "repair",
            Role::Web => "web",
            Role::Update => "update",
            Role::Time => "time",
            Role::Egress => "egress",
            Role::Probe => "probe",
        }
    }

    /// The role of a uid, or `None` for a stranger.
    pub fn of_uid(uid: u32) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.uid() == uid)
    }

    /// The role of a name, or `None`.
    pub fn of_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// May a caller with `uid` use an endpoint that is for `allowed`? Root and the server's own uid
/// always may: root owns the box, and alone on an ordinary host everything runs as one user.
pub fn permits(uid: u32, own_uid: u32, allowed: &[Role]) -> bool {
    uid == 0 || uid == own_uid || Role::of_uid(uid).is_some_and(|role| allowed.contains(&role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_uid_and_name() {
        for role in Role::ALL {
            assert_eq!(Role::of_uid(role.uid()), Some(role));
            assert_eq!(Role::of_name(role.name()), Some(role));
        }
        assert_eq!(Role::of_uid(1000), None);
    }

    #[test]
    fn strangers_and_unlisted_roles_are_refused() {
        let own = Role::Store.uid();
        assert!(permits(0, own, &[]));
        assert!(permits(own, own, &[]));
        assert!(permits(Role::Web.uid(), own, &[Role::Web]));
        assert!(!permits(Role::Log.uid(), own, &[Role::Web]));
        assert!(!permits(1000, own, &Role::ALL));
    }
}
