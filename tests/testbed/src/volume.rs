//! A service-account volume, laid out and swapped as kubelet does.

#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// A service-account volume: a folder with `token`, `ca.crt` and `namespace`, each a link through `..data` into a timestamped folder.
pub struct Volume {
    dir: TempDir,
    /// How many times the volume was swapped. The lock is held during a swap.
    generation: Mutex<u32>,
}

impl Volume {
    /// Creates a volume with these contents.
    pub fn new(token: &str, ca: &str, namespace: &str) -> Volume {
        let volume = Volume { dir: TempDir::new().expect("a folder"), generation: Mutex::new(0) };
        let files = [("token", token), ("ca.crt", ca), ("namespace", namespace)];
        volume.swap(&mut volume.generation.lock().unwrap(), &files.map(|(name, text)| (name.into(), text.into())));
        volume
    }

    /// Returns the volume's folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the content of a file in one swap, and keeps the others.
    pub fn set(&self, name: &str, content: &[u8]) {
        self.set_many(&[(name, content)]);
    }

    /// Replaces the contents of several files in one swap, and keeps the others.
    pub fn set_many(&self, changes: &[(&str, &[u8])]) {
        let mut generation = self.generation.lock().unwrap();
        let mut files = self.files();
        files.retain(|(file, _)| changes.iter().all(|(name, _)| file != name));
        files.extend(changes.iter().map(|(name, content)| (name.to_string(), content.to_vec())));
        self.swap(&mut generation, &files);
    }

    /// Truncates and rewrites the file behind the links without a swap, as a careless tool would: a reader may see it
    /// empty or half written.
    pub fn write_in_place(&self, name: &str, content: &[u8]) {
        fs::write(self.at("..data").join(name), content).expect("the file");
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.at(name)).expect("the file's link");
        fs::remove_file(self.at("..data").join(name)).expect("the file");
    }

    /// Replaces the file's link by an empty folder.
    pub fn replace_by_directory(&self, name: &str) {
        fs::remove_file(self.at(name)).expect("the file's link");
        fs::create_dir(self.at(name)).expect("a folder");
    }

    /// Makes the file's link dangle.
    pub fn replace_by_dangling_link(&self, name: &str) {
        fs::remove_file(self.at(name)).expect("the file's link");
        symlink("..data/nowhere", self.at(name)).expect("a link");
    }

    /// Restores the file's link, whatever is in its place.
    pub fn restore_link(&self, name: &str) {
        let _ = fs::remove_file(self.at(name)).or_else(|_| fs::remove_dir(self.at(name)));
        symlink(Path::new("..data").join(name), self.at(name)).expect("a link");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.at("..data")).expect("..data");
        let files = entries.map(|entry| entry.expect("an entry"));
        files.map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).expect("a file"))).collect()
    }

    /// Swaps in kubelet's order: makes a new folder, renames a new `..data` over the old one, makes the links, and removes the old folder.
    fn swap(&self, generation: &mut u32, files: &[(String, Vec<u8>)]) {
        let old = fs::read_link(self.at("..data")).ok();
        *generation += 1;
        let new = format!("..2026_11_23_18_20_01.{generation}");
        fs::create_dir(self.at(&new)).expect("a folder");
        for (name, content) in files {
            fs::write(self.at(&new).join(name), content).expect("a file");
        }
        symlink(&new, self.at("..data_tmp")).expect("a link");
        fs::rename(self.at("..data_tmp"), self.at("..data")).expect("the swap");
        for (name, _) in files {
            if fs::symlink_metadata(self.at(name)).is_err() {
                symlink(Path::new("..data").join(name), self.at(name)).expect("a link");
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.path().join(old)).expect("the old folder");
        }
    }
}
