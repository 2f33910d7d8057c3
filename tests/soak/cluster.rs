//! The soak on a real cluster, whose components are restarted while callers list, page and watch its pods.
//! `just soak-cluster` starts the cluster and runs this in its network.

mod admin;
mod disturbances;
mod pods;

use crate::callers::{Bed, Callers, LAST_POD};
use crate::figures::Figures;
use crate::gauge::{self, Gauge};
use crate::ledger::Ledger;
use admin::Admin;
use disturbances::Disturbances;
use fastrand::Rng;
use incluster::policy::Policy;
use incluster::{Runtime, Server, Tenant};
use pods::{FEWEST, Pods};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use testbed::Volume;

const NAMESPACE: &str = "soak";

/// How often a pod changes.
const PACE: Duration = Duration::from_millis(50);

pub async fn soak(time: Duration) -> ExitCode {
    let seed = crate::seed();
    println!("a real cluster, disturbed for {} s; SOAK_SEED={seed}", time.as_secs());
    let admin = Arc::new(Admin::new().await);
    admin.make_namespace(NAMESPACE).await;
    let ca = std::fs::read_to_string(format!("{}/ca.crt", admin::variable("CLUSTER_DIR"))).expect("ca.crt");
    let volume = Arc::new(Volume::new(&admin.token(NAMESPACE).await, &ca, NAMESPACE));
    let mut pods = Pods::make(&admin, NAMESPACE, seed).await;

    let figures = Figures::install();
    let descriptors = gauge::descriptors();
    let tenant = tenant(&admin.server().await, &volume);
    let ledger = Arc::new(Ledger::new(None));
    let bed = Bed {
        namespace: NAMESPACE,
        fewest: FEWEST,
        pages_of: 3..20,
        version: Arc::new(|| None),
        lists: 3,
        pages: 3,
        watches: 6,
        gets: 2,
    };
    let callers = Callers::start(&tenant, &bed, &ledger, seed);
    let gauge = Gauge::start(None, figures);

    let disturbances = Disturbances::new(&admin, &volume, &ledger, NAMESPACE, Rng::with_seed(seed));
    let mut disturbing = tokio::spawn(disturbances.run(time));
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let done = loop {
        tokio::select! {
            done = &mut disturbing => break done.expect("the disturbances"),
            _ = pace.tick() => pods.change().await,
        }
    };
    let changed = pods.rest().await;
    admin.make_pod(NAMESPACE, LAST_POD).await;
    let mut problems = callers.stop(admin.pods(NAMESPACE).await).await;
    let (gauge, figures) = gauge.stop().await;
    drop(tenant);
    problems.extend(gauge::all_closed(descriptors).await);

    println!("pods: {changed:?}");
    println!("disturbances: {:?}", done.counts);
    problems.extend(done.missing(time));
    problems.extend(crate::told(&figures, &ledger, &gauge));
    admin.remove_namespace(NAMESPACE).await;
    crate::verdict(problems)
}

/// A tenant with default limits and the default retry policy.
fn tenant(server: &str, volume: &Volume) -> Tenant {
    Tenant::builder(&Runtime::new().expect("a runtime"), "soak")
        .server(Server::parse(server).expect("a URL"))
        .service_account_dir(volume.path())
        .policy(Policy::allow_all())
        .build()
        .expect("a tenant")
}
