//! Compiles the eBPF programs with clang into `OUT_DIR`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=programs");
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let failure =
        ["runqlat", "blkio", "tcp", "process", "irq"].into_iter().find_map(|name| compile(name, &out).err());
    if let Some(reason) = failure {
        eprintln!("{reason}");
        std::process::exit(1);
    }
}

fn compile(name: &str, out: &Path) -> Result<(), String> {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let source = format!("programs/{name}.bpf.c");
    let object = out.join(format!("{name}.bpf.o"));
    let status = Command::new(&clang)
        // The newest instructions that kernels from 5.1 on know; BTF comes with -g.
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror"])
        // The path of the source tree must not end up in the object: builds are reproducible.
        .args([&format!("-fdebug-prefix-map={}=.", env!("CARGO_MANIFEST_DIR")), "-c", &source, "-o"])
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "{clang} could not compile ebpf/{source} ({status}); it needs libbpf's headers: apt-get install clang libbpf-dev"
        )),
        Err(error) => Err(format!(
            "cannot run {clang} for ebpf/{source}: {error}; install it: apt-get install clang libbpf-dev (or set CLANG)"
        )),
    }
}
