//! What a virtual machine's host hands in at power-on: SMBIOS OEM strings and QEMU's fw_cfg, with systemd's
//! names (systemd.system-credentials(7)).
//!
//! | name | what it does |
//! |---|---|
//! | `vakt.config` | the machine config, as from a `VAKTCFG` disk: taken once |
//! | `system.hostname` | the name of a box that has none yet |
//! | `passwd.hashed-password.admin` | the administrator of a box that has no config yet, as argon2id in PHC form |
//!
//! Whoever can set these owns the machine's memory already, so they are trusted as a config disk is. A wrong one is
//! named and passed over. Names that are not ours are passed over in silence, for a host may set others for
//! everybody: `ssh.authorized_keys.root` (there is no sshd and no root to sign in) and plain-text passwords among
//! them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use vakt_wire::base64;
use vakt_wire::config::{self, BYTES_MAX, Hostname, PasswordHash};

/// SMBIOS structures as the firmware made them, without a kernel module.
const SMBIOS: &str = "/sys/firmware/dmi/tables/DMI";

/// fw_cfg, through module qemu_fw_cfg.
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials";

/// What an OEM string of ours begins with; the second form is base64.
const PLAIN: &str = "io.systemd.credential:";
const BINARY: &str = "io.systemd.credential.binary:";

/// SMBIOS tables that are read: version 3 has 32-bit lengths, and a config of the largest size fits as base64.
const SMBIOS_BYTES_MAX: u64 = 2 << 20;

/// Credentials that are looked at; a host has a dozen.
const CREDENTIALS_MAX: usize = 64;

/// Type 11 of SMBIOS: OEM strings. Type 127 ends the table.
const OEM_STRINGS: u8 = 11;
const END_OF_TABLE: u8 = 127;

/// A credential as it was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw {
    name: String,
    value: Vec<u8>,
}

/// What is used of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    config: Option<String>,
    hostname: Option<Hostname>,
    admin: Option<PasswordHash>,
}

/// Reads all there are, with a line for each that cannot be used. fw_cfg wins over SMBIOS.
pub fn read() -> (Credentials, Vec<String>) {
    let mut refused = Vec::new();
    let mut all = fw_cfg(Path::new(FW_CFG), &mut refused);
    let mut table = Vec::new();
    // A machine without SMBIOS (a container, an ARM board) has none to read.
    if let Ok(file) = File::open(SMBIOS) {
        let _ = file.take(SMBIOS_BYTES_MAX).read_to_end(&mut table);
    }
    for text in oem_strings(&table) {
        match from_string(&text) {
            Some(Ok(raw)) => all.push(raw),
            Some(Err(reason)) => refused.push(reason),
            None => {}
        }
    }
    let (credentials, more) = judge(all);
    refused.extend(more);
    (credentials, refused)
}

impl Credentials {
    /// The document that a box without a config (`is_new`) or with one is offered, and what it comes from.
    /// A box that has a config is not given a new name or administrator by a string that stayed in its host's
    /// settings; a whole config is, once.
    pub fn document(&self, is_new: bool) -> Option<(String, String)> {
        let mut text = match &self.config {
            Some(text) => text.clone(),
            None if is_new && (self.hostname.is_some() || self.admin.is_some()) => config::EMPTY.into(),
            None => return None,
        };
        // What the document itself says stays; a document that cannot be read is refused as a whole later.
        let says =
            |key: &str| toml::from_str::<toml::Table>(&text).map_or(true, |table| table.contains_key(key));
        let (named, owned) = (says("hostname"), says("admin"));
        if let Some(hostname) = self.hostname.as_ref().filter(|_| !named) {
            text = format!("hostname = \"{hostname}\"\n{text}");
        }
        if let Some(hash) = self.admin.as_ref().filter(|_| !owned) {
            text += &format!("\n[admin]\nuser = \"admin\"\npassword_hash = \"{}\"\n", hash.as_str());
        }
        Some(("a credential of the machine's host".to_owned(), text))
    }
}

