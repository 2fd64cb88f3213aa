//! An install from its first byte to the boot menu, in steps that each must hold before the next begins:
//! metadata, manifest, admission; the slot off the boot menu; pieces; reading back; the slot on the boot menu.

mod fill;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::archive::Archive;
use crate::board::{Available, Board, Phase, Source};
use crate::digest::Sha256;
use crate::fetch::Remote;
use crate::init::{Init, Stage};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, is_newer};
use crate::plan::Placed;
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::trust::{Anchor, File, Offer};
use crate::version::Version;

/// Everything that an install needs.
#[derive(Debug)]
pub struct Updater {
    /// Whom to trust.
    pub anchor: Anchor,
    /// The configured repository, or why it cannot be used.
    pub remote: Result<Remote, String>,
    /// The slot that does not run.
    pub slot: Option<Slot>,
    /// init.
    pub init: Init,
    /// Where it is shown.
    pub board: Arc<Board>,
    one: Arc<Semaphore>,
}

/// The right to check or install: there is one.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// An update that was verified, and that may be installed here.
#[derive(Debug)]
struct Admitted {
    offer: Offer,
    manifest: Manifest,
}

impl Updater {
    /// An updater that does one thing at a time.
    pub fn new(
        anchor: Anchor,
        remote: Result<Remote, String>,
        slot: Option<Slot>,
        init: Init,
        board: Arc<Board>,
    ) -> Updater {
        Updater { anchor, remote, slot, init, board, one: Arc::new(Semaphore::new(1)) }
    }

    /// The turn, when nobody has it.
    pub fn turn(&self) -> Option<Turn> {
        self.one.clone().try_acquire_owned().ok().map(Turn)
    }

    /// Looks at the repository. How that ends is on the board.
    pub async fn check(&self, _turn: Turn) {
        self.board.phase(Phase::Checking);
        let found = self.look().await;
        match &found {
            Ok(found) => tracing::info!(version = %found.version, newer = found.newer, "repository checked"),
            Err(refusal) => tracing::warn!(kind = refusal.kind(), "repository refused: {refusal}"),
        }
        self.board.checked(found.as_ref().map(Clone::clone));
    }

    /// Installs the repository's newest version. How that ends is on the board.
    pub async fn install(&self, _turn: Turn) {
        self.board.begin(Source::Repository);
        let ended = self.install_newest().await;
        self.end(&ended);
    }

    /// Goes on with the install that was interrupted: what is in the slot already is not fetched again.
    pub async fn resume(&self, _turn: Turn) {
        tracing::info!("the install that was interrupted goes on");
        self.board.resume();
        let ended = self.install_newest().await;
        self.end(&ended);
    }

