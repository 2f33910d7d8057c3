set shell := ["bash", "-euo", "pipefail", "-c"]

# Everything is built in this one profile; plain `cargo build` and `cargo test` work as well.
release := "--release --locked"

# List the recipes
default:
    @just --list --unsorted

# Show incluster at work: a throw-away API server, and what `incluster` prints
demo: setup
    @echo "building what the demo needs, once: some minutes"
    @cargo build --quiet {{release}} -p incluster-cli -p incluster-testbed
    @target/release/demo target/release/incluster

# Show incluster at work in a real Kubernetes of its own: two namespaces, a policy, a rotation, a restart
demo-cluster: image
    @tests/pods/demo.sh

# Run every test that needs no cluster
test: setup-clang
    cargo test {{release}} --workspace

# Check format, lints and documentation
lint: setup-clang
    cargo fmt --check
    cargo clippy {{release}} --workspace --all-targets -- -D warnings
    cargo clippy {{release}} --workspace --test pods --test real --test soak --test cli --test page --test languages --test envoy -- -D warnings
    cargo clippy {{release}} -p incluster --lib -- -D warnings
    cargo clippy {{release}} -p incluster-command --features sockets --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc {{release}} --workspace --no-deps --document-private-items

# Render wit/ as docs/contract.md
wit-docs: setup-clang
    WRITE_CONTRACT_DOCS=1 cargo test {{release}} --workspace --test it contract_docs

# Check the licences and the sources of all dependencies, and which there may be
licences:
    cargo fetch --quiet --locked
    "$(tools/cargo-tool.sh cargo-deny 0.20.2)" --offline check bans licenses sources

# Look all dependencies up in the RustSec database, which needs the network
advisories:
    "$(tools/cargo-tool.sh cargo-deny 0.20.2)" check advisories

# Put the programs and the components, including those of the examples, into dist/
programs: setup-clang
    tools/programs.sh release
    ls -l dist

# Make OCI images of these, as archives in dist/images
image: programs
    @tools/skopeo.sh
    tools/images.sh

# Make everything that a release has, in dist/: a small binary, components with metadata, OCI archives of both, bills of materials, checksums
dist: setup-clang
    rm -rf dist
    tools/programs.sh dist
    tools/wit-package.sh
    SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" tools/artifacts.py "$(tools/wasm-tools.sh)" "$(tools/cargo-tool.sh cargo-cyclonedx 0.5.9)"
    @tools/skopeo.sh
    SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" tools/images.sh limited
    cd dist && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
    @cat dist/SHA256SUMS

# Check what `just dist` has made with tools of others: sums, metadata, the bills of materials, and a registry that components are pulled from
dist-check:
    tools/dist-check.sh

# Show that two folders with this commit make the same dist/
dist-twice: setup-clang
    tools/dist-twice.sh

# Make a book of the documents, in target/book, and check its links
book:
    tools/book.py "$(tools/cargo-tool.sh mdbook 0.5.4 --no-default-features --features search)"

# Make an OCI image of incluster for arm64, as dist/images-arm64/incluster.tar, on a machine of another architecture
image-arm64: setup-clang
    tools/arm64.sh
    @tools/skopeo.sh
    tools/images.sh arm64

# Control a whole Kubernetes on this machine, for tests: up, down, exec -- COMMAND…, load IMAGE.tar, restart COMPONENT
[positional-arguments]
cluster *COMMAND:
    @tests/cluster/cluster.py "$@"

# Test against a real Kubernetes: the cluster of KUBECONFIG, or one that it starts
test-real: setup
    tests/kube-apiserver/run.sh

# Test the images in the pods of a real Kubernetes; with WORDS, only tests whose names contain them
[positional-arguments]
test-pods *WORDS: image
    @tests/pods/run.sh "$@"

# Run the tests in pods that take minutes, and those with Envoy
test-pods-slow: image
    tests/pods/run.sh --ignored authorities ten_times ten_minutes a_minute envoy

# Show that a cluster leaves nothing behind, however it ends
test-cluster:
    tests/cluster/test.sh

# Test against Kubernetes 1.20, the oldest API server that is tested, built from Debian's source
test-real-oldest: setup
    tests/kube-apiserver/run.sh oldest

# Test against the Kubernetes of these VERSIONS, for example 1.34.4
test-matrix +VERSIONS: setup
    for version in {{VERSIONS}}; do echo "Kubernetes $version"; env -u KUBECONFIG KUBERNETES_VERSION=$version tests/kube-apiserver/run.sh; done

# Test the components in a stock wasmtime CLI, against the testbed and a real Kubernetes
test-wasmtime-cli: setup-clang
    tests/wasmtime-cli/run.sh

# Build the extensions of examples/extensions by their languages' toolchains, and run them
test-languages: setup-clang
    tests/languages/run.sh

# Run test-languages, and also build and run the extensions in Go, whose tools are compiled first
test-languages-go: setup-clang
    tests/languages/run.sh go

# Test incluster-envoy with a stock Envoy, whose requests go to pods that come and go
test-envoy: setup
    ENVOY="$(tools/envoy.sh)" cargo test {{release}} --workspace --test envoy

# Test COUNT random schedules of what can happen to a watch; SCHEDULE_SEED=N sets the first seed
schedules COUNT="1000000": setup
    SCHEDULES={{COUNT}} cargo test {{release}} -p incluster-client --lib schedules -- --nocapture