fn fw_cfg(directory: &Path, refused: &mut Vec<String>) -> Vec<Raw> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries.flatten().take(CREDENTIALS_MAX) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut value = Vec::new();
        let read = File::open(entry.path().join("raw"))
            .and_then(|file| file.take(BYTES_MAX as u64 + 1).read_to_end(&mut value));
        match read {
            Ok(_) => found.push(Raw { name, value }),
            Err(error) => refused.push(format!("credential {name}: cannot read it: {error}")),
        }
    }
    found
}

/// The strings of all type 11 structures (DMTF DSP0134, 6.1 and 7.12): a header of type, length and handle, then
/// strings that end in a zero each, then another zero. A table that is cut short gives what came before.
fn oem_strings(table: &[u8]) -> Vec<String> {
    let (mut rest, mut found) = (table, Vec::new());
    while let [kind, length, ..] = *rest {
        let Some(strings) = rest.get(usize::from(length).max(4)..).filter(|_| kind != END_OF_TABLE) else {
            break;
        };
        let Some(end) = strings.windows(2).position(|pair| pair == [0, 0]) else { break };
        if kind == OEM_STRINGS {
            let texts = strings[..end].split(|byte| *byte == 0).filter(|text| !text.is_empty());
            found.extend(texts.map(|text| String::from_utf8_lossy(text).into_owned()));
        }
        rest = &strings[end + 2..];
    }
    found.truncate(CREDENTIALS_MAX);
    found
}

/// A credential, why it is none, or `None` for a string of somebody else.
fn from_string(text: &str) -> Option<Result<Raw, String>> {
    let (rest, is_binary) = match (text.strip_prefix(PLAIN), text.strip_prefix(BINARY)) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return None,
    };
    let Some((name, value)) = rest.split_once('=') else {
        let name: String = rest.chars().take(64).collect();
        return Some(Err(format!(
            "credential {name:?}: has no \"=\"; example: {PLAIN}system.hostname=guard"
        )));
    };
    let value = if is_binary { base64::decode(value.as_bytes()) } else { Some(value.as_bytes().to_vec()) };
    let refusal = || format!("credential {name}: is no base64, which {BINARY} needs");
    Some(value.map(|value| Raw { name: name.to_owned(), value }).ok_or_else(refusal))
}

/// What of `all` is used, and a line for each that is ours and wrong. The first of a name wins.
fn judge(all: Vec<Raw>) -> (Credentials, Vec<String>) {
    let (mut used, mut refused) = (Credentials::default(), Vec::new());
    for Raw { name, value } in all {
        if !["vakt.config", "system.hostname", "passwd.hashed-password.admin"].contains(&name.as_str()) {
            continue;
        }
        if value.len() > BYTES_MAX {
            refused.push(format!("credential {name}: has more than {BYTES_MAX} bytes"));
            continue;
        }
        let Ok(text) = String::from_utf8(value) else {
            refused.push(format!("credential {name}: is no UTF-8 text"));
            continue;
        };
        let taken = match name.as_str() {
            "vakt.config" => {
                used.config.get_or_insert(text);
                Ok(())
            }
            "system.hostname" => Hostname::try_from(text.trim().to_owned()).map(|hostname| {
                used.hostname.get_or_insert(hostname);
            }),
            _ => PasswordHash::try_from(text.trim().to_owned()).map(|hash| {
                used.admin.get_or_insert(hash);
            }),
        };
        if let Err(reason) = taken {
            refused.push(format!("credential {name}: {reason}"));
        }
    }
    (used, refused)
}

#[cfg(test)]
mod tests {
    use vakt_wire::config;

    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm8";

