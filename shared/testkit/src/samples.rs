//! Samples in `events/`: `<provider>/<case>.body.*` holds the exact bytes of a delivery, `.headers` beside it the
//! headers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::SignedRequest;

/// One sample from `events/`.
#[derive(Debug, Clone)]
pub struct Sample {
    pub provider: String,
    pub case: String,
    /// Headers of the delivery.
    pub headers: Vec<(String, String)>,
    /// The values of lines that begin with `#`: `source`, `secret`, `at`, `tail`.
    pub notes: BTreeMap<String, String>,
    pub body: Vec<u8>,
    folder: PathBuf,
}

impl Sample {
    /// The path of the normalised result.
    pub fn golden(&self) -> PathBuf {
        self.folder.join(format!("{}.events.json", self.case))
    }

    pub fn signed_request(&self, path: &str) -> SignedRequest {
        let tail = self.notes.get("tail").map(|tail| format!("/{tail}")).unwrap_or_default();
        SignedRequest { path: format!("{path}{tail}"), headers: self.headers.clone(), body: self.body.clone() }
    }
}

/// The folder `events/` of the repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

/// Every sample, by provider and case.
///
/// # Errors
/// When a file cannot be read.
pub fn all() -> std::io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for provider in std::fs::read_dir(folder())? {
        let folder = provider?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
            if let Some((case, _)) = name.split_once(".body.") {
                samples.push(read(&folder, case, &path)?);
            }
        }
    }
    samples.sort_by(|a, b| (&a.provider, &a.case).cmp(&(&b.provider, &b.case)));
    Ok(samples)
}

fn read(folder: &Path, case: &str, body: &Path) -> std::io::Result<Sample> {
    let text = std::fs::read_to_string(folder.join(format!("{case}.headers")))?;
    let (mut headers, mut notes) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        match line.strip_prefix('#') {
            Some(note) => notes.extend(pair(note)),
            None => headers.extend(pair(line)),
        }
    }
    Ok(Sample {
        provider: folder.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned(),
        case: case.to_owned(),
        headers,
        notes,
        body: std::fs::read(body)?,
        folder: folder.to_owned(),
    })
}
