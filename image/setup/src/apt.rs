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

/// Where the locked inputs are: archive and suite. The kernel and the boot loader are bookworm's, the firmware
/// trixie's.
const INPUT_SUITES: [(&str, &str); 3] =
    [("debian", "bookworm"), ("debian-security", "bookworm-security"), ("debian", "trixie")];

/// apt under a directory of ours.
#[derive(Debug)]
pub struct Apt {
    directory: PathBuf,
    codename: String,
}

impl Apt {
    /// Prepares the directory and the sources: the host's own suite with updates, security and
    /// backports to install from, and the suites of the locked inputs to download from. Nothing of the
    /// latter is ever installed: with `--target-release` apt would take the newest version of each
    /// dependency that it sees, and lift the host to another release.
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
        fs::write(apt.directory.join("preferences"), apt.preferences())?;
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
        for (host, suite) in self.download_only() {
            text += &line(host, suite);
        }
        text
    }

    /// Archive and suite of what is only downloaded (image/inputs.lock).
    fn download_only(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let own = self.codename.clone();
        INPUT_SUITES
            .into_iter()
            .filter(move |(_, suite)| *suite != own && *suite != format!("{own}-security"))
    }

    /// apt_preferences(5): what is only downloaded is never installed.
    fn preferences(&self) -> String {
        self.download_only()
            .map(|(_, suite)| format!("Package: *\nPin: release n={suite}\nPin-Priority: -1\n\n"))
            .collect()
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
            format!("Dir::Etc::preferences={}", at("preferences")),
            "Dir::Etc::preferencesparts=/dev/null".into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn on(codename: &str) -> Apt {
        Apt { directory: PathBuf::new(), codename: codename.to_owned() }
    }

    #[test]
    fn what_is_only_downloaded_is_in_the_sources_and_never_installed() {
        for (codename, only) in
            [("bookworm", &["trixie"][..]), ("trixie", &["bookworm", "bookworm-security"][..])]
        {
            let (sources, preferences) = (on(codename).sources(), on(codename).preferences());
            for suite in only {
                assert!(sources.contains(&format!(" {suite} main\n")), "{codename}: {sources}");
                let pin = format!("Pin: release n={suite}\nPin-Priority: -1\n");
                assert!(preferences.contains(&pin), "{codename}: {preferences}");
            }
            assert!(!preferences.contains(&format!("n={codename}\n")), "{preferences}");
            assert_eq!(sources.lines().filter(|line| line.contains(&format!(" {codename} main"))).count(), 1);
        }
    }
}
