//! `[network]` and `[time]`: interfaces, VLANs, bonds, name servers, who may reach which port, time servers.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::value::{Authorities, Cidr, Hostname, Name};

/// `[network]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Name servers; those of DHCP and of router advertisements are used when this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Take the host name that DHCP gives instead of `hostname`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hostname_from_dhcp: bool,
    /// `[[network.interface]]`; empty means DHCP and router advertisements on every Ethernet interface.
    #[serde(default, rename = "interface", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// `[[network.limit]]`; a port without one answers to everybody.
    #[serde(default, rename = "limit", skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// `[[network.interface]]`: named by `name` or by `mac`; a VLAN or a bond is made, and needs a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The kernel's name, such as `eth0`, or the one that a VLAN or bond gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The hardware address, where the kernel's names may change places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Ask a DHCP server for an IPv4 address.
    #[serde(default, alias = "dhcp4")]
    pub dhcp: bool,
    /// Make IPv6 addresses from router advertisements. Default: yes, where the interface has addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_ra: Option<bool>,
    /// Static addresses with their prefix length.
    #[serde(default, rename = "address", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// The default route's next hop, of either family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The IPv6 default route's next hop, beside an IPv4 one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// Largest packet in bytes; the driver's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// This is a VLAN on another interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// This is a bond of other interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
}

impl Interface {
    /// What this entry is about: the name, or the hardware address.
    pub fn port(&self) -> Option<Port> {
        self.name.clone().map(Port::Name).or(self.mac.map(Port::Mac))
    }

    /// Whether router advertisements are taken.
    pub fn takes_advertisements(&self) -> bool {
        self.accept_ra.unwrap_or(true)
    }
}

/// `vlan = { parent = "eth0", id = 20 }` (IEEE 802.1Q).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// The interface that carries it, by name or hardware address.
    pub parent: Port,
    /// 1 to 4094.
    pub id: VlanId,
}

/// `bond = { members = ["eth0", "eth1"], primary = "eth0", miimon_ms = 100 }`: active-backup, one member carries
/// the traffic and another takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    /// The interfaces, by name or hardware address.
    pub members: Vec<Port>,
    /// The member that carries the traffic whenever it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<Port>,
    /// Milliseconds between two looks at the members' links, 10 to 10000.
    #[serde(default)]
    pub miimon_ms: Miimon,
}

/// `[[network.limit]]`: a port of the box that only some may reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The port, both of TCP and of UDP.
    pub port: u16,
    /// Who may reach it; nobody when it is empty.
    pub from: Vec<Cidr>,
}

/// `[time]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// `[[time.server]]`; those that DHCP names (option 42) are used when this is empty.
    #[serde(default, rename = "server", skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<TimeServer>,
}

/// `[[time.server]]`: one NTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeServer {
    /// Its name or address.
    pub host: TimeHost,
    /// Keys by TLS first, then authenticated packets (RFC 8915). Without it packets are plain.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nts: bool,
    /// UDP port, or with `nts` the TCP port of the key exchange. Default: 123, or 4460.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Certificates that the server may be known by, in PEM; the public ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
}

/// An interface by its name or hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Port {
    /// The kernel's name.
    Name(Name),
    /// The hardware address.
    Mac(Mac),
}

impl TryFrom<String> for Port {
    type Error = String;

    fn try_from(text: String) -> Result<Port, String> {
        if text.contains(':') {
            return Mac::try_from(text).map(Port::Mac);
        }
        Name::try_from(text).map(Port::Name)
    }
}

impl From<Port> for String {
    fn from(port: Port) -> String {
        port.to_string()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Name(name) => name.fmt(f),
            Port::Mac(mac) => mac.fmt(f),
        }
    }
}

/// A hardware address such as `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Mac, String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
            .collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.map(Mac).ok_or_else(|| format!("{text:?} is no hardware address such as \"52:54:00:12:34:56\""))
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A number between bounds: `$what` names it in errors.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($kind:ty), $least:literal, $most:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($kind);

        impl $name {
            /// The number.
            pub fn get(self) -> $kind {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = String;

            fn try_from(number: i64) -> Result<$name, String> {
                if ($least..=$most).contains(&number) {
                    Ok($name(number as $kind))
                } else {
                    Err(format!(concat!("{} is not ", $what, " from ", $least, " to ", $most), number))
                }
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                value.0.into()
            }
        }
    };
}

bounded!(
    /// Bytes of the largest packet: from IPv6's least (RFC 8200) to the largest jumbo frame.
    Mtu(u32), 1280, 9216, "an mtu in bytes"
);
bounded!(
    /// A VLAN's number.
    VlanId(u16), 1, 4094, "a vlan id"
);
bounded!(
    /// Milliseconds between two looks at a bond's links.
    Miimon(u32), 10, 10000, "a time in milliseconds"
);

impl Default for Miimon {
    fn default() -> Miimon {
        Miimon(100)
    }
}

/// A time server's name or address (IPv6 without brackets).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeHost(String);

impl TimeHost {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TimeHost {
    type Error = String;

    fn try_from(text: String) -> Result<TimeHost, String> {
        let good = text.parse::<IpAddr>().is_ok() || Hostname::try_from(text.clone()).is_ok();
        if good {
            return Ok(TimeHost(text));
        }
        Err(format!("{text:?} is no host such as \"ntp.example.org\" or \"192.0.2.1\""))
    }
}

impl From<TimeHost> for String {
    fn from(host: TimeHost) -> String {
        host.0
    }
}
