//! The service account's folder as a sandbox sees it when the token stays outside: three files in memory, and nothing else.
//!
//! The file `token` contains a [`PLACEHOLDER`]. It is not a secret: the door knows which sandbox a request comes from, and replaces
//! the placeholder with the real token for the API server alone; anywhere else it means nothing. While there is no good token, the
//! file has the same defect as the real one: missing, empty, too large, or not a token. So the guest reports its typed errors.

use crate::door::PLACEHOLDER;
use crate::door::issuing::TokenSource;
use crate::files::read_file;
use crate::now;
use crate::sandbox::in_memory::in_memory;
use incluster_core::credentials::Credentials;
use incluster_core::files::{self, SERVICE_ACCOUNT_DIR};
use incluster_core::{ConfigError, Token};
use memchr::memmem;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode, Filesize, Host,
    HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::{FsPerms, OpenMode};

/// Where the content of the three files comes from.
pub(crate) enum Files {
    /// From this folder, with its credentials.
    Folder(String, Arc<Credentials>),
    /// From the tenant's identity.
    Source(Arc<dyn TokenSource>),
}

impl Files {
    fn read(&self, name: &str) -> Result<Vec<u8>, ErrorCode> {
        match (self, name) {
            (Files::Folder(_, token), files::TOKEN) => match token.token(now()) {
                // The door refuses an expired token, because it can give the reason.
                Ok(_) | Err(ConfigError::TokenExpired { .. }) => Ok(PLACEHOLDER.into()),
                Err(error) => as_it_is(&error),
            },
            (Files::Folder(dir, token), files::NAMESPACE | files::CA) => {
                let content = files::read(read_file, &[dir.as_str(), "/", name].concat()).or_else(|error| as_it_is(&error))?;
                // A link may lead to the token.
                let has_token = |token: Arc<Token>| {
                    let token = token.as_bytes();
                    content.len() >= token.len() && memmem::find(&content, token).is_some()
                };
                if token.last().or_else(|| token.token(now()).ok()).is_some_and(has_token) {
                    Err(ErrorCode::Io)
                } else {
                    Ok(content)
                }
            }
            // The door also refuses if no token was issued.
            (Files::Source(_), files::TOKEN) => Ok(PLACEHOLDER.into()),
            (Files::Source(source), files::NAMESPACE) => source.namespace().map(Vec::from).ok_or(ErrorCode::NoEntry),
            (Files::Source(source), files::CA) => source.ca_bundle().map_err(|_| ErrorCode::Io),
            _ => Err(ErrorCode::NoEntry),
        }
    }
}

/// The folder with the three files.
pub(crate) struct Volume {
    files: Files,
    /// What the folder's handle stands for: an empty file, in which nothing can be opened.
    folder: Dir,
    /// The files as they were opened last. All sandboxes share them, so that a guest that opens many does not use up the process's
    /// descriptors, which other tenants need.
    opened: Mutex<Vec<Opened>>,
}

/// One of the three files.
struct Opened {
    name: String,
    content: Vec<u8>,
    file: File,
}

impl Volume {
    pub(crate) fn new(files: Files) -> io::Result<Volume> {
        Ok(Volume { files, folder: Dir::new(in_memory(b"")?, FsPerms::ReadOnly, OpenMode::READ, true), opened: Mutex::default() })
    }

    fn open(&self, path: &str) -> Result<File, ErrorCode> {
        let name = path.strip_prefix("./").unwrap_or(path);
        let content = self.files.read(name)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = opened.iter().find(|opened| opened.name == name && opened.content == content) {
            return Ok(same.file.clone());
        }
        let file = File::new(in_memory(&content)?, FsPerms::ReadOnly, OpenMode::READ, true);
        opened.retain(|opened| opened.name != name);
        opened.push(Opened { name: name.into(), content, file: file.clone() });
        Ok(file)
    }
}

/// The content or the error that makes a reader report the same problem.
fn as_it_is(error: &ConfigError) -> Result<Vec<u8>, ErrorCode> {
    match error {
        ConfigError::FileMissing(_) => Err(ErrorCode::NoEntry),
        ConfigError::FileEmpty(_) => Ok(Vec::new()),
        ConfigError::InvalidToken(_) => Ok(vec![0]),
        ConfigError::FileTooLarge(_) => Ok(vec![b' '; files::MAX_BYTES as usize + 1]),
        ConfigError::FileUnreadable { reason, .. } if reason == files::PERMISSION_DENIED => Err(ErrorCode::Access),
        ConfigError::FileUnreadable { reason, .. } if reason == files::NOT_A_FILE => Err(ErrorCode::IsDirectory),
        _ => Err(ErrorCode::Io),
    }
}

