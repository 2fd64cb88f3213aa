//! Who may sign an update, and what was seen of them: The Update Framework by the `tough` crate.
//!
//! The trust begins with the root.json of the verified image. What a check has seen is kept ([`store`]), so that an
//! older repository, however well it is signed, is refused later. Expiry is always enforced.

mod documents;
mod reasons;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use tough::schema::{Root, Signed};
use tough::{ExpirationEnforcement, Limits, Repository, RepositoryLoader, Transport};
use url::Url;

pub use documents::{DOCUMENT_BYTES_MAX, Documents, Outcome, outcome};
pub use store::replace;

use crate::digest::Sha256;
use crate::manifest::{MACHINE, from_name, name};
use crate::refusal::Refusal;
use crate::version::Version;
use store::Store;

/// How long all metadata together may take, whatever the repository does.
pub const METADATA_WITHIN: Duration = Duration::from_secs(120);

/// Bounds on each document: a repository of ten years has a targets.json of some 100 KiB, all others a few.
const LIMITS: Limits = Limits {
    max_root_size: 64 << 10,
    max_targets_size: DOCUMENT_BYTES_MAX,
    max_timestamp_size: 16 << 10,
    max_snapshot_size: 64 << 10,
    max_root_updates: 64,
};

/// Where trust begins, and where what was seen is kept.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The root.json of the image.
    pub root: PathBuf,
    /// The service's own directory.
    pub data: PathBuf,
}

/// A file that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// What a repository offers, all of it signed and in time.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    files: BTreeMap<String, File>,
    hash_in_name: bool,
}

impl Anchor {
    /// Loads and verifies the metadata that `transport` finds below `base`, and remembers it.
    ///
    /// # Errors
    /// Any [`Refusal`] about signatures, times, versions, and the transport.
    pub async fn load(&self, transport: impl Transport + 'static, base: &Url) -> Result<Offer, Refusal> {
        let shipped = tokio::fs::read(&self.root).await.map_err(|error| {
            Refusal::NotSetUp(format!("{}: {error}; the image holds no trusted root", self.root.display()))
        })?;
        let store = Store::open(&self.data)?;
        let root = newest_root(shipped, store.get("root.json")?);
        let loaded = timeout(METADATA_WITHIN, repository(&root, transport, base, &store)).await;
        let late = || format!("no metadata within {} s", METADATA_WITHIN.as_secs());
        let loaded =
            loaded.unwrap_or_else(|_| Err(Refusal::Transfer { name: base.to_string(), reason: late() }));
        // What was verified counts even where the next document was refused; a clock only where all was in time.
        store.commit(loaded.is_ok())?;
        Ok(Offer::of(&loaded?))
    }
}

async fn repository(
    root: &[u8],
    transport: impl Transport + 'static,
    base: &Url,
    store: &Store,
) -> Result<Repository, Refusal> {
    let below = |directory: &str| {
        base.join(directory)
            .map_err(|error| Refusal::Malformed { name: base.to_string(), reason: error.to_string() })
    };
    RepositoryLoader::new(&root, below("metadata/")?, below("targets/")?)
        .transport(transport)
        .limits(LIMITS)
        .datastore(store.work())
        .expiration_enforcement(ExpirationEnforcement::Safe)
        .load()
        .await
        .map_err(|error| reasons::refusal(error, Timestamp::now()))
}

/// The image's root, or the later one that followed from it. Starting from the image's again would let someone
/// who withholds documents bring keys back that were withdrawn since.
fn newest_root(shipped: Vec<u8>, seen: Option<Vec<u8>>) -> Vec<u8> {
    let version =
        |text: &[u8]| serde_json::from_slice::<Signed<Root>>(text).ok().map(|root| root.signed.version);
    match seen {
        Some(seen) if version(&seen) > version(&shipped) => seen,
        _ => shipped,
    }
}

impl Offer {
    fn of(repository: &Repository) -> Offer {
        let file = |target: &tough::schema::Target| {
            let hash = target.hashes.sha256.clone().into_vec();
            Some(File { bytes: target.length, sha256: Sha256::from_bytes(&hash)? })
        };
        let targets = repository.targets().signed.targets.iter();
        Offer {
            files: targets
                .filter_map(|(name, target)| Some((name.resolved().to_owned(), file(target)?)))
                .collect(),
            hash_in_name: repository.root().signed.consistent_snapshot,
        }
    }

    /// The newest version for this kind of machine, and its manifest's name.
    ///
    /// # Errors
    /// [`Refusal::WrongMachine`] when there are only updates for others, [`Refusal::Empty`] when there is none.
    pub fn newest(&self) -> Result<(Version, String), Refusal> {
        let offered = || self.files.keys().filter_map(|file| from_name(file));
        if let Some((version, machine)) = offered().filter(|(_, machine)| machine == MACHINE).max() {
            return Ok((version, name(version, &machine, "json")));
        }
        match offered().max() {
            Some((_, offered)) => Err(Refusal::WrongMachine { offered, ours: MACHINE }),
            None => Err(Refusal::Empty),
        }
    }

    /// What was signed for the file called `name`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when no such file was signed.
    pub fn file(&self, name: &str) -> Result<File, Refusal> {
        self.files.get(name).copied().ok_or_else(|| Refusal::Malformed {
            name: name.to_owned(),
            reason: "it is not among the signed files".into(),
        })
    }

    /// Where the file called `name` lies below the repository's base.
    ///
    /// # Errors
    /// As [`Offer::file`].
    pub fn path(&self, name: &str) -> Result<String, Refusal> {
        let file = self.file(name)?;
        Ok(if self.hash_in_name {
            format!("targets/{}.{name}", file.sha256)
        } else {
            format!("targets/{name}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(names: &[&str]) -> Offer {
        let file = File { bytes: 1, sha256: Sha256::of(b"") };
        Offer { files: names.iter().map(|name| ((*name).to_owned(), file)).collect(), hash_in_name: true }
    }

    #[test]
    fn the_newest_version_for_this_machine_is_taken() {
        let ours = |version: &str| name(version.parse().unwrap(), MACHINE, "json");
        let all = [ours("0.9.0"), ours("0.10.0"), "vakt-9.0.0-toaster.json".into(), "x.json".into()];
        let found = offer(&all.each_ref().map(String::as_str)).newest().unwrap();
        assert_eq!(found, ("0.10.0".parse().unwrap(), ours("0.10.0")));
        assert_eq!(offer(&["vakt-9.0.0-toaster.json"]).newest().unwrap_err().kind(), "wrong-machine");
        assert_eq!(offer(&["readme.txt"]).newest().unwrap_err().kind(), "empty");
        assert!(offer(&["a"]).path("a").unwrap().ends_with(".a"));
        assert_eq!(offer(&["a"]).path("b").unwrap_err().kind(), "malformed");
    }
}