    /// Installs an uploaded archive; also on the board.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub async fn upload<B>(&self, _turn: Turn, body: B) -> Result<Version, Refusal>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        self.board.begin(Source::Archive);
        let mut archive = Archive::new(body);
        let ended = self.install_archive(&mut archive).await;
        self.end(&ended);
        archive.drain().await;
        ended
    }

    fn end(&self, ended: &Result<Version, Refusal>) {
        match ended {
            Ok(version) => tracing::info!(%version, "update staged; the next boot tries it"),
            Err(refusal) => tracing::warn!(kind = refusal.kind(), "update refused: {refusal}"),
        }
        self.board.end(ended.as_ref().map(drop));
    }

    async fn look(&self) -> Result<Available, Refusal> {
        let (_, manifest) = self.newest(self.remote()?).await?;
        let Manifest { version, made, .. } = manifest;
        let running = self.init.running().await;
        let newer = running.ok().map(|running| is_newer(version, running).is_ok());
        Ok(Available { version, newer, bytes: manifest.root.bytes + manifest.uki.bytes, made })
    }

    fn remote(&self) -> Result<&Remote, Refusal> {
        self.remote.as_ref().map_err(|why| Refusal::NotSetUp(why.clone()))
    }

    fn slot(&self) -> Result<&Slot, Refusal> {
        self.slot
            .as_ref()
            .ok_or_else(|| Refusal::NotSetUp("there is no slot to write to on this machine".into()))
    }

    async fn newest(&self, remote: &Remote) -> Result<(Offer, Manifest), Refusal> {
        let offer = self.anchor.load(remote.clone(), remote.base()).await?;
        let (version, name) = offer.newest()?;
        let (file, path) = (offer.file(&name)?, offer.path(&name)?);
        manifest_fits(&name, file)?;
        let part = remote.part(&path, file, 0..file.bytes).await?;
        let mut reader = part.reader;
        let mut text = vec![0; file.bytes as usize + 1];
        let length = reader.fill(&mut text).await?;
        text.truncate(length);
        let manifest = read_manifest(&name, version, file, &text)?;
        Ok((offer, manifest))
    }

    async fn install_newest(&self) -> Result<Version, Refusal> {
        let (remote, slot) = (self.remote()?, self.slot()?);
        self.board.phase(Phase::Checking);
        let running = self.init.running().await?;
        let (offer, manifest) = self.newest(remote).await?;
        let update = self.admit(offer, manifest, running, slot)?;
        for placed in &Placed::of(&update.manifest) {
            // A repository that cannot give the files costs the box no way back.
            let name = &placed.part.name;
            remote.part(&update.offer.path(name)?, update.offer.file(name)?, 0..1).await?;
        }
        self.init.clear().await?;
        for placed in &Placed::of(&update.manifest) {
            let file = update.offer.file(&placed.part.name)?;
            let path = update.offer.path(&placed.part.name)?;
            fill::from_remote(remote, &path, file, placed, slot, &self.board).await?;
        }
        self.finish(&update.manifest, slot).await
    }

    async fn install_archive<B>(&self, archive: &mut Archive<B>) -> Result<Version, Refusal>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let slot = self.slot()?;
        self.board.phase(Phase::Checking);
        let running = self.init.running().await?;
        let documents = archive.documents().await?;
        let nowhere = Url::parse("archive:///").map_err(|error| Refusal::NotSetUp(error.to_string()))?;
        let offer = self.anchor.load(documents, &nowhere).await?;
        let (version, name) = offer.newest()?;
        let file = offer.file(&name)?;
        manifest_fits(&name, file)?;
        let entry = archive.open(&offer.path(&name)?, file.bytes).await?;
        let mut text = vec![0; file.bytes as usize];
        archive.exactly(&entry, &mut text).await?;
        archive.pad(&entry).await?;
        let manifest = read_manifest(&name, version, file, &text)?;
        let update = self.admit(offer, manifest, running, slot)?;
        self.init.clear().await?;
        self.board.phase(Phase::Writing);
        for placed in &Placed::of(&update.manifest) {
            let path = update.offer.path(&placed.part.name)?;
            fill::from_archive(archive, &path, placed, slot, &self.board).await?;
        }
        self.finish(&update.manifest, slot).await
    }

    fn admit(
        &self,
        offer: Offer,
        manifest: Manifest,
        running: Version,
        slot: &Slot,
    ) -> Result<Admitted, Refusal> {
        for part in [&manifest.root, &manifest.uki] {
            let file = offer.file(&part.name)?;
            if file != (File { bytes: part.bytes, sha256: part.sha256 }) {
                let detail = "the manifest describes another build of it".to_owned();
                return Err(Refusal::Mismatch { name: part.name.clone(), detail });
            }
        }
        manifest.admit(running, Timestamp::now(), slot.bytes())?;
        self.board.target(manifest.version, manifest.root.bytes + manifest.uki.bytes);
        Ok(Admitted { offer, manifest })
    }

    async fn finish(&self, manifest: &Manifest, slot: &Slot) -> Result<Version, Refusal> {
        self.board.phase(Phase::ReadingBack);
        slot.settle().await?;
        for placed in &Placed::of(manifest) {
            fill::read_back(placed, slot, &self.board).await?;
        }
        self.board.phase(Phase::Staging);
        let stage = Stage {
            version: manifest.version,
            uki_offset: manifest.uki_offset(),
            uki_length: manifest.uki.bytes,
            uki_sha256: manifest.uki.sha256,
        };
        self.init.stage(&stage).await?;
        Ok(manifest.version)
    }
}

fn manifest_fits(name: &str, file: File) -> Result<(), Refusal> {
    if file.bytes > MANIFEST_BYTES_MAX {
        return Err(Refusal::Oversized { name: name.to_owned(), expected: MANIFEST_BYTES_MAX });
    }
    Ok(())
}

fn read_manifest(name: &str, version: Version, file: File, text: &[u8]) -> Result<Manifest, Refusal> {
    let found = Sha256::of(text);
    if found != file.sha256 {
        let detail = format!("its SHA-256 is {found}, {} was signed for", file.sha256);
        return Err(Refusal::Mismatch { name: name.to_owned(), detail });
    }
    Manifest::parse(name, version, text)
}
