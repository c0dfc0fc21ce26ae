//! Writes a module for the shipped sources of the runtime, and one for each deliberate fault: the same sources with a
//! line or two changed, to show that the scenarios see it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

include!("src/faults.rs");

const FILES: [&str; 5] = ["client", "door", "local", "pending", "server"];

fn main() {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says so"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says so"));
    let runtime = package.join("../../src/runtime").canonicalize().expect("the runtime's sources");
    println!("cargo::rerun-if-changed={}", runtime.display());
    println!("cargo::rerun-if-changed=src/faults.rs");

    let mut code = module("shipped", &package, |file| runtime.join(file));
    let mut list = String::from("const FAULTY: &[fn()] = &[");
    for fault in FAULTS {
        let name = fault.name.replace('-', "_");
        let directory = out.join(&name);
        fs::create_dir_all(&directory).expect("a directory to build in");
        for Edit(file, near, from, to) in fault.edits {
            let mut text = fs::read_to_string(runtime.join(file)).expect("a source of the runtime");
            assert_eq!(text.matches(near).count(), 1, "fault {}: {file} does not have its place once", fault.name);
            let near = text.find(near).expect("it has it");
            let at = near + text[near..].find(from).expect("what the fault replaces stands after its place");
            text.replace_range(at..at + from.len(), to);
            fs::write(directory.join(file), text).expect("a file to build");
        }
        let is_edited = |file: &str| fault.edits.iter().any(|Edit(edited, ..)| *edited == file);
        code +=
            &module(&name, &package, |file| if is_edited(file) { directory.join(file) } else { runtime.join(file) });
        // This one alone: what nobody names costs no time to compile.
        write!(list, "{name}::scenarios::{},\n", fault.seen_by.replace('-', "_")).expect("memory");
    }
    fs::write(out.join("variants.rs"), code + &list + "];\n").expect("a file to build");
}

fn module(name: &str, package: &Path, source: impl Fn(&str) -> PathBuf) -> String {
    let mut code = format!("#[allow(dead_code, unused_variables)]\nmod {name} {{\nuse crate::{{clock, sync}};\n");
    for file in FILES {
        write!(code, "#[path = {:?}] mod {file};\n", source(&format!("{file}.rs"))).expect("memory");
    }
    write!(code, "#[path = {:?}] pub mod scenarios;\n}}\n", package.join("src/scenarios.rs")).expect("memory");
    code
}