    fn structure(kind: u8, strings: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind, 5, 0x10, 0, strings.len() as u8];
        strings.iter().for_each(|text| bytes.extend([text.as_bytes(), &[0]].concat()));
        bytes.push(0);
        if strings.is_empty() {
            bytes.push(0);
        }
        bytes
    }

    fn judged(strings: &[&str]) -> (Credentials, Vec<String>) {
        let parsed: Vec<_> = strings.iter().filter_map(|text| from_string(text)).collect();
        let mut refused: Vec<String> = parsed.iter().filter_map(|one| one.clone().err()).collect();
        let (used, more) = judge(parsed.into_iter().flatten().collect());
        refused.extend(more);
        (used, refused)
    }

    #[test]
    fn oem_strings_are_found_in_the_tables_and_a_cut_table_is_no_harm() {
        let table = [
            structure(1, &["QEMU", "io.systemd.credential:a=not of type 11"]),
            structure(2, &[]),
            structure(OEM_STRINGS, &["one", "io.systemd.credential:b=2"]),
            structure(OEM_STRINGS, &["three"]),
            structure(END_OF_TABLE, &[]),
            structure(OEM_STRINGS, &["behind the end"]),
        ]
        .concat();
        assert_eq!(oem_strings(&table), ["one", "io.systemd.credential:b=2", "three"]);
        for cut in 0..table.len() {
            oem_strings(&table[..cut]);
        }
    }

    #[test]
    fn a_whole_config_is_offered_to_every_box_and_a_name_only_to_a_new_one() {
        let (config, refused) = judged(&["io.systemd.credential.binary:vakt.config=dmVyc2lvbiA9IDEK"]);
        assert_eq!(refused, [""; 0]);
        assert_eq!(config.document(false).unwrap().1, "version = 1\n");
        let (name, _) = judged(&["io.systemd.credential:system.hostname=guard"]);
        assert_eq!(name.document(false), None);
        let text = name.document(true).unwrap().1;
        assert_eq!(config::parse(&text).unwrap().hostname.as_str(), "guard");
        assert_eq!(Credentials::default().document(true), None);
    }

    #[test]
    fn name_and_administrator_complete_a_config_and_never_contradict_it() {
        let name = "io.systemd.credential:system.hostname=guard";
        let admin = format!("io.systemd.credential:passwd.hashed-password.admin={HASH}");
        let whole = "io.systemd.credential:vakt.config=version = 1\n[scrape]\ninterval_s = 7\n";
        let (used, refused) = judged(&[name, &admin, whole]);
        let config = config::parse(&used.document(false).unwrap().1).unwrap();
        assert_eq!((config.hostname.as_str(), config.scrape.interval.get()), ("guard", 7));
        assert_eq!((config.admin.unwrap().user.as_str(), refused.len()), ("admin", 0));
        let own = "io.systemd.credential:vakt.config=version = 1\nhostname = \"own\"\n";
        let config = config::parse(&judged(&[name, own]).0.document(true).unwrap().1).unwrap();
        assert_eq!(config.hostname.as_str(), "own");
    }

    #[test]
    fn a_wrong_credential_is_named_and_the_others_are_taken() {
        let (used, refused) = judged(&[
            "io.systemd.credential:system.hostname=a b",
            "io.systemd.credential:passwd.hashed-password.admin=$y$j9T$x$y",
            "io.systemd.credential.binary:vakt.config=*",
            "io.systemd.credential:system.hostname",
            "io.systemd.credential:ssh.authorized_keys.root=ssh-ed25519 AAAA",
            "another vendor's string",
        ]);
        assert_eq!(used, Credentials::default());
        let named: Vec<&str> = refused.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(
            named,
            ["vakt.config:", "\"system.hostname\":", "system.hostname:", "passwd.hashed-password.admin:"]
        );
    }

    #[test]
    fn fw_cfg_files_are_read_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("system.hostname")).unwrap();
        std::fs::write(directory.path().join("system.hostname/raw"), "guard").unwrap();
        std::fs::create_dir_all(directory.path().join("broken")).unwrap();
        let mut refused = Vec::new();
        let found = fw_cfg(directory.path(), &mut refused);
        assert_eq!(found, [Raw { name: "system.hostname".into(), value: b"guard".to_vec() }]);
        assert!(refused[0].starts_with("credential broken: cannot read it"), "{refused:?}");
    }
}
