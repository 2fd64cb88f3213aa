//! A peer's files over SSH: the one command that prints them, and the way back into [`Inputs`].
//!
//! The command needs a POSIX shell, `grep`, `cat`, `date`, `uname`, and for file systems `stat` and `timeout` as
//! coreutils and busybox have them; `systemctl` where systemd runs. One `grep` prints all files, each line with its
//! path, so that their number costs no processes. It changes nothing on the peer and leaves nothing behind.

use std::collections::BTreeSet;

use crate::inputs::{Inputs, LINK, STEADY, Space, Uname, Usage};
use crate::node::SOURCES;
use crate::node::filesystem::{MOUNTS, TYPES_EXCLUDED};

/// Begins each part of the output; the part's name follows.
const MARK: &str = "=vakt= ";

/// What a user who is not root is told instead of PID 1's mount table.
const OWN_MOUNTS: &str = "self/mountinfo";

/// File systems that are asked at most: each is a process on the peer.
const SPACES_MAX: usize = 64;

/// Seconds that each file system has to answer; a dead NFS server never does, and its asker is killed.
const SPACE_SECONDS: u32 = 2;

/// The command for the peer's shell.
pub fn command() -> String {
    let mut text = String::from("LC_ALL=C; export LC_ALL\n");
    let (mut files, mut links) = (BTreeSet::new(), BTreeSet::new());
    for wanted in SOURCES.iter().flat_map(|source| source.files) {
        for name in wanted.names {
            let name = if *name == MOUNTS { OWN_MOUNTS } else { name };
            match name.trim_end_matches(STEADY).strip_suffix(LINK) {
                Some(link) => links.insert(format!("{}/{link}", wanted.folder)),
                None => files.insert(format!("{}/{}", wanted.folder, name.trim_end_matches(STEADY))),
            };
        }
    }
    let (files, links) = (Vec::from_iter(files).join(" "), Vec::from_iter(links).join(" "));
    // A pattern without a match stays as it is written and names no file, of which grep -s says nothing.
    text.push_str(&format!("echo '{MARK}@files'; grep -s '' /dev/null {files}\n"));
    text.push_str(&format!(
        "echo '{MARK}@links'; for link in {links}; do [ -e \"$link\" ] && echo \"$link $(readlink -f \"$link\")\"; done\n"
    ));
    text.push_str(&format!("echo '{MARK}@time'; date '+%s.%N %z %Z'\n"));
    text.push_str(&format!(
        "echo '{MARK}@uname'; uname -s; uname -r; uname -v; uname -m; uname -n; cat /proc/sys/kernel/domainname\n"
    ));
    text.push_str(&format!(
        "[ -d /run/systemd/system ] && echo '{MARK}@units' && \
         timeout -s KILL {SPACE_SECONDS} systemctl list-units --all --full --plain --no-legend --no-pager | cut -c 1-300\n"
    ));
    let skipped = TYPES_EXCLUDED.join("|");
    text.push_str(&format!(
        "echo '{MARK}@space'; n=0\n\
         while read -r device point type rest; do\n\
         case $type in {skipped}) continue;; esac\n\
         n=$((n+1)); [ $n -gt {SPACES_MAX} ] && break\n\
         ( path=$(printf '%b' \"$point\")\n\
         if said=$(timeout -s KILL {SPACE_SECONDS} stat -f -c '%S %b %f %a %c %d' \"$path\" 2>&1)\n\
         then echo \"$point $said\"; else echo \"$point !\" $said; fi ) &\n\
         done </proc/self/mounts\n\
         wait\n"
    ));
    text
}

/// What the command printed, as inputs. Parts that are missing or broken are left out; the sources that need
/// them say so.
pub fn inputs(output: &str) -> Inputs {
    let mut inputs = Inputs::default();
    for part in output.split(MARK).skip(1) {
        let Some((name, text)) = part.split_once('\n') else { continue };
        match name {
            "@files" => files(text, &mut inputs),
            "@links" => {
                for (link, target) in text.lines().filter_map(|line| line.split_once(' ')) {
                    let slot = inputs.files.slot(&format!("{link}{LINK}"));
                    inputs.files.set(slot, target.as_bytes());
                }
            }
            "@time" => (inputs.now, inputs.zone) = time(text),
            "@uname" => inputs.uname = uname(text),
            "@units" => inputs.units = Some(text.to_owned()),
            "@space" => inputs.spaces = text.lines().filter_map(space).collect(),
            _ => {}
        }
    }
    inputs
}

/// Lines of `path:line`, put together again. Paths have no colon, but for udev's notes, which have one.
fn files(text: &str, inputs: &mut Inputs) {
    for line in text.lines() {
        let skipped =
            if line.starts_with("/run/udev/data/") { line.find(':').map_or(0, |at| at + 1) } else { 0 };
        let Some(at) = line[skipped..].find(':') else { continue };
        let (path, content) = (&line[..skipped + at], &line[skipped + at + 1..]);
        let name = path.strip_prefix("/proc/").unwrap_or(path);
        let name = if name == OWN_MOUNTS { MOUNTS } else { name };
        let slot = inputs.files.slot(name);
        inputs.files.add_line(slot, content);
    }
}