# Show that the tests of calls, lists and watches catch mistakes in them
mutations: setup
    tests/mutations/run.py

# Run many callers for SECONDS while everything goes wrong, on a testbed and in a real cluster, and compare the memory of long lists; SOAK_SEED=N repeats the faults
soak SECONDS="600": setup soak-memory schedules (soak-cluster SECONDS)
    cargo test {{release}} --workspace --test soak -- {{SECONDS}}

# Run many callers for SECONDS in a real Kubernetes of its own, whose components are restarted
soak-cluster SECONDS="600": setup
    tests/soak/cluster.sh {{SECONDS}}

# Compare the memory of paging through 5,000 and 50,000 pods
soak-memory: setup
    cargo test {{release}} --workspace --test soak -- memory

# Run the fuzz targets' corpus: the first inputs, and what fuzzing has found
fuzz-corpus:
    fuzz/run.sh replay

# Fuzz the code that reads bodies, requests and configuration: every target for 10 s, or only its corpus where there is no nightly compiler
fuzz-smoke:
    fuzz/run.sh smoke

# Fuzz one TARGET of fuzz/fuzz_targets
fuzz TARGET SECONDS="60":
    fuzz/run.sh {{TARGET}} {{SECONDS}}

# Load and run COUNT generated components, in a process that cannot unwind; none may end it; SEED is the number of the first one
loader-generated COUNT="20000" SEED="1": setup-clang
    cargo run --profile abort --locked -p incluster -p incluster-cli --example generated -- {{COUNT}} {{SEED}}

# Compare clients that list pods, on one server: incluster, kube-rs, the Python client, kubectl, curl; results go to docs/performance
bench *SIZES: setup-clang
    benches/clients/run.sh {{SIZES}}

# Measure the cost of a sandbox, of its boundary, and of decoding in it
bench-micro: setup
    cargo bench --locked --workspace --bench sandbox --bench boundary --bench decode

# Compare the instructions that decoding, instantiating and a small list take with benches/instructions.txt; `record` writes that file
bench-check MODE="compare": setup
    python3 benches/check.py {{MODE}}

# Measure many tenants: their memory, denials, and good ones beside hostile ones for SECONDS
bench-tenants SECONDS="60": setup
    cargo bench --locked --workspace --bench tenants -- {{SECONDS}}

# Measure the time, and the memory of both processes, that checking hostile files, or these FILES, takes
bench-loading *FILES: setup
    cargo bench --locked --workspace --bench loading -- {{FILES}}

# Measure the time and the resident memory that loading these FILES from the cache takes
bench-cached +FILES: setup
    cargo bench --locked --workspace --bench cached -- {{FILES}}

# Measure calls of these FILES, pickers such as those of examples/extensions, in a fresh and in a warm sandbox, and the memory of the warm one
bench-calls +FILES: setup
    cargo bench --locked --workspace --bench calls -- {{FILES}}

# Show the gateway at work: requests through it while pods come and go, and an extension misbehaves
gateway-demo: setup
    @cargo build --quiet {{release}} --workspace --example gateway-demo
    @target/release/examples/gateway-demo

# Test the gateway's status page in a headless Chromium
gateway-page: setup
    CHROMIUM="$(tools/chromium.sh)" cargo test {{release}} -p gateway --test page

# Measure what an extension adds to a request through the gateway
gateway-bench: setup
    cargo bench --locked --workspace --bench added --bench many

# Show incluster-envoy at work: requests through a stock Envoy while pods come and go, and processors end
envoy-demo: setup
    @cargo build --quiet {{release}} --workspace --example envoy-demo
    @ENVOY="$(tools/envoy.sh)" target/release/examples/envoy-demo

# Measure what a decision adds to a request through Envoy; also with pickers in JavaScript, if `just test-languages` has built them
envoy-bench: setup
    ENVOY="$(tools/envoy.sh)" cargo bench --locked --workspace --bench envoy-added

# Make packages of the crates that others depend on, in target/package
package: setup-clang
    tools/package.sh

# Pack the contract into dist/ as a WIT package, twice, and compare
wit-package:
    @tools/wit-package.sh

# Show that the packages are enough to build and run a program, without this repository, its target folder or a network
test-packages: setup-clang
    tests/packages/run.sh

# Run the tests that wait for real time limits: a minute
test-waiting: setup-clang
    cargo test {{release}} --workspace --test it -- --ignored a_connection_that_goes_silent

# Compare the crates' interfaces with those of the last release
semver:
    tools/semver.sh

# Run all checks before a release: what CI runs, what is slow and seldom fails, and what only a release has
release-check: ci licences semver book gateway-page fuzz-corpus fuzz-smoke test-waiting test-languages-go loader-generated mutations test-real-oldest test-pods-slow test-packages test-cluster demo envoy-demo gateway-demo demo-cluster (soak "600") dist-twice dist image-arm64 dist-check advisories

# Run what CI runs
ci: lint test bench-check test-real test-pods test-wasmtime-cli test-languages test-envoy

# Make the target wasm32-wasip2 available
setup:
    @tools/wasm-target.sh

# Make the target wasm32-wasip2 available, and a C compiler for the C code of incluster-standalone.wasm
setup-clang: setup
    @tools/clang.sh
