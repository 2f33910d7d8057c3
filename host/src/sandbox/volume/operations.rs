//! Tests a guest's operations on its folder, in random order, while the real folder changes. `VOLUME_OPERATIONS=N` runs more of them, and
//! `VOLUME_SEED=N` runs others.

use super::*;
use crate::door::PLACEHOLDER;
use std::env;
use std::path::Path;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::InputStream;

const REAL: &str = "the-real-token";

const PATHS: [&str; 22] = [
    "token",
    "./token",
    "ca.crt",
    "namespace",
    ".",
    "./",
    "..",
    "../token",
    "..data",
    "..data/token",
    "/etc/passwd",
    "",
    "token/",
    "token/.",
    "new",
    "a/b",
    "TOKEN",
    "././token",
    "token\0",
    "/proc/self/environ",
    "\u{202e}",
    "ca.crt/../token",
];

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % below
    }

    fn path(&mut self) -> String {
        PATHS[self.next(PATHS.len())].into()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().map_or(default, |number| number.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// Changes the token in the real folder: to a good one, an empty file, or none.
fn change(dir: &Path, random: &mut Random) {
    match random.next(4) {
        0 => drop(std::fs::remove_file(dir.join("token"))),
        1 => std::fs::write(dir.join("token"), "").unwrap(),
        _ => std::fs::write(dir.join("token"), REAL).unwrap(),
    }
}

fn listed(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn no_operation_finds_the_token_or_changes_anything() {
    let (operations, mut random) = (number("VOLUME_OPERATIONS", 5_000), Random(number("VOLUME_SEED", 1)));
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("token", REAL), ("namespace", "shop"), ("ca.crt", "the CA"), ("other", "a secret of another's")] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let here = env::current_dir().unwrap();
    let before = listed(&here);
    let credentials = Credentials::new(dir.path().join("token").to_str().unwrap().into(), read_file);
    let volume = Arc::new(Volume::new(Files::Folder(dir.path().to_str().unwrap().into(), Arc::new(credentials))).unwrap());
    let (mut ctx, mut table) = (WasiCtx::builder().build(), ResourceTable::new());
    table.set_max_capacity(64);
    let (mut handles, mut read, mut found) = (Vec::<u32>::new(), 0, std::collections::BTreeSet::new());
    for _ in 0..operations {
        let wasi = WasiFilesystemCtxView { ctx: ctx.filesystem(), table: &mut table };
        let mut files = FileSystem { wasi, volume: Some(volume.clone()) };
        if handles.is_empty() {
            let directories = preopens::Host::get_directories(&mut files).unwrap();
            handles.extend(directories.iter().map(|(folder, _)| folder.rep()));
        }
        // The guest names only handles that it has: wasmtime's tables refuse others.
        let which = random.next(handles.len());
        let fd = || Resource::<Descriptor>::new_borrow(handles[which]);
        let (path, other_path, other) = (random.path(), random.path(), Resource::new_borrow(handles[random.next(handles.len())]));
        let follow = if random.next(2) == 0 { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() };
        let (length, offset) = ([0, 1, 5, 1 << 20, 1 << 20][random.next(5)], [0, 0, 3, u64::MAX][random.next(4)]);
        let content = match random.next(24) {
            0..6 => {
                let opens = [OpenFlags::CREATE, OpenFlags::DIRECTORY, OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE];
                let open = opens.into_iter().filter(|_| random.next(8) == 0).fold(OpenFlags::empty(), |all, one| all | one);
                let writes = [DescriptorFlags::WRITE, DescriptorFlags::MUTATE_DIRECTORY, DescriptorFlags::DATA_INTEGRITY_SYNC];
                let flags = writes.into_iter().filter(|_| random.next(8) == 0).fold(DescriptorFlags::READ, |all, one| all | one);
                if let Ok(opened) = files.open_at(fd(), follow, path, open, flags).await {
                    handles.push(opened.rep());
                }
                None
            }
            6..11 => files.read(fd(), length, offset).await.ok().map(|(content, _)| content),
            11 | 12 => match files.read_via_stream(fd(), offset) {
                Ok(stream) => {
                    let stream: DynInputStream = files.wasi.table.delete(stream).unwrap();
                    let mut stream: Box<dyn InputStream> = stream;
                    stream.read(4096).ok().map(|content| content.to_vec())
                }
                Err(_) => None,
            },
            13 => files.readlink_at(fd(), path).await.ok().map(String::into_bytes),
            14 => files.write(fd(), b"x".to_vec(), offset).await.ok().map(|_| panic!("something was written")),
            15 => files.set_size(fd(), 0).await.ok().map(|()| panic!("something was cut")),
            16 => files.create_directory_at(fd(), path).await.ok().map(|()| panic!("a folder was made")),
            17 => files.symlink_at(fd(), path, other_path).await.ok().map(|()| panic!("a link was made")),
            18 => files.link_at(fd(), follow, path, other, other_path).await.ok().map(|()| panic!("a link was made")),
            19 => files.rename_at(fd(), path, other, other_path).await.ok().map(|()| panic!("something was renamed")),
            20 => files.unlink_file_at(fd(), path).await.ok().map(|()| panic!("something was removed")),
            21 => {
                let _ = files.stat_at(fd(), follow, path.clone()).await;
                let _ = files.metadata_hash_at(fd(), follow, path).await;
                let _ = (files.stat(fd()).await, files.get_flags(fd()).await, files.get_type(fd()).await, files.sync(fd()).await);
                files.read_directory(fd()).await.ok().map(|_| panic!("the folder was listed"))
            }
            22 => {
                change(dir.path(), &mut random);
                None
            }
            _ => {
                let handle = handles.swap_remove(which);
                HostDescriptor::drop(&mut files, Resource::new_own(handle)).unwrap();
                None
            }
        };
        if let Some(content) = content {
            read += 1;
            let content = String::from_utf8(content).unwrap();
            let known = [PLACEHOLDER, "shop", "the CA"].iter().any(|known| known.contains(&content));
            assert!(known, "{content}");
            found.insert(content);
        }
    }
    assert_eq!(listed(&here), before);
    assert!(listed(dir.path()).iter().all(|name| ["ca.crt", "namespace", "other", "token"].contains(&name.as_str())));
    assert!(
        read > operations / 20 && [PLACEHOLDER, "shop", "the CA"].iter().all(|known| found.contains(*known)),
        "{read}: {found:?}"
    );
}
