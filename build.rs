//! Compiles the contract (`proto/` at the root of the workspace) for the crate
//! `proto`, which names this file as its build script. Nothing else is done
//! here. protox stands in for protoc, so that cargo is all one needs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use tonic_prost_build::Config;

/// The contract, seen from crates/proto, where cargo runs this script.
const PROTO_ROOT: &str = "../../proto";

/// The folder below [`PROTO_ROOT`] with our own package. What lies beside it
/// (`google/rpc`) is imported, and its Rust types come from libraries.
const OWN_PACKAGE: &str = "holdfast";

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build prints nothing of the sort for `compile_fds`, and a
    // build script that prints no such line runs again whenever its package
    // changes, but never for files outside it. Cargo scans the folder.
    println!("cargo::rerun-if-changed=../../build.rs");
    println!("cargo::rerun-if-changed={PROTO_ROOT}");

    let root = Path::new(PROTO_ROOT);
    let mut files = Vec::new();
    list_protos(&root.join(OWN_PACKAGE), &mut files)?;
    files.sort(); // the order of a directory listing must not reach the output

    let mut compiler = protox::Compiler::new([root])?;
    compiler
        .include_imports(true)
        .include_source_info(true) // comments: rustdoc here, `grpcurl describe` there
        .open_files(&files)?;

    // The set for reflection is encoded by protox: `file_descriptor_set()`
    // would drop custom options, and tonic-prost-build writes none when it is
    // handed a compiled set.
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(
        out_dir.join("holdfast_descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    let mut config = Config::new();
    // Errors inside batches are the same type as the error details that the
    // server and client crates read and write through tonic-types.
    config.extern_path(".google.rpc", "::tonic_types::pb");

    tonic_prost_build::configure()
        .build_server(true)
        .build_client(true)
        .build_transport(false) // who connects, and how, is the client crate's business
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

/// Adds every `.proto` file below `folder` to `files`.
fn list_protos(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            list_protos(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
