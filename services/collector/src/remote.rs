//! A peer's files over SSH: the one command that prints them, and the way back into [`Inputs`].
//!
//! The command needs a POSIX shell, `cat`, `date`, `uname`, and for file systems `stat` and `timeout` as coreutils and
//! busybox have them. It changes nothing on the peer and leaves nothing behind.

use crate::inputs::{Inputs, Space, Uname, Usage};
use crate::node::filesystem::{MOUNTS, TYPES_EXCLUDED};

/// Begins each part of the output; the part's name follows.
const MARK: &str = "=vakt= ";

/// Files that are printed, below /proc, under the name that the sources use.
const FILES: [(&str, &str); 11] = [
    ("stat", "stat"),
    ("diskstats", "diskstats"),
    ("self/mountinfo", MOUNTS),
    ("loadavg", "loadavg"),
    ("meminfo", "meminfo"),
    ("net/dev", "net/dev"),
    ("net/sockstat", "net/sockstat"),
    ("pressure/cpu", "pressure/cpu"),
    ("pressure/io", "pressure/io"),
    ("pressure/memory", "pressure/memory"),
    ("vmstat", "vmstat"),
];

/// File systems that are asked at most: each is a process on the peer.
const SPACES_MAX: usize = 64;

/// Seconds that each file system has to answer; a dead NFS server never does, and its asker is killed.
const SPACE_SECONDS: u32 = 2;

/// The command for the peer's shell.
pub fn command() -> String {
    let mut text = String::from("LC_ALL=C; export LC_ALL\n");
    for (path, name) in FILES {
        text.push_str(&format!("echo '{MARK}{name}'; cat /proc/{path} 2>/dev/null\n"));
    }
    text.push_str(&format!("echo '{MARK}@time'; date +%s.%N\n"));
    text.push_str(&format!(
        "echo '{MARK}@uname'; uname -s; uname -r; uname -v; uname -m; uname -n; cat /proc/sys/kernel/domainname\n"
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
            "@time" => inputs.now = text.trim().parse().ok(),
            "@uname" => inputs.uname = uname(text),
            "@space" => inputs.spaces = text.lines().filter_map(space).collect(),
            // `cat` printed nothing: the file is not there.
            _ if text.is_empty() => {}
            _ => drop(inputs.files.insert(name.to_owned(), text.to_owned())),
        }
    }
    inputs
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
            Ok(Usage { size, free, available, files, files_free })
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
    use crate::node::SOURCES;

    #[test]
    fn the_command_gives_every_source_what_it_needs() {
        // This machine plays the peer: the same shell, the same files.
        let output = std::process::Command::new("sh").arg("-c").arg(command()).output().unwrap();
        assert!(output.status.success());
        let inputs = inputs(&String::from_utf8(output.stdout).unwrap());
        for source in SOURCES {
            let parsed = (source.parse)(&inputs);
            let pressure_is_off =
                source.name == "pressure" && !std::path::Path::new("/proc/pressure/io").exists();
            assert!(parsed.is_ok() || pressure_is_off, "{source:?}: {parsed:?}");
        }
        let root = inputs.spaces.iter().find(|space| space.mount_point == "/");
        if let Some(root) = root {
            assert!(root.usage.as_ref().unwrap().size > 0.0);
        }
    }

    #[test]
    fn broken_output_leaves_parts_out() {
        let text = "noise\n=vakt= loadavg\n0.1 0.2 0.3 1/2 3\n=vakt= meminfo\n=vakt= @time\nx\n=vakt= @space\n\
                    / 4096 10 5 4 100 50\n/mnt\\040a ! stat: killed\nbroken line\n=vakt= @uname\nLinux\n";
        let inputs = inputs(text);
        assert_eq!(inputs.files.keys().collect::<Vec<_>>(), ["loadavg"]);
        assert_eq!((inputs.now, inputs.uname.clone()), (None, None));
        assert_eq!(inputs.spaces.len(), 2);
        assert_eq!(inputs.spaces[0].usage.as_ref().unwrap().size, 40960.0);
        assert_eq!(inputs.spaces[1].mount_point, "/mnt a");
        assert!(inputs.spaces[1].usage.is_err());
    }
}
