//! Files in memory (memfd), which need no writable folder.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::sync::LazyLock;

/// The flags that every file in memory is made with.
const FLAGS: MemfdFlags = MemfdFlags::CLOEXEC.union(MemfdFlags::ALLOW_SEALING);

/// A file with this content. Nobody can change it any more, even through a writable descriptor.
pub(crate) fn in_memory(content: &[u8]) -> io::Result<File> {
    filled(|file| file.write_all(content))
}

/// A file with the content that `write` writes. Nobody can change it any more.
pub(crate) fn filled(write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    // If vm.memfd_noexec is 2, Linux 6.3 to 6.5 refuse to make files that may be executed. Older kernels do not know the flag.
    let file = match memfd_create("incluster", FLAGS | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("incluster", FLAGS),
        file => file,
    };
    let mut file = File::from(file?);
    write(&mut file)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// Whether the kernel also makes files in memory without `MFD_NOEXEC_SEAL`, which wasmtime does not set.
pub(crate) fn needs_no_flag() -> bool {
    static NEEDS_NONE: LazyLock<bool> = LazyLock::new(|| memfd_create("incluster", FLAGS).is_ok());
    *NEEDS_NONE
}
