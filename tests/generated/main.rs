//! Loads and runs generated components in this process; none may end it. `./justw loader-generated` builds it with `panic = "abort"`.
//!
//! Half of them are core modules by wasm-smith: instantiating one runs its start function. A quarter are components by wasm-smith. A quarter
//! are files of `extensions::hostile`, below the limit of their kind. All are compiled in this process, which only the loader's counting
//! protects.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "any error here is a failure")]

use arbitrary::Unstructured;
use extensions::hostile;
use incluster::policy::Policy;
use incluster::{CallLimits, Compiler, Ctx, Error, ExtensionError, Pool, Runtime, Sandboxes, Server, Tenant};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wasm_smith::{Component, Config, Module};
use wasmtime::Store;

const DEFAULT: u64 = 20_000;

/// How many components to load between two progress lines.
const REPORT: u64 = 1_000;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(DEFAULT, |count| count.parse().expect("COUNT is a number"));
    let seed: u64 = args.next().map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let runtime =
        Runtime::builder().pool(Pool { places: 4, ..Pool::default() }).compiler(Compiler::in_process()).build().unwrap();
    let limits = CallLimits { cpu_time: Duration::from_millis(50), wall_time: Duration::from_secs(5), ..CallLimits::default() };
    let server = Server::parse("https://127.0.0.1").unwrap();
    let tenant = Tenant::builder(&runtime, "generated").server(server).policy(Policy::deny_all()).limits(limits).build().unwrap();
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let (mut counted, mut ran, mut slowest) = (0, 0, (Duration::ZERO, 0));
    for number in seed..seed + count {
        let file = generated(number);
        let begun = Instant::now();
        let loaded = runtime.extension("generated", &file, &[]).await;
        slowest = slowest.max((begun.elapsed(), number));
        let outcome = match loaded {
            Ok(extension) => {
                counted += 1;
                ran += 1;
                run(&tenant, &extension).await
            }
            // These refusals come after the counting.
            Err(Error::Extension(error @ (ExtensionError::Imports { .. } | ExtensionError::NotCompiled(_)))) => {
                counted += 1;
                format!("refused: {}", word(&error))
            }
            Err(Error::Extension(ExtensionError::CompilerDied { how })) => panic!("component {number}: {how}"),
            Err(Error::Extension(error)) => format!("refused: {}", word(&error)),
            Err(other) => panic!("component {number}: {other}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
        let done = number - seed + 1;
        if done.is_multiple_of(REPORT) {
            eprintln!("{done} of {count}, {counted} passed the counting");
        }
    }
    for (outcome, count) in outcomes {
        println!("{count:>7} {outcome}");
    }
    println!("{counted} of {count} passed the counting; the slowest took {:.1?}: component {}", slowest.0, slowest.1);
    assert!(ran * 4 >= count, "too few ran");
    assert!(counted * 2 >= count, "most are refused before they are compiled: they are too large to test anything");
}

/// Returns the name of the error's variant, with the name of the exceeded limit or what is malformed.
fn word(error: &ExtensionError) -> String {
    if let ExtensionError::OverLimit { limit, .. } = error {
        return format!("over {limit}");
    }
    if let ExtensionError::Malformed(reason) = error {
        return format!("malformed: {}", reason.split(" (at").next().unwrap_or_default());
    }
    let debug = format!("{error:?}");
    debug.split([' ', '(']).next().unwrap_or_default().into()
}

fn generated(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let size = random.usize(64..6_000);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
    let config = || Config {
        max_imports: 0,
        min_imports: 0,
        max_memories: 2,
        max_tables: 3,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        reference_types_enabled: false,
        ..Config::default()
    };
    let file = match number % 4 {
        0 | 1 => {
            let module = Module::new(config(), &mut Unstructured::new(&bytes)).expect("a module");
            hostile::instantiating(&module.to_bytes())
        }
        2 => Component::new(config(), &mut Unstructured::new(&bytes)).expect("a component").to_bytes(),
        _ => below_a_limit(&mut random),
    };
    // Half of the files import the client's types: wac-graph reads these.
    if number % 8 < 4 { file } else { hostile::beside_the_client(&file) }
}

/// A random kind of file of `extensions::hostile`, of a random size below its limit.
fn below_a_limit(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..24) {
        0 => hostile::nested_types(random.usize(..16)),
        1 => hostile::chained_types(random.usize(..98)),
        2 => hostile::instantiated(random.usize(..7), 2),
        3 => hostile::instantiated(1, random.usize(..=256)),
        4 => hostile::nested_components(random.usize(..=16)),
        5 => hostile::empty_functions(random.usize(..3_000)),
        6 => hostile::locals(random.usize(..20)),
        7 => hostile::nested_blocks(random.usize(..2_000)),
        8 => hostile::jump_table(random.usize(..65_000)),
        9 => hostile::globals(random.usize(..10_000)),
        10 => hostile::memories(random.usize(..=3)),
        11 => hostile::doubled_types(random.usize(..19)),
        12 => hostile::closures(random.usize(..13)),
        13 => hostile::held_instances(random.usize(..13)),
        14 => hostile::copies(random.usize(..900), &hostile::empty()),
        15 => hostile::core_modules(random.usize(..=96)),
        16 => hostile::core_imports(1, &"n".repeat(random.usize(..2_000))),
        17 => hostile::exports(random.usize(..900)),
        18 => hostile::fields(random.usize(1..5_000), 3),
        19 => hostile::canonical_functions(random.usize(..19_000)),
        20 => hostile::branches(random.usize(..500)),
        21 => hostile::passive_elements(random.usize(..5_000), random.usize(1..=20)),
        22 => hostile::large_type(random.usize(..19_000)),
        _ => hostile::made(random.usize(..=3), random.usize(..=6)),
    }
}

async fn run(tenant: &Tenant, extension: &incluster::Extension) -> String {
    let Ok(sandboxes) = Sandboxes::typed(tenant, extension, |_| Ok(()), |(), _, _| Ok(())) else { return "not linked".into() };
    match sandboxes.call(async |(): &(), _: &mut Store<Ctx>| Ok(())).await {
        Ok(()) => "ran".into(),
        Err(Error::Trap(trap)) => format!("trapped: {}", trap.code.map_or("by the host".into(), |code| format!("{code:?}"))),
        Err(Error::CpuTime(_)) => "ended by cpu_time".into(),
        Err(Error::Memory(_)) => "ended by memory".into(),
        Err(Error::Table(_)) => "ended by table_elements".into(),
        Err(other) => panic!("{other}"),
    }
}
