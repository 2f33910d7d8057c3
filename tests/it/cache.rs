//! Tests of compiled extensions: the cache, and precompiled files.

use crate::command::in_testbed;
use crate::compiler;
use incluster::policy::Policy;
use incluster::{Error, Extension, ExtensionError, LoadLimits, Pool, Runtime, RuntimeBuilder, Server, Tenant};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testbed::Testbed;

const POLICY: &str = "rules:\n- verbs: [list]\n  apiGroups: ['']\n  resources: [pods]\n  namespaces: [shop]\n";

fn runtime(cache: &Path) -> RuntimeBuilder {
    Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).cache(cache)
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn load(runtime: &Runtime) -> Result<Extension, Error> {
    runtime.extension("test", extensions::PODS, &[]).await
}

/// A runtime without a compiler loads and runs an extension that another runtime compiled.
#[tokio::test]
async fn a_cached_extension_loads_without_a_compiler() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let without = runtime(&cache).build().unwrap();
    assert!(matches!(load(&without).await, Err(Error::Extension(ExtensionError::NoCompiler))));
    load(&runtime(&cache).compiler(compiler()).build().unwrap()).await.unwrap();
    assert_eq!(entries(&cache).len(), 1);

    let extension = load(&without).await.unwrap();
    let testbed = Testbed::start().await;
    let tenant = Tenant::builder(&without, "test").server(Server::parse(&testbed.server.url()).unwrap());
    let tenant = tenant.service_account_dir(testbed.volume.path()).policy(Policy::allow_all()).build().unwrap();
    assert_eq!(tenant.run_extension(&extension, "pods", &[]).await.unwrap(), 0);
    assert_eq!(testbed.server.requests().len(), 1);

    // With other limits or other refused imports, the cached code does not count as checked.
    let stricter = LoadLimits { functions: 3, ..LoadLimits::default() };
    for other in [runtime(&cache).load_limits(stricter), runtime(&cache).refuse_imports(["wasi:sockets"])] {
        assert!(matches!(load(&other.build().unwrap()).await, Err(Error::Extension(ExtensionError::NoCompiler))));
    }
}

/// A damaged entry is removed, and the extension compiled and stored again.
#[tokio::test]
async fn a_damaged_entry_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let compiling = || runtime(dir.path()).compiler(compiler()).build().unwrap();
    load(&compiling()).await.unwrap();
    let entry = entries(dir.path()).remove(0);
    let good = fs::read(&entry).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    for bad in [&good[..good.len() - 1], b"", &changed] {
        fs::write(&entry, bad).unwrap();
        let without = runtime(dir.path()).build().unwrap();
        assert!(matches!(load(&without).await, Err(Error::Extension(ExtensionError::NoCompiler))));
        assert!(entries(dir.path()).is_empty());
        load(&compiling()).await.unwrap();
        assert!(fs::read(&entry).unwrap() == good);
    }
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let refused = runtime(dir.path()).build().map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("others may write to it"), "{refused}");
}

#[tokio::test]
#[expect(unsafe_code, reason = "the bytes are this test's own")]
async fn only_precompiled_files_are_loaded_as_precompiled() {
    let compiling = Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).compiler(compiler()).build().unwrap();
    let good = compiling.precompile("test", extensions::PODS, &[]).await.unwrap();
    let other =
        Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).load_limits(LoadLimits::default()).build().unwrap();
    // SAFETY: `precompile` returned these bytes.
    let loaded = unsafe { other.extension_precompiled(&good).await }.unwrap();
    assert_eq!(loaded.name(), load(&compiling).await.unwrap().name());
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    let version = [b"incluster-extension 9", &good[21..]].concat();
    for (bad, says) in [
        (&good[..99], "it is cut or damaged"),
        (&changed, "it is cut or damaged"),
        (&version, "it was not made by incluster 0.1.0"),
        (extensions::PODS, "it was not made by incluster 0.1.0"),
    ] {
        // SAFETY: each of these is refused, so that none of it is executed.
        let refused = unsafe { other.extension_precompiled(bad).await }.unwrap_err();
        assert!(matches!(&refused, Error::Extension(ExtensionError::NotPrecompiled { reason }) if reason == says), "{refused}");
    }
}

#[tokio::test]
async fn the_binary_compiles_once() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    fs::write(at("pods.wasm"), extensions::PODS).unwrap();
    fs::write(at("policy.yaml"), POLICY).unwrap();
    let (policy, wasm, code, cache) = (at("policy.yaml"), at("pods.wasm"), at("pods.cwasm"), at("cache"));
    let lists = async |args: &[&str]| {
        let ran = in_testbed(&testbed, &[&["run", "--policy", &*policy], args].concat()).await;
        assert_eq!((ran.status, &*ran.stderr, ran.stdout.lines().count()), (0, "", 7), "{args:?}");
    };
    lists(&["--cache", &cache, &wasm]).await;
    let made = || fs::metadata(&entries(Path::new(&cache))[0]).unwrap().created().unwrap();
    let first = made();
    lists(&["--cache", &cache, &wasm]).await;
    assert_eq!((made(), entries(Path::new(&cache)).len()), (first, 1));
    lists(&["--cache", "none", &wasm]).await;

    let compiled = in_testbed(&testbed, &["compile", &wasm, "-o", &code]).await;
    assert_eq!((compiled.status, &*compiled.stderr), (0, ""));
    lists(&["--precompiled", &code]).await;
    fs::set_permissions(&cache, Permissions::from_mode(0o770)).unwrap();
    for (args, says) in [
        (vec!["run", "--precompiled", &wasm], "is not compiled code: run it without --precompiled"),
        (vec!["run", &code], "run it with --precompiled"),
        (vec!["run", "--cache", &cache, &wasm], "others may write to it: make it this user's own, with mode 0700"),
        (vec!["compile", &wasm], "compile takes -o OUT.cwasm"),
    ] {
        let ran = in_testbed(&testbed, &args).await;
        assert!(ran.status != 0 && ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
}