/// `1795338637.123456789 +0100 CET`. busybox knows no nanoseconds and prints the rest alone.
fn time(text: &str) -> (Option<f64>, Option<(i64, String)>) {
    let mut words = text.split_whitespace();
    let now = words.next().and_then(|word| word.trim_end_matches(".%N").trim_end_matches('.').parse().ok());
    let zone = words.next().zip(words.next()).and_then(|(east, name)| {
        let (hours, minutes) = (east.get(1..3)?.parse::<i64>().ok()?, east.get(3..5)?.parse::<i64>().ok()?);
        let seconds = hours * 3600 + minutes * 60;
        Some((if east.starts_with('-') { -seconds } else { seconds }, name.to_owned()))
    });
    (now, zone)
}

fn uname(text: &str) -> Option<Uname> {
    let mut lines = text.lines().map(str::to_owned);
    Some(Uname {
        sysname: lines.next()?,
        release: lines.next()?,
        version: lines.next()?,
        machine: lines.next()?,
        nodename: lines.next()?,
        domainname: lines.next().unwrap_or_default(),
    })
}

/// One line: the mount point as /proc/mounts has it, then `block blocks free available files files-free`, or `!` and
/// what went wrong.
fn space(line: &str) -> Option<Space> {
    let (point, rest) = line.split_once(' ')?;
    let usage = match rest.strip_prefix('!') {
        Some(_) => Err("mountpoint timeout".to_owned()),
        None => {
            let numbers: Vec<f64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
            let &[block, blocks, free, available, files, files_free] = numbers.as_slice() else {
                return None;
            };
            let (size, free, available) = (blocks * block, free * block, available * block);
            Ok(Usage { size, free, available, files, files_free, is_read_only: false })
        }
    };
    Some(Space { mount_point: unescaped(point), usage })
}

/// Undoes the octal escapes of /proc/mounts (space, tab, newline, backslash).
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::SourceError;

    #[test]
    fn the_command_gives_every_source_what_it_needs() {
        // This machine plays the peer: the same shell, the same files.
        let output = std::process::Command::new("sh").arg("-c").arg(command()).output().unwrap();
        assert!(output.status.success());
        let inputs = inputs(&String::from_utf8(output.stdout).unwrap());
        for source in SOURCES {
            let parsed = (source.parse)(&inputs);
            let is_off = source.name == "pressure" && !std::path::Path::new("/proc/pressure/io").exists();
            assert!(
                parsed.is_ok() || is_off || matches!(parsed, Err(SourceError::Absent(_))),
                "{source:?}: {parsed:?}"
            );
        }
        for needed in ["stat", "net/dev", MOUNTS, "sys/kernel/random/poolsize", "/sys/class/net/lo/mtu"] {
            assert!(inputs.files.get(needed).is_some(), "{needed}");
        }
        let here = std::fs::read_to_string("/proc/sys/kernel/random/poolsize").unwrap();
        assert_eq!(&inputs.files["sys/kernel/random/poolsize"], here);
        let root = inputs.spaces.iter().find(|space| space.mount_point == "/");
        if let Some(root) = root {
            assert!(root.usage.as_ref().unwrap().size > 0.0);
        }
    }

    #[test]
    fn broken_output_leaves_parts_out() {
        let text = "noise\n=vakt= @files\n/proc/loadavg:0.1 0.2 0.3 1/2 3\nbroken\n/proc/stat:a:b\n/proc/stat:\n\
                    /run/udev/data/b8:0:E:X=1\n=vakt= @time\nx\n=vakt= @space\n\
                    / 4096 10 5 4 100 50\n/mnt\\040a ! stat: killed\nbroken line\n=vakt= @uname\nLinux\n";
        let inputs = inputs(text);
        let names: Vec<_> = inputs.files.paths().collect();
        assert_eq!(names, ["/run/udev/data/b8:0", "loadavg", "stat"]);
        assert_eq!((&inputs.files["stat"], &inputs.files["/run/udev/data/b8:0"]), ("a:b\n\n", "E:X=1\n"));
        assert_eq!((inputs.now, inputs.uname.clone()), (None, None));
        assert_eq!(time("12.5 -0130 X\n"), (Some(12.5), Some((-5400, "X".into()))));
        assert_eq!(time("12.%N +0000 UTC\n"), (Some(12.0), Some((0, "UTC".into()))));
        assert_eq!(inputs.spaces.len(), 2);
        assert_eq!(inputs.spaces[0].usage.as_ref().unwrap().size, 40960.0);
        assert_eq!(inputs.spaces[1].mount_point, "/mnt a");
        assert!(inputs.spaces[1].usage.is_err());
    }
}
