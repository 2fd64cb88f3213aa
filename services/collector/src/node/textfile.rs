//! Metrics that others wrote into files: `*.prom` in the directories of `--textfile`, in the format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::family::{Families, Family, Kind, Label, label};
use crate::inputs::{Files, Inputs, SourceError};
use crate::scrape::text::{Format, Sample, samples};

/// textfile reads no files of the kernel's: `crate::local` reads the directories.
pub const NONE: &[Files] = &[];

/// One file as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct TextFile {
    /// Its path.
    pub path: String,
    /// When it was changed last, in seconds since the epoch.
    pub modified: f64,
    /// What it holds, or why it could not be read.
    pub text: Result<String, String>,
}

/// What the directories hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextFiles {
    /// The files in the order of their paths.
    pub files: Vec<TextFile>,
    /// A directory could not be read.
    pub has_failed: bool,
}

/// Names of labels of all files that ever were at most: each is kept for the life of the process. A file with more is
/// left out.
const LABEL_NAMES_MAX: usize = 1024;

/// The metrics of the files, `node_textfile_mtime_seconds` and `node_textfile_scrape_error`. A file that is broken or has
/// times of its own is left out as a whole, and the error is 1.
///
/// # Errors
/// Absent on a peer.
pub fn textfile(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let read = inputs.text_files.as_ref().ok_or(SourceError::Absent("a directory of text files"))?;
    let mut has_failed = read.has_failed;
    let (mut families, mut about) = (Merged::default(), Families::default());
    for file in &read.files {
        match file.text.as_deref().map_err(Clone::clone).and_then(taken) {
            Ok(found) => {
                has_failed |= families.add(found);
                let help = "Unixtime mtime of textfiles successfully read.";
                let labels = vec![label("file", &file.path)];
                about.gauge("node_textfile_mtime_seconds", help, labels, file.modified);
            }
            Err(reason) => {
                tracing::warn!(path = file.path, reason, "text file is left out");
                has_failed = true;
            }
        }
    }
    let help = "1 if there was an error opening or reading a file, 0 otherwise";
    about.gauge("node_textfile_scrape_error", help, Vec::new(), f64::from(u8::from(has_failed)));
    let mut all = families.done();
    all.extend(about.done());
    Ok(all)
}

/// A family of one file. Its help is `None` where the file has none.
struct Found {
    family: Family,
    help: Option<String>,
}

/// The families of all files by name.
#[derive(Default)]
struct Merged {
    families: BTreeMap<String, Found>,
    shown: BTreeSet<(String, &'static str, Vec<Label>)>,
}

impl Merged {
    /// Adds a file's families. Returns whether one was left out because it contradicts what another file says of it, or a
    /// series because it was there.
    fn add(&mut self, found: Vec<Found>) -> bool {
        let mut has_failed = false;
        for new in found {
            let name = new.family.name.to_string();
            let known = self.families.entry(name.clone()).or_insert_with(|| {
                let family = Family::new(new.family.name.clone(), new.family.kind, "");
                Found { family, help: new.help.clone() }
            });
            if known.family.kind != new.family.kind || (new.help.is_some() && known.help != new.help) {
                has_failed = true;
                continue;
            }
            for row in new.family.rows {
                if self.shown.insert((name.clone(), row.suffix, row.labels.clone())) {
                    known.family.rows.push(row);
                } else {
                    has_failed = true;
                }
            }
        }
        has_failed
    }

    fn done(self) -> Vec<Family> {
        let families = self.families.into_values().filter(|found| !found.family.rows.is_empty());
        let with_help = families.map(|found| {
            let help = found.help.unwrap_or_else(|| "Metric read from a text file.".into());
            Family { help: help.into(), ..found.family }
        });
        with_help.collect()
    }
}

/// What the lines of a file that begin with `# ` say of a name.
#[derive(Default)]
struct Said<'a> {
    kinds: BTreeMap<&'a str, Kind>,
    helps: BTreeMap<&'a str, String>,
}

/// A file's families, or why it is left out.
fn taken(text: &str) -> Result<Vec<Found>, String> {
    let said = said(text);
    let mut families = Families::default();
    for sample in samples(text, Format::Plain).map_err(|error| error.to_string())? {
        if sample.time_ms.is_some() {
            return Err("has times of its own, which are not taken".into());
        }
        let (name, suffix) = said.place(&sample.name);
        let kind = said.kinds.get(name).copied().unwrap_or(Kind::Unknown);
        // A counter's name ends in _total; another one is shown as what it is written like.
        let kind = if kind == Kind::Counter && !name.ends_with("_total") { Kind::Unknown } else { kind };
        families.row(name.to_owned(), kind, "", suffix, labels(&sample)?, sample.value);
    }
    let with_help = families.done().into_iter().map(|family| {
        let help = said.helps.get(&*family.name).cloned();
        Found { family, help }
    });
    Ok(with_help.collect())
}

