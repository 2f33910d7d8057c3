//! How the files of extensions are loaded.

use crate::picker::{ALLOWED, Picker};
use incluster::{Error, Extension, Runtime, Tenant, input};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;

/// Why a route's extension is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The extension is being loaded.
    Loading,
    /// The extension cannot be used.
    NotUsable {
        /// What is wrong, for people.
        text: String,
        /// Whether the same file may be loaded later, because the cause is this machine and not the file.
        may_pass: bool,
    },
}

impl Problem {
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Problem::NotUsable { may_pass: true, .. })
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Loading => f.write_str("the extension is being loaded"),
            Problem::NotUsable { text, .. } => f.write_str(text),
        }
    }
}

/// Resolves a path in the file, relative to the file's folder.
pub(crate) fn relative_to(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// Loads the extension in this file.
pub(crate) async fn load(
    runtime: &Runtime,
    tenant: &Tenant,
    path: &Path,
    settings: &BTreeMap<String, String>,
) -> Result<(Extension, Picker), Problem> {
    let problem = |error: &dyn Display, may_pass| {
        let text = input::printable(&format_args!("{}: {error}", path.display()));
        Problem::NotUsable { text, may_pass }
    };
    let (file, limit) = (path.to_path_buf(), runtime.load_limits().bytes);
    let read = spawn_blocking(move || input::read(&file, limit)).await.map_err(|e| problem(&e, true))?;
    let bytes = read.map_err(|e| {
        // A change of the file ends these problems, and is noticed.
        let is_the_file = matches!(e.kind(), ErrorKind::NotFound | ErrorKind::FileTooLarge | ErrorKind::InvalidInput);
        problem(&e, !is_the_file)
    })?;
    let extension = runtime.extension(tenant.name(), &bytes, &ALLOWED).await.map_err(|e| {
        let may_pass = matches!(&e, Error::Extension(error) if !error.is_permanent());
        problem(&e, may_pass)
    })?;
    // Lines that it writes, and its calls, are found by this name.
    let extension = extension.named(&path.file_name().unwrap_or_default().to_string_lossy());
    let picker = Picker::new(tenant, &extension, settings).map_err(|e| problem(&e, false))?;
    Ok((extension, picker))
}
