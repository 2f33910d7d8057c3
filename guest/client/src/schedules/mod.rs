//! Everything that can happen to calls and to a watch, in random order: nothing is lost, nothing comes twice, deadlines are kept, and waits
//! are bounded.
//!
//! A schedule is a list of bytes, each of which says what happens next. A schedule that fails is printed as a test to paste. `SCHEDULES`
//! sets how many are tried, and `SCHEDULE_SEED` with which seed.

mod bodies;
mod calls;
mod checks;
mod reader;
mod server;
mod world;

use crate::decode::JsonObject;
use crate::types::Pod;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::fmt::Debug;
use std::time::Duration;
use world::World;

/// The default deadline of a call.
const DEADLINE: Duration = Duration::from_secs(90);

/// The minimum number of events in a schedule.
const LEAST_EVENTS: u32 = 50;

/// Something that goes wrong, or just happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NoToken,
    Rotation,
    Unauthorized,
    Forbidden,
    Busy,
    Refused,
    Unreachable,
    LostBeforeHead,
    NoHead,
    NotTrusted,
    Gone,
    CutFailure,
    CutPage,
    SlowPage,
    CutWatch,
    EndedWatch,
    CutWithinFrame,
    PausedWatch,
    GoneEvent,
    BusyEvent,
    MalformedEvent,
    MalformedInitialEvent,
    Forgotten,
    WallClockJump,
    Suspended,
    NoWatchList,
    NoInitialEnd,
    EmptyEnds,
    TooLarge,
    TooLargeEvent,
    NotTrustedAnyMore,
    NotJson,
    TooMuch,
}

/// How many times each fault happened.
#[derive(Default)]
pub struct Faults(Vec<(Fault, u64)>);

impl Faults {
    pub fn count(&mut self, fault: Fault) {
        match self.0.iter_mut().find(|(counted, _)| *counted == fault) {
            Some((_, count)) => *count += 1,
            None => self.0.push((fault, 1)),
        }
    }
}

type Checked<T = ()> = Result<T, String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// Runs a schedule. Returns how many events it had.
type Replay = fn(&[u8], &mut Faults) -> Checked<u32>;

/// Runs a schedule of a watch of pods.
fn watch(tape: &[u8], faults: &mut Faults) -> Checked<u32> {
    World::<Pod>::new(tape, faults).run()
}

/// Runs a schedule of a watch of objects.
fn json_watch(tape: &[u8], faults: &mut Faults) -> Checked<u32> {
    World::<JsonObject>::new(tape, faults).run()
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs as many schedules as are asked for. Each of the expected faults must happen.
fn run(name: &str, replay: Replay, expected: &[Fault]) {
    let schedules = u32::try_from(variable("SCHEDULES", 100_000)).unwrap();
    let seed = variable("SCHEDULE_SEED", 1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: schedules, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (faults, events) = (RefCell::new(Faults::default()), RefCell::new(0_u64));
    let tried = runner.run(&vec(any::<u8>(), 40..160), |tape| {
        let ran = replay(&tape, &mut faults.borrow_mut()).map_err(proptest::test_runner::TestCaseError::fail)?;
        *events.borrow_mut() += u64::from(ran);
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, tape)) => panic!("{why}\n\n{}", as_test(name, &tape)),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let mut faults = faults.into_inner().0;
    faults.sort_by_key(|(_, count)| *count);
    println!("{name}: {schedules} schedules, {} events: {faults:?}", events.into_inner());
    let missing = expected.iter().filter(|fault| !faults.iter().any(|(counted, _)| counted == *fault)).collect::<Vec<_>>();
    assert!(missing.is_empty() || schedules < 1000, "these never happened: {missing:?}");
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    run("watch", watch, &OF_A_WATCH);
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_of_objects() {
    run("json_watch", json_watch, &OF_A_WATCH);
}

#[test]
fn an_answer_is_whole_or_the_call_says_why_not() {
    run("calls::replay", calls::replay, &OF_A_CALL);
}

fn as_test(name: &str, tape: &impl Debug) -> String {
    format!("#[test]\nfn a_schedule() {{\n    {name}(&{tape:?}, &mut Faults::default()).unwrap();\n}}")
}

const OF_A_WATCH: [Fault; 31] = [
    Fault::NoToken,
    Fault::Rotation,
    Fault::Unauthorized,
    Fault::Forbidden,
    Fault::Busy,
    Fault::Refused,
    Fault::Unreachable,
    Fault::LostBeforeHead,
    Fault::NoHead,
    Fault::NotTrusted,
    Fault::Gone,
    Fault::CutFailure,
    Fault::CutPage,
    Fault::SlowPage,
    Fault::CutWatch,
    Fault::EndedWatch,
    Fault::CutWithinFrame,
    Fault::PausedWatch,
    Fault::GoneEvent,
    Fault::BusyEvent,
    Fault::MalformedEvent,
    Fault::MalformedInitialEvent,
    Fault::Forgotten,
    Fault::WallClockJump,
    Fault::Suspended,
    Fault::NoWatchList,
    Fault::NoInitialEnd,
    Fault::EmptyEnds,
    Fault::TooLarge,
    Fault::TooLargeEvent,
    Fault::NotTrustedAnyMore,
];

const OF_A_CALL: [Fault; 15] = [
    Fault::NoToken,
    Fault::Rotation,
    Fault::Unauthorized,
    Fault::Forbidden,
    Fault::Busy,
    Fault::Refused,
    Fault::LostBeforeHead,
    Fault::NoHead,
    Fault::NotTrusted,
    Fault::CutPage,
    Fault::SlowPage,
    Fault::WallClockJump,
    Fault::NotTrustedAnyMore,
    Fault::NotJson,
    Fault::TooMuch,
];
