//! Stands in for prost-build while rlibphonenumber is built (infra/prebuilt/README.md).

use std::{env, fs, io, path::Path};

/// What the real one writes of these definitions, without its comments.
const WRITTEN: &str = include_str!("phonenumbers.txt");
/// The definitions and settings that it was written of.
const MADE_OF: u64 = 0x6a7d_a5b2_4390_b292;

/// The settings that rlibphonenumber makes.
#[derive(Default)]
pub struct Config(Vec<String>);

impl Config {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn field_attribute(&mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> &mut Self {
        self.0.push(format!("{} {}", path.as_ref(), attribute.as_ref()));
        self
    }

    /// Writes the code where a build script's output belongs.
    ///
    /// # Errors
    /// Where it cannot be written, and where the definitions are others than those that it was made of.
    pub fn compile_fds(&mut self, definitions: Vec<String>) -> io::Result<()> {
        let made_of = self.0.iter().chain(&definitions).fold(0xcbf2_9ce4_8422_2325, |hash, text| fnv(hash, text));
        if made_of != MADE_OF {
            let told = format!("other definitions ({made_of:#018x}) than before: see infra/prebuilt/README.md");
            return Err(io::Error::other(told));
        }
        let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("this is no build script"))?;
        fs::write(Path::new(&folder).join("i18n.phonenumbers.rs"), WRITTEN)
    }
}

/// FNV-1a, with an end after each text.
fn fnv(hash: u64, text: &str) -> u64 {
    text.bytes().chain([0]).fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
