//! Small changes of a machine config that keep everything else of the document, comments too. What comes out is text,
//! to be judged by [`super::parse`] as any other.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

/// Why a document could not be changed: it is no TOML, or something else stands where a table belongs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot be changed: {0}")]
pub struct EditError(String);

/// One interface with one static address, as people type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticAddress<'a> {
    /// The kernel's name, such as `eth0`.
    pub interface: &'a str,
    /// With its prefix length.
    pub address: &'a str,
    /// The default route's next hop; empty for none.
    pub gateway: &'a str,
    /// Name servers, separated by commas or spaces; empty leaves what is there.
    pub dns: &'a str,
}

/// A machine that is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPeer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its sshd listens.
    pub address: &'a str,
    /// Its host key.
    pub host_key: &'a str,
}

/// Sets the box' name.
///
/// # Errors
/// [`EditError`].
pub fn set_hostname(text: &str, name: &str) -> Result<String, EditError> {
    let mut document = read(text)?;
    document["hostname"] = value(name);
    Ok(document.to_string())
}

/// DHCP on every interface: no interface is listed.
///
/// # Errors
/// [`EditError`].
pub fn set_dhcp(text: &str) -> Result<String, EditError> {
    let mut document = read(text)?;
    if let Some(network) = document.get_mut("network").and_then(Item::as_table_like_mut) {
        network.remove("interface");
    }
    Ok(document.to_string())
}

/// A static address on one interface, which is the only one then.
///
/// # Errors
/// [`EditError`].
pub fn set_static(text: &str, wanted: &StaticAddress<'_>) -> Result<String, EditError> {
    let mut document = read(text)?;
    let network = table(&mut document, "network")?;
    let mut interface = Table::new();
    interface["name"] = value(wanted.interface);
    interface["address"] = value(Array::from_iter([wanted.address]));
    if !wanted.gateway.is_empty() {
        interface["gateway"] = value(wanted.gateway);
    }
    let mut interfaces = ArrayOfTables::new();
    interfaces.push(interface);
    network.insert("interface", Item::ArrayOfTables(interfaces));
    let servers: Vec<&str> =
        wanted.dns.split([',', ' ']).map(str::trim).filter(|server| !server.is_empty()).collect();
    if !servers.is_empty() {
        network.insert("dns", value(Array::from_iter(servers)));
    }
    Ok(document.to_string())
}

/// Removes the administrator.
///
/// # Errors
/// [`EditError`].
pub fn remove_admin(text: &str) -> Result<String, EditError> {
    let mut document = read(text)?;
    document.remove("admin");
    Ok(document.to_string())
}

/// Adds a peer behind those that are there.
///
/// # Errors
/// [`EditError`].
pub fn add_peer(text: &str, new: &NewPeer<'_>) -> Result<String, EditError> {
    let mut document = read(text)?;
    let mut peer = Table::new();
    for (key, said) in [("name", new.name), ("address", new.address), ("host_key", new.host_key)] {
        peer[key] = value(said);
    }
    let peers = document.entry("peer").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let peers = peers.as_array_of_tables_mut().ok_or_else(|| EditError("peer is not [[peer]]".into()))?;
    peers.push(peer);
    Ok(document.to_string())
}

/// Adds the box' SSH keys where the document leaves them to the box, so that it can move to another one.
///
/// # Errors
/// [`EditError`].
pub fn add_ssh_keys(text: &str, read_key: &str, repair_key: &str) -> Result<String, EditError> {
    let mut document = read(text)?;
    let ssh = table(&mut document, "ssh")?;
    for (name, key) in [("read_key", read_key), ("repair_key", repair_key)] {
        if !ssh.contains_key(name) {
            ssh.insert(name, value(key));
        }
    }
    Ok(document.to_string())
}

fn read(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>().map_err(|error| EditError(error.message().replace('\n', "; ")))
}

fn table<'a>(
    document: &'a mut DocumentMut,
    key: &str,
) -> Result<&'a mut dyn toml_edit::TableLike, EditError> {
    let item = document.entry(key).or_insert(Item::Table(Table::new()));
    item.as_table_like_mut().ok_or_else(|| EditError(format!("{key} is no table")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MachineConfig, Name, parse};

    const TEXT: &str = "version = 1 # ours\nhostname = \"old\"\n\n# why\n[scrape]\ninterval = \"7s\"\n\n[network]\ndns = [\"192.0.2.53\"]\n[[network.interface]]\nname = \"eth1\"\ndhcp = true\n\n[admin]\nuser = \"a\"\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm8\"\n";

    fn check(changed: Result<String, EditError>) -> MachineConfig {
        let text = changed.unwrap();
        assert!(text.contains("# ours") && text.contains("interval = \"7s\""), "{text}");
        parse(&text).unwrap()
    }

    #[test]
    fn a_change_is_made_and_the_rest_of_the_document_stays() {
        assert_eq!(check(set_hostname(TEXT, "new")).hostname.as_str(), "new");
        assert_eq!(check(remove_admin(TEXT)).admin, None);
        let dhcp = check(set_dhcp(TEXT)).network;
        assert_eq!((dhcp.interfaces.len(), dhcp.dns.len()), (0, 1));
        let wanted = StaticAddress {
            interface: "eth0",
            address: "192.0.2.9/24",
            gateway: "192.0.2.1",
            dns: "192.0.2.2, 192.0.2.3",
        };
        let fixed = check(set_static(TEXT, &wanted)).network;
        assert_eq!(fixed.interfaces[0].name.as_ref().map(Name::as_str), Some("eth0"));
        assert_eq!(fixed.dns.len(), 2);
        assert_eq!(fixed.interfaces[0].gateway, "192.0.2.1".parse().ok());
        let peer = NewPeer { name: "db1", address: "192.0.2.7:22", host_key: "ssh-ed25519 AAAAC3" };
        let both = check(add_peer(&add_peer(TEXT, &peer).unwrap(), &NewPeer { name: "db2", ..peer }));
        assert_eq!(both.peers.len(), 2);
        let keys = check(add_ssh_keys(
            TEXT,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nr\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----w",
        ));
        assert!(keys.ssh.read_key.unwrap().as_str().ends_with("r\n"));
    }

    #[test]
    fn the_smallest_document_can_be_changed_and_what_is_no_toml_cannot() {
        let wanted = StaticAddress { interface: "eth0", address: "192.0.2.9/24", gateway: "", dns: "" };
        let text = set_static("version = 1\n", &wanted).unwrap();
        assert_eq!(parse(&set_hostname(&text, "x").unwrap()).unwrap().network.interfaces.len(), 1);
        assert!(parse(&set_dhcp(&text).unwrap()).unwrap().network.interfaces.is_empty());
        assert!(set_hostname("version = ", "x").is_err());
        assert!(add_peer("peer = 1\n", &NewPeer { name: "a", address: "b", host_key: "c" }).is_err());
    }

    #[test]
    fn keys_that_the_document_has_stay() {
        let own = "version = 1\nssh = { read_key = \"-----BEGIN OPENSSH PRIVATE KEY-----own\" }\n";
        let text =
            add_ssh_keys(own, "-----BEGIN OPENSSH PRIVATE KEY-----r", "-----BEGIN OPENSSH PRIVATE KEY-----w");
        let ssh = parse(&text.unwrap()).unwrap().ssh;
        assert!(
            ssh.read_key.unwrap().as_str().ends_with("own")
                && ssh.repair_key.unwrap().as_str().ends_with('w')
        );
    }
}