fn said(text: &str) -> Said<'_> {
    let mut said = Said::default();
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix('#')) {
        let mut words = line.trim_start().splitn(3, [' ', '\t']);
        match (words.next(), words.next(), words.next()) {
            (Some("TYPE"), Some(name), Some(kind)) => {
                let kind = match kind.trim() {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    "summary" => Kind::Summary,
                    _ => Kind::Unknown,
                };
                said.kinds.insert(name, kind);
            }
            (Some("HELP"), Some(name), help) => {
                said.helps.insert(name, help.unwrap_or_default().replace("\\n", "\n").replace("\\\\", "\\"));
            }
            _ => {}
        }
    }
    said
}

impl Said<'_> {
    /// The family of a sample's name, and what the name has behind it.
    fn place<'b>(&self, name: &'b str) -> (&'b str, &'static str) {
        let parts = ["_bucket", "_sum", "_count"]
            .into_iter()
            .filter_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)));
        let is_part = |(stem, suffix): &(&str, &str)| match self.kinds.get(stem) {
            Some(Kind::Histogram) => true,
            Some(Kind::Summary) => *suffix != "_bucket",
            _ => false,
        };
        parts.into_iter().find(is_part).unwrap_or((name, ""))
    }
}

fn labels(sample: &Sample) -> Result<Vec<Label>, String> {
    let one = |(name, value): &(std::borrow::Cow<str>, std::borrow::Cow<str>)| {
        Ok((kept(name)?, value.clone().into_owned()))
    };
    let mut labels: Vec<Label> = sample.labels.iter().map(one).collect::<Result<_, String>>()?;
    labels.sort();
    Ok(labels)
}

/// A label's name for the life of the process.
fn kept(name: &str) -> Result<&'static str, String> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if names.len() >= LABEL_NAMES_MAX {
        return Err(format!("there are more than {LABEL_NAMES_MAX} names of labels"));
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::openmetrics;

    fn read(files: &[(&str, Result<&str, &str>)]) -> String {
        let one = |(path, text): &(&str, Result<&str, &str>)| TextFile {
            path: (*path).into(),
            modified: 7.0,
            text: text.map(str::to_owned).map_err(str::to_owned),
        };
        let text_files = Some(TextFiles { files: files.iter().map(one).collect(), has_failed: false });
        openmetrics(&textfile(&Inputs { text_files, ..Inputs::default() }).unwrap())
    }

    #[test]
    fn files_are_merged_and_keep_their_kinds_and_helps() {
        let a =
            "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{b=\"2\",a=\"1\"} 3\nplain 1\n";
        let b = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{a=\"2\"} 4\n\
                 # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
        let expected = "# TYPE h histogram\n# HELP h Metric read from a text file.\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n\
             # TYPE jobs counter\n# HELP jobs Jobs.\njobs_total{a=\"1\",b=\"2\"} 3\njobs_total{a=\"2\"} 4\n\
             # TYPE plain unknown\n# HELP plain Metric read from a text file.\nplain 1\n\
             # TYPE node_textfile_mtime_seconds gauge\n\
             # HELP node_textfile_mtime_seconds Unixtime mtime of textfiles successfully read.\n\
             node_textfile_mtime_seconds{file=\"/a\"} 7\nnode_textfile_mtime_seconds{file=\"/b\"} 7\n\
             # TYPE node_textfile_scrape_error gauge\n\
             # HELP node_textfile_scrape_error 1 if there was an error opening or reading a file, 0 otherwise\n\
             node_textfile_scrape_error 0\n# EOF\n";
        assert_eq!(read(&[("/a", Ok(a)), ("/b", Ok(b))]), expected);
    }

    #[test]
    fn a_file_that_is_broken_or_contradicts_another_is_left_out_and_said() {
        let good = "# HELP x X.\nx 1\n";
        for bad in
            [Ok("x{ 1\n"), Ok("x 1 1234\n"), Ok("# HELP x Y.\nx{a=\"1\"} 2\n"), Ok("x 2\n"), Err("denied")]
        {
            let text = read(&[("/a", Ok(good)), ("/b", bad)]);
            assert!(
                text.contains("\nx 1\n") && text.contains("node_textfile_scrape_error 1\n"),
                "{bad:?}: {text}"
            );
            assert!(!text.contains("x{a=\"1\"}"), "{text}");
        }
        assert!(textfile(&Inputs::default()).is_err(), "a peer has none");
    }
}
