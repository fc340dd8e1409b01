//! Writes one fuzz target a provider. The names come from the tables `providers!` of the functions.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "it is a build script of tests")]

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    let functions = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("a folder")).join("../functions");
    let mut names = Vec::new();
    for function in fs::read_dir(&functions).expect("functions/").flatten() {
        let path = function.path().join("src/lib.rs");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Some((_, table)) = text.split_once("\nproviders! {") else { continue };
        println!("cargo:rerun-if-changed={}", path.display());
        names.extend(table.split('}').next().into_iter().flat_map(str::split_whitespace).map(str::to_owned));
    }
    names.sort();
    let mut code = format!("const PROVIDERS: [&str; {}] = {names:?};\n", names.len());
    let attribute = "test";
    for name in &names {
        writeln!(code, "#[{attribute}]\nfn {name}() {{\n    bent({name:?});\n}}").expect("written");
    }
    fs::write(Path::new(&env::var("OUT_DIR").expect("a folder")).join("fuzz_targets.rs"), code).expect("written");
}