/// A sandbox's wasi:filesystem: wasmtime's, except for the folder if it is a [`Volume`].
pub(crate) struct FileSystem<'a> {
    pub(crate) wasi: WasiFilesystemCtxView<'a>,
    pub(crate) volume: Option<Arc<Volume>>,
}

pub(crate) struct HasFileSystem;

impl HasData for HasFileSystem {
    type Data<'a> = FileSystem<'a>;
}

impl FileSystem<'_> {
    /// The volume, if a handle stands for its folder.
    fn volume(&self, fd: &Resource<Descriptor>) -> FsResult<Option<&Volume>> {
        let is_folder = matches!(self.wasi.table.get(fd)?, Descriptor::Dir(_));
        Ok(self.volume.as_deref().filter(|_| is_folder))
    }
}

impl preopens::Host for FileSystem<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        match &self.volume {
            Some(volume) => {
                let folder = self.wasi.table.push(Descriptor::Dir(volume.folder.clone()))?;
                Ok(vec![(folder, SERVICE_ACCOUNT_DIR.into())])
            }
            None => preopens::Host::get_directories(&mut self.wasi),
        }
    }
}

impl Host for FileSystem<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Host::filesystem_error_code(&mut self.wasi, error)
    }
}

/// Functions that wasmtime implements. They fail in a volume's folder, because it is not a folder to the operating system.
macro_rules! by_wasmtime {
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(async fn $name(&mut self, fd: Resource<Descriptor>, $($argument: $type),*) -> $result {
            HostDescriptor::$name(&mut self.wasi, fd, $($argument),*).await
        })*
    };
}

impl HostDescriptor for FileSystem<'_> {
    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        follow: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let Some(volume) = self.volume(&fd)? else {
            return HostDescriptor::open_at(&mut self.wasi, fd, follow, path, open, flags).await;
        };
        let writes = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        if open.intersects(OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE) || flags.intersects(writes) {
            return Err(ErrorCode::NotPermitted.into());
        }
        if path == "." {
            let folder = Descriptor::Dir(volume.folder.clone());
            return Ok(self.wasi.table.push(folder)?);
        }
        let file = volume.open(&path)?;
        if open.contains(OpenFlags::DIRECTORY) {
            return Err(ErrorCode::NotDirectory.into());
        }
        Ok(self.wasi.table.push(Descriptor::File(file))?)
    }

    async fn stat_at(&mut self, fd: Resource<Descriptor>, follow: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let Some(volume) = self.volume(&fd)? else {
            return HostDescriptor::stat_at(&mut self.wasi, fd, follow, path).await;
        };
        let (type_, size) = match path.as_str() {
            "." => (DescriptorType::Directory, 0),
            path => (DescriptorType::RegularFile, volume.open(path)?.file.metadata().map_err(ErrorCode::from)?.len()),
        };
        Ok(stat(type_, size))
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        match self.volume(&fd)? {
            Some(_) => Ok(stat(DescriptorType::Directory, 0)),
            None => HostDescriptor::stat(&mut self.wasi, fd).await,
        }
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        match self.volume(&fd)? {
            Some(_) => Ok(DescriptorType::Directory),
            None => HostDescriptor::get_type(&mut self.wasi, fd).await,
        }
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        follow: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let Some(volume) = self.volume(&fd)? else {
            return HostDescriptor::metadata_hash_at(&mut self.wasi, fd, follow, path).await;
        };
        // A hash distinguishes files, and their names do that. A file that does not exist has none.
        let file = if path == "." { None } else { Some(volume.open(&path)?) };
        let length = file.map_or(Ok(0), |file| file.file.metadata().map(|metadata| metadata.len())).map_err(ErrorCode::from)?;
        Ok(MetadataHashValue { lower: number(&path), upper: length })
    }

    by_wasmtime! {
        async fn advise(offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()>;
        async fn sync_data() -> FsResult<()>;
        async fn get_flags() -> FsResult<DescriptorFlags>;
        async fn set_size(size: Filesize) -> FsResult<()>;
        async fn set_times(access: NewTimestamp, modification: NewTimestamp) -> FsResult<()>;
        async fn read(length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        async fn write(content: Vec<u8>, offset: Filesize) -> FsResult<Filesize>;
        async fn read_directory() -> FsResult<Resource<DirectoryEntryStream>>;
        async fn sync() -> FsResult<()>;
        async fn create_directory_at(path: String) -> FsResult<()>;
        async fn set_times_at(follow: PathFlags, path: String, access: NewTimestamp, modification: NewTimestamp) -> FsResult<()>;
        async fn link_at(follow: PathFlags, path: String, to: Resource<Descriptor>, new_path: String) -> FsResult<()>;
        async fn readlink_at(path: String) -> FsResult<String>;
        async fn remove_directory_at(path: String) -> FsResult<()>;
        async fn rename_at(path: String, to: Resource<Descriptor>, new_path: String) -> FsResult<()>;
        async fn symlink_at(path: String, new_path: String) -> FsResult<()>;
        async fn unlink_file_at(path: String) -> FsResult<()>;
        async fn is_same_object(other: Resource<Descriptor>) -> wasmtime::Result<bool>;
        async fn metadata_hash() -> FsResult<MetadataHashValue>;
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.wasi, fd)
    }

    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.wasi.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        self.wasi.write_via_stream(fd, offset)
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.wasi.append_via_stream(fd)
    }
}

