//! apt with its own list of sources, so that the host's configuration stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::cache;
use crate::process::run;

/// Package lists younger than this are good enough for what is locked or installed.
const LISTS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Debian's keys, in the package `debian-archive-keyring` that every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt under a directory of ours.
#[derive(Debug)]
pub struct Apt {
    directory: PathBuf,
    codename: String,
}

impl Apt {
    /// Prepares the directory and the sources: the host's own suite with updates, security and
    /// backports, and trixie for the newer firmware.
    ///
    /// # Errors
    /// When this is no Debian, or the directory cannot be written.
    pub fn open() -> anyhow::Result<Apt> {
        let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let value = |key: &str| {
            let found = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.map(|value| value.trim_matches('"').to_owned())
        };
        anyhow::ensure!(value("ID").as_deref() == Some("debian"), "this set-up knows Debian only");
        let codename = value("VERSION_CODENAME").context("/etc/os-release names no release")?;
        let directory = cache::directory().join("apt");
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(directory.join(part))
                .with_context(|| format!("cannot make {}", directory.join(part).display()))?;
        }
        let apt = Apt { directory, codename };
        fs::write(apt.directory.join("sources.list"), apt.sources())?;
        Ok(apt)
    }

    fn sources(&self) -> String {
        let name = &self.codename;
        let line = |host: &str, suite: &str| {
            format!("deb [signed-by={KEYRING}] http://deb.debian.org/{host} {suite} main\n")
        };
        let mut text = line("debian", name) + &line("debian", &format!("{name}-updates"));
        text += &line("debian-security", &format!("{name}-security"));
        if self.has_backports() {
            text += &line("debian", &format!("{name}-backports"));
        }
        if name != "trixie" {
            text += &line("debian", "trixie");
        }
        text
    }

    /// Whether the host's release needs its backports here.
    pub fn has_backports(&self) -> bool {
        self.codename == "bookworm"
    }

    /// The backports suite, where it is used.
    pub fn backports_suite(&self) -> Option<String> {
        self.has_backports().then(|| format!("{}-backports", self.codename))
    }

    /// `apt-get` with our sources. The host's own suite wins unless a version or suite is named.
    pub fn get(&self) -> Command {
        self.command("apt-get")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.directory.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache::archives={}", at("archives")),
            format!("APT::Default-Release={}", self.codename),
            // The directory belongs to whoever builds, not to _apt.
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// Fetches the package lists when they are older than a day.
    ///
    /// # Errors
    /// When apt cannot.
    pub fn update(&self) -> anyhow::Result<()> {
        let stamp = self.directory.join("updated");
        let sources = fs::read(self.directory.join("sources.list"))?;
        let age = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .map(|at| SystemTime::now().duration_since(at));
        let fresh = matches!(age, Ok(Ok(age)) if age < LISTS_AGE_MAX);
        if fresh && fs::read(&stamp).is_ok_and(|old| old == sources) {
            return Ok(());
        }
        run(self.get().arg("update")).context("cannot fetch the package lists")?;
        fs::write(&stamp, sources).context("cannot note the update")
    }

    /// Fetches the package lists whatever their age.
    ///
    /// # Errors
    /// When apt cannot.
    pub fn update_now(&self) -> anyhow::Result<()> {
        let _ = fs::remove_file(self.directory.join("updated"));
        self.update()
    }

    /// The versions of a package that can be had, newest first.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub fn versions(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let output = run(self.command("apt-cache").args(["madison", package]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect())
    }

    /// The names of packages that match a regular expression of apt's.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub fn names(&self, pattern: &str) -> anyhow::Result<Vec<String>> {
        let output = run(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| Some(line.split(" - ").next()?.trim().to_owned())).collect())
    }

    /// Downloads one version of a package into `directory` and returns the file.
    ///
    /// # Errors
    /// When apt does not have it.
    pub fn download(&self, package: &str, version: &str, directory: &Path) -> anyhow::Result<PathBuf> {
        let fresh = tempfile::tempdir_in(directory)?;
        run(self.get().args(["download", &format!("{package}={version}")]).current_dir(fresh.path()))
            .with_context(|| format!("cannot download {package} {version}"))?;
        let found = fs::read_dir(fresh.path())?.flatten().map(|entry| entry.path()).next();
        let found = found.with_context(|| format!("apt brought no file for {package}"))?;
        let kept = directory.join(found.file_name().unwrap_or_default());
        fs::rename(&found, &kept)?;
        Ok(kept)
    }
}
