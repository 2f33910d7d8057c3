//! Samples this process's memory and file descriptors once a second.

use crate::figures::Figures;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::Testbed;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How much more memory the last third may use than the middle third, in percent.
const GROWTH_PERCENT: u64 = 10;
const GROWTH_KB: u64 = 8 << 10;
const GROWTH_DESCRIPTORS: u64 = 10;

/// How many more file descriptors may be open at the end than at the beginning.
const SPARE_DESCRIPTORS: usize = 3;

/// How long connections may take to close.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// One sample: resident memory in kB, and the number of open file descriptors.
struct Sample {
    rss: u64,
    descriptors: usize,
}

pub struct Gauge {
    samples: JoinHandle<(Samples, Figures)>,
    stop: oneshot::Sender<()>,
}

pub struct Samples(Vec<Sample>);

impl Gauge {
    /// Starts sampling. Each second it also drains the requests that the testbed keeps, which would grow without end.
    pub fn start(testbed: Option<Arc<Testbed>>, mut figures: Figures) -> Gauge {
        let (stop, mut stopped) = oneshot::channel();
        let samples = tokio::spawn(async move {
            let mut samples = Vec::new();
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = seconds.tick() => samples.push(Sample { rss: rss(), descriptors: descriptors() }),
                    _ = &mut stopped => {
                        figures.take(testbed.as_deref());
                        return (Samples(samples), figures);
                    }
                }
                figures.take(testbed.as_deref());
            }
        });
        Gauge { samples, stop }
    }

    pub async fn stop(self) -> (Samples, Figures) {
        let _ = self.stop.send(());
        self.samples.await.expect("samples")
    }
}

impl Samples {
    fn thirds(&self) -> impl Iterator<Item = &[Sample]> {
        self.0.chunks((self.0.len().div_ceil(3)).max(1))
    }

    pub fn print(&self) {
        for (third, name) in self.thirds().zip(["first", "middle", "last"]) {
            let (min, median, max) = spread(third.iter().map(|sample| sample.rss));
            let (fewest, usual, most) = spread(third.iter().map(|sample| sample.descriptors as u64));
            println!(
                "{name} third: RSS {min} / {median} / {max} kB (min / median / max), {fewest} / {usual} / {most} file descriptors"
            );
        }
    }

    /// Returns what grew between the middle and the last third. The first third is warm-up.
    pub fn growth(&self) -> Vec<String> {
        let medians =
            |figure: fn(&Sample) -> u64| -> Vec<u64> { self.thirds().map(|third| spread(third.iter().map(figure)).1).collect() };
        let (memory, descriptors) = (medians(|sample| sample.rss), medians(|sample| sample.descriptors as u64));
        let ([_, middle, last], [_, fewer, more]) = (&memory[..], &descriptors[..]) else {
            return vec!["the run is too short to compare its thirds".into()];
        };
        let mut grown = Vec::new();
        if *last > middle + middle * GROWTH_PERCENT / 100 + GROWTH_KB {
            grown.push(format!("memory grew from {middle} kB to {last} kB"));
        }
        if *more > fewer + GROWTH_DESCRIPTORS {
            grown.push(format!("file descriptors grew from {fewer} to {more}"));
        }
        grown
    }
}

/// Waits until the connections are closed. Returns a problem if more file descriptors are open than at the beginning.
pub async fn all_closed(at_first: usize) -> Option<String> {
    let end = Instant::now() + PATIENCE;
    while descriptors() > at_first + SPARE_DESCRIPTORS && Instant::now() < end {
        tokio::time::sleep(PAUSE).await;
    }
    let at_last = descriptors();
    println!("file descriptors: {at_first} at the beginning, {at_last} at the end");
    (at_last > at_first + SPARE_DESCRIPTORS).then(|| format!("{at_last} file descriptors are open, {at_first} at the start"))
}

fn spread(values: impl Iterator<Item = u64>) -> (u64, u64, u64) {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}

fn rss() -> u64 {
    of_status(&fs::read_to_string("/proc/self/status").expect("/proc"), "VmRSS:")
}

/// Reads a figure in kB from the text of `/proc/…/status`.
pub fn of_status(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the figure");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}