/// A different number for each of the existing names. (A hash function of the standard library costs more than the rest of a stat.)
fn number(path: &str) -> u64 {
    path.strip_prefix("./").unwrap_or(path).bytes().fold(0, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()))
}

fn stat(type_: DescriptorType, size: Filesize) -> DescriptorStat {
    let none: Option<Datetime> = None;
    DescriptorStat {
        type_,
        link_count: 1,
        size,
        data_access_timestamp: none,
        data_modification_timestamp: none,
        status_change_timestamp: none,
    }
}

impl HostDirectoryEntryStream for FileSystem<'_> {
    async fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.wasi, stream)
    }
}

#[cfg(test)]
mod operations;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    fn volume(dir: &Path) -> Volume {
        let credentials = Credentials::new(dir.join("token").to_str().unwrap().into(), read_file);
        Volume::new(Files::Folder(dir.to_str().unwrap().into(), Arc::new(credentials))).unwrap()
    }

    #[test]
    fn sandboxes_share_descriptors_that_nobody_can_write_to() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "the-real-token").unwrap();
        std::fs::write(dir.path().join("namespace"), "shop").unwrap();
        let volume = volume(dir.path());
        for name in ["token", "namespace"] {
            let (one, other) = (volume.open(name).unwrap(), volume.open(name).unwrap());
            assert_eq!(one.file.as_raw_fd(), other.file.as_raw_fd(), "{name}");
            assert!((&*one.file).write_all(b"x").is_err() && one.file.set_len(0).is_err(), "{name}");
        }
        std::fs::write(dir.path().join("namespace"), "other").unwrap();
        assert_eq!(volume.open("namespace").unwrap().file.metadata().unwrap().len(), 5);
    }

    #[test]
    fn each_file_has_a_number_of_its_own() {
        let numbers: std::collections::BTreeSet<u64> = [files::TOKEN, files::CA, files::NAMESPACE, "."].map(number).into();
        assert_eq!((numbers.len(), number("./token")), (4, number("token")));
    }

    #[test]
    fn the_volumes_file_has_the_same_defect_as_the_real_one() {
        let dir = tempfile::tempdir().unwrap();
        let length = |content: Option<&[u8]>| {
            let path = dir.path().join("token");
            let _ = std::fs::remove_file(&path);
            content.iter().for_each(|content| std::fs::write(&path, content).unwrap());
            volume(dir.path()).open("token").map(|file| file.file.metadata().unwrap().len())
        };
        assert!(matches!(length(None), Err(ErrorCode::NoEntry)));
        assert!(matches!(length(Some(b"\n")), Ok(0)));
        assert!(matches!(length(Some(b"a\0b")), Ok(1)));
        assert!(matches!(length(Some(&vec![b'a'; files::MAX_BYTES as usize + 1])), Ok(n) if n > files::MAX_BYTES));
        assert!(matches!(length(Some(b"the-real-token")), Ok(n) if n == PLACEHOLDER.len() as u64));
        std::fs::write(dir.path().join("token"), "the-real-token").unwrap();
        std::os::unix::fs::symlink("token", dir.path().join("namespace")).unwrap();
        assert!(matches!(volume(dir.path()).open("namespace"), Err(ErrorCode::Io)), "the file is a link to the token");
        for elsewhere in ["..data/token", "../token", "/etc/passwd", "", "TOKEN"] {
            assert!(matches!(volume(dir.path()).open(elsewhere), Err(ErrorCode::NoEntry)), "{elsewhere}");
        }
    }
}
