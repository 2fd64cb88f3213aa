//! `vaktctl reset …`: forget the settings, or everything.

use std::io::Write;

use serde_json::json;

use crate::box_api::BoxApi;

/// What is reset. `settings` forgets the config, users and tokens, this one's among them; `everything` the metrics,
/// logs, evidence and keys as well.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Settings,
    Everything,
}

/// A reset of a box.
#[derive(Clone, Debug, clap::Args)]
pub struct Reset {
    /// The settings (config, users, tokens), or everything (metrics, logs, evidence and keys as well)
    what: What,
    /// The box' name as its config has it, to confirm
    #[arg(long = "name", value_name = "NAME")]
    box_name: String,
}

impl Reset {
    /// Asks for it and says on `out` what comes next.
    ///
    /// # Errors
    /// When the box does not answer or refuses, as it does when the name is another.
    pub fn run(self, to: &BoxApi, out: &mut impl Write) -> anyhow::Result<()> {
        let (kind, next) = match self.what {
            What::Settings => ("settings", "its console shows a set-up code then"),
            What::Everything => ("everything", "its console shows a new fingerprint and a set-up code then"),
        };
        to.post("/api/vakt/v1/reset", &json!({ "kind": kind, "name": self.box_name }))?;
        writeln!(out, "the box restarts; {next}")?;
        Ok(())
    }
}
