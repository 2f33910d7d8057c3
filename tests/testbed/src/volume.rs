//! A service account's volume, laid out and swapped as kubelet does it.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A folder with `token`, `ca.crt` and `namespace`, each a link through `..data` into a timestamped folder.
pub struct Volume {
    dir: TempDir,
    generation: Cell<u32>,
}

impl Volume {
    /// A volume with these contents.
    pub fn new(token: &str, ca: &str, namespace: &str) -> Volume {
        let volume = Volume { dir: TempDir::new().expect("a folder"), generation: Cell::new(0) };
        volume.swap(&[("token", token.as_bytes()), ("ca.crt", ca.as_bytes()), ("namespace", namespace.as_bytes())]);
        volume
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces a file's content, with all others as they are.
    pub fn set(&self, name: &str, content: &[u8]) {
        let mut files = self.files();
        files.retain(|(file, _)| file != name);
        files.push((name.into(), content.into()));
        self.swap(&files.iter().map(|(name, content)| (&**name, &**content)).collect::<Vec<_>>());
    }

    /// Leaves a file out.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).expect("the file's link");
        fs::remove_file(self.path().join("..data").join(name)).expect("the file");
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path().join("..data")).expect("..data");
        let files = entries.map(|entry| entry.expect("an entry"));
        files.map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).expect("a file"))).collect()
    }

    /// kubelet's order: a new folder, a new `..data` renamed over the old one, the links, and the old folder goes.
    fn swap(&self, files: &[(&str, &[u8])]) {
        let at = |name: &str| self.path().join(name);
        let old = fs::read_link(at("..data")).ok();
        self.generation.set(self.generation.get() + 1);
        let new = format!("..2026_11_23_18_20_01.{}", self.generation.get());
        fs::create_dir(at(&new)).expect("a folder");
        for (name, content) in files {
            fs::write(at(&new).join(name), content).expect("a file");
        }
        symlink(&new, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("the swap");
        for (name, _) in files {
            if fs::symlink_metadata(at(name)).is_err() {
                symlink(Path::new("..data").join(name), at(name)).expect("a link");
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.path().join(old)).expect("the old folder");
        }
    }
}
