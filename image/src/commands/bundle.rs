//! `vakt-image bundle`.

use std::path::PathBuf;
use std::process::ExitCode;

use vakt_image::bundle::{Signing, Update, Validity, block_on, keys, publish, write_archive};
use vakt_image::process::step;

use super::{default_output, workspace};

/// Adds an image to a repository of updates, and signs the repository anew.
#[derive(Debug, clap::Args)]
pub struct Bundle {
    /// The directory that `vakt-image build` wrote; default `target/image`.
    #[arg(long)]
    image: Option<PathBuf>,
    /// The directory that `vakt-image keys` made; default: the development keys.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// The repository: `metadata/` and `targets/` are made in it, or added to.
    #[arg(long)]
    output: PathBuf,
    /// Also write the update as one file, for the box' Updates page.
    #[arg(long)]
    archive: Option<PathBuf>,
    /// Days that the signatures of the updates themselves are good for.
    #[arg(long, default_value_t = 365)]
    targets_days: i64,
    /// Days that it is good for that these are the newest ones; sign anew before.
    #[arg(long, default_value_t = 90)]
    online_days: i64,
}

impl Bundle {
    /// Makes it.
    ///
    /// # Errors
    /// When the image or keys are missing, or a file cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let image = self.image.unwrap_or_else(default_output);
        let keys = match self.keys {
            Some(keys) => keys,
            None => block_on(keys::development(&workspace()))?,
        };
        step("update: manifest");
        let update = Update::of_image(&image)?;
        let work = tempfile::tempdir()?;
        let files = update.write(work.path())?;
        step("repository: targets and signatures");
        let validity = Validity { targets_days: self.targets_days, online_days: self.online_days };
        block_on(publish(&self.output, &files, &Signing::with(&keys), validity))?;
        println!("{}", self.output.display());
        if let Some(archive) = self.archive {
            write_archive(&self.output, &files, &archive)?;
            println!("{}", archive.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
