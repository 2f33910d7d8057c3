//! Tenants and routes, as one configuration has them.

use crate::config::{Config, ConfigError, RouteConfig, TenantConfig};
use crate::loading::{Problem, load, relative_to};
use crate::picker::Picker;
use crate::pods::{Generation, PodEndpoint, PodSet};
use crate::told::Told;
use futures_util::stream::{self, SelectAll, StreamExt};
use incluster::{Error, Extension, Identity, Runtime, SERVICE_ACCOUNT_DIR, Server, Tenant};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::error;

/// The maximum number of files in memory at once while they are loaded: more than the compiler takes at once, which queues the rest.
const AT_ONCE: usize = 4;

/// The tenants and routes that decide where requests go.
#[derive(Clone)]
pub struct Routes {
    config: Config,
    tenants: BTreeMap<String, Tenant>,
    routes: Vec<Arc<Route>>,
    are_loaded: bool,
}

/// A route, with its pods and its extension.
pub struct Route {
    /// The route's configuration.
    pub config: RouteConfig,
    /// The route's pods.
    pub pods: Arc<PodSet>,
    /// The extension that picks among the pods; `None` if the file names no extension, or one that cannot be used.
    pub picker: Option<Picker>,
    /// Why the extension that the file names is not in use. If there is a picker, it is an earlier version of that extension.
    pub problem: Option<Problem>,
    extension: Option<Extension>,
    turn: AtomicUsize,
    /// When something about this route was logged that may happen with each request.
    pub(crate) told: Told,
}

impl Route {
    /// What is wrong with the route's extension, and what that means, for people.
    pub fn trouble(&self) -> Option<String> {
        Some(match (self.problem.as_ref()?, &self.picker) {
            (problem @ Problem::Loading, _) => problem.to_string(),
            (problem, None) => format!("the extension cannot be used: {problem}"),
            (problem, Some(_)) => {
                format!(
                    "the extension's file cannot be used; the version before stays in use, but not after a restart: {problem}"
                )
            }
        })
    }

    /// The number of the next request that takes its turn.
    pub fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Routes {
    /// Applies the policies of this configuration to the tenants at once.
    pub fn permit(&self, config: &Config) {
        for (tenant, permitted) in
            self.tenants.iter().filter_map(|(name, tenant)| Some((tenant, &config.tenants.get(name)?.policy)))
        {
            if *tenant.policy() != *permitted {
                tenant.set_policy(permitted.clone());
            }
        }
    }

    /// Builds the routes of a configuration. What has not changed is kept: tenants with their connections, what is known of
    /// pods, and warm sandboxes. Extensions are compiled, which takes a while, as many at once as the runtime's compiler permits. After
    /// each one, `progress` gets the routes as they are so far.
    ///
    /// # Errors
    ///
    /// A tenant cannot be made, or a new route names an extension that cannot be used. At the start, and for an extension's file that
    /// has changed since, only the route is affected: [`Route::problem`].
    pub async fn build(
        runtime: &Runtime,
        file: &Path,
        config: Config,
        before: Option<&Routes>,
        progress: impl Fn(&Routes),
    ) -> Result<Routes, ConfigError> {
        let planned = Routes::without_extensions(runtime, file, config, before)?;
        let mut routes = planned.clone();
        // A configuration in use goes on serving while a changed file is loaded.
        routes.are_loaded |= before.is_some_and(|before| before.are_loaded && before.are_of(&planned.config));
        // Files that wait are not in memory yet: a tenant's are loaded one after the other, and those of several tenants at once.
        let room = Semaphore::new(AT_ONCE);
        let load = async |place: usize| {
            let _room = room.acquire().await;
            let route = &planned.routes[place];
            planned.route(runtime, file, route.config.clone(), before, &route.pods).await.map(|route| (place, route))
        };
        let of_tenant = |tenant: &String| {
            let places = (0..planned.routes.len()).filter(|&place| planned.routes[place].config.tenant == *tenant);
            stream::iter(places.collect::<Vec<_>>()).then(&load).boxed()
        };
        let mut loading: SelectAll<_> = planned.tenants.keys().map(of_tenant).collect();
        while let Some(loaded) = loading.next().await {
            let (place, route) = loaded?;
            routes.routes[place] = route;
            progress(&routes);
        }
        routes.are_loaded = true;
        Ok(routes)
    }

    /// Builds the routes before their extensions are loaded, which may take long: until then, new routes answer 503.
    pub fn without_extensions(
        runtime: &Runtime,
        file: &Path,
        config: Config,
        before: Option<&Routes>,
    ) -> Result<Routes, ConfigError> {
        let mut tenants = BTreeMap::new();
        for (name, tenant_config) in &config.tenants {
            let unchanged = before.filter(|before| before.config.tenants.get(name) == Some(tenant_config));
            let tenant = match unchanged.and_then(|before| before.tenants.get(name)) {
                Some(tenant) => tenant.clone(),
                None => tenant(runtime, name, tenant_config)
                    .map_err(|error| ConfigError::new(file, format_args!("tenant `{name}`: {error}")))?,
            };
            tenants.insert(name.clone(), tenant);
        }
        let are_loaded = config.routes.iter().all(|route| route.extension.is_none());
        let mut routes = Routes { tenants, routes: Vec::new(), config, are_loaded };
        for config in routes.config.routes.clone() {
            let tenant = &routes.tenants[&config.tenant];
            let of_the_same_tenant =
                |before: &&Routes| before.config.tenants.get(&config.tenant) == routes.config.tenants.get(&config.tenant);
            let known =
                before.filter(of_the_same_tenant).and_then(|before| before.pods(&config)).or_else(|| routes.pods(&config));
            let pods = match known {
                Some(pods) => pods,
                None => {
                    // Requests do not wait for the pods to come again because a limit has changed.
                    let account = routes.config.tenants[&config.tenant].account();
                    let is_of_account = |before: &&Routes| {
                        before.config.tenants.get(&config.tenant).is_some_and(|tenant| tenant.account() == account)
                    };
                    let before = before.filter(is_of_account).and_then(|before| before.pods(&config));
                    let pods = PodSet::watch(tenant, &config.namespace, config.label_selector.as_deref(), before);
                    Arc::new(pods.map_err(|error| ConfigError::new(file, format_args!("route {config}: {error}")))?)
                }
            };
            let serving = before.filter(of_the_same_tenant).and_then(|before| before.serving(&config));
            let loading = || {
                let (problem, turn) = (config.extension.as_ref().map(|_| Problem::Loading), AtomicUsize::new(0));
                Arc::new(Route {
                    config: config.clone(),
                    pods,
                    picker: None,
                    problem,
                    extension: None,
                    turn,
                    told: Told::default(),
                })
            };
            routes.routes.push(serving.unwrap_or_else(loading));
        }
        Ok(routes)
    }

    /// How long to go on serving after reporting the end.
    pub(crate) fn drain_time(&self) -> Duration {
        self.config.drain_time
    }

    /// Whether no extension is still to be loaded.
    pub fn are_loaded(&self) -> bool {
        self.are_loaded
    }

    /// How many routes have an extension that cannot be used, with or without an earlier version in its place.
    pub fn unusable(&self) -> usize {
        self.routes.iter().filter(|route| matches!(route.problem, Some(Problem::NotUsable { .. }))).count()
    }

    /// Whether some route sends requests somewhere, or there are no routes.
    pub fn serves_any(&self) -> bool {
        self.routes.is_empty()
            || self.routes.iter().any(|route| route.problem.is_none() || route.picker.is_some() || route.config.fail_open)
    }

    /// Whether an extension that is not in use may be loaded later, from the same file.
    pub fn may_recover(&self) -> bool {
        self.routes.iter().filter_map(|route| route.problem.as_ref()).any(Problem::may_pass)
    }

    async fn route(
        &self,
        runtime: &Runtime,
        file: &Path,
        config: RouteConfig,
        all_before: Option<&Routes>,
        pods: &Arc<PodSet>,
    ) -> Result<Arc<Route>, ConfigError> {
        let is_new = |before: &Routes| before.are_loaded && !before.routes.iter().any(|route| route.config == config);
        let is_new = all_before.is_some_and(is_new);
        let of_the_same_tenant =
            |before: &&Routes| before.config.tenants.get(&config.tenant) == self.config.tenants.get(&config.tenant);
        let before = all_before.filter(of_the_same_tenant);
        let tenant = &self.tenants[&config.tenant];
        let mut problem = None;
        let (mut extension, mut picker) = (None, None);
        if let Some(path) = &config.extension {
            match load(runtime, tenant, &relative_to(file, path), &config.settings).await {
                Ok((loaded, made)) => (extension, picker) = (Some(loaded), Some(made)),
                // A configuration that would be worse than the current one is refused.
                Err(found) if is_new => {
                    return Err(ConfigError::new(file, format_args!("route {config}: {found}")).that_may_pass(found.may_pass()));
                }
                Err(found) => {
                    // The last good version stays in use.
                    extension = all_before.and_then(|before| before.extension(&config));
                    let again = extension.as_ref().map(|extension| Picker::new(tenant, extension, &config.settings));
                    picker = again.and_then(Result::ok);
                    problem = Some(found);
                }
            }
        }
        if let Some(route) = before.and_then(|before| before.the_same(&config, extension.as_ref(), &problem)) {
            return Ok(route);
        }
        let (turn, told) = (AtomicUsize::new(0), Told::default());
        let route = Route { config, pods: pods.clone(), picker, problem, extension, turn, told };
        if let Some(trouble) = route.trouble() {
            error!(route = %route.config, tenant = route.config.tenant, "{trouble}");
        }
        Ok(Arc::new(route))
    }

    /// Finds the route of a request.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let matching = self.routes.iter().filter(|route| {
            route.config.host.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(host))
                && begins_with(path, &route.config.path_prefix)
        });
        matching.max_by_key(|route| (route.config.host.is_some(), route.config.path_prefix.len()))
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All tenants, by name.
    pub fn tenants(&self) -> &BTreeMap<String, Tenant> {
        &self.tenants
    }

    /// The route with this configuration, as it is.
    fn serving(&self, config: &RouteConfig) -> Option<Arc<Route>> {
        self.routes.iter().find(|route| route.config == *config).cloned()
    }

    /// The pods of this Envoy cluster, with their generation; no pods if there is no such route. `None` while the pods are not known, and
    /// if they are still those of the generation `known`.
    pub fn endpoints(&self, cluster: &str, known: Generation) -> Option<(Generation, Vec<PodEndpoint>)> {
        match self.of_cluster(cluster) {
            Some(route) => route.pods.endpoints(route.config.port, known),
            None => Some((Generation::default(), Vec::new())),
        }
    }

    /// Waits until these pods are no longer those of this generation; `None` if there is no such route.
    pub fn changed(&self, cluster: &str, generation: Generation) -> Option<impl Future<Output = ()> + use<>> {
        let pods = self.of_cluster(cluster)?.pods.clone();
        Some(async move { pods.changed(generation).await })
    }

    fn of_cluster(&self, cluster: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.config.cluster.as_deref() == Some(cluster))
    }

    /// Whether these routes were made from this configuration.
    pub fn are_of(&self, config: &Config) -> bool {
        self.config == *config
    }

    /// The extension that the route with this configuration has in use.
    fn extension(&self, config: &RouteConfig) -> Option<Extension> {
        self.routes.iter().find(|route| route.config == *config).and_then(|route| route.extension.clone())
    }

    fn the_same(&self, config: &RouteConfig, extension: Option<&Extension>, problem: &Option<Problem>) -> Option<Arc<Route>> {
        // An extension that is in use is not compiled again: the same code is at the same place.
        let place = |extension: &Extension| extension.component().image_range();
        let is_the_same = |route: &&Arc<Route>| {
            route.config == *config && route.problem == *problem && route.extension.as_ref().map(place) == extension.map(place)
        };
        self.routes.iter().find(is_the_same).cloned()
    }

    /// The pods of a route with this configuration, if they are watched already.
    fn pods(&self, config: &RouteConfig) -> Option<Arc<PodSet>> {
        self.routes.iter().find(|route| route.config.pods() == config.pods()).map(|route| route.pods.clone())
    }
}

/// Whether a path begins with these segments.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn tenant(runtime: &Runtime, name: &str, config: &TenantConfig) -> Result<Tenant, Error> {
    let mut builder = Tenant::builder(runtime, name).policy(config.policy.clone()).limits(config.limits).reuse(config.reuse);
    if let Some(server) = &config.server {
        builder = builder.server(Server::parse(server)?);
    }
    let dir = config.service_account_dir.as_deref().unwrap_or(Path::new(SERVICE_ACCOUNT_DIR));
    builder = match &config.service_account {
        Some(account) => builder.identity(Identity::token_request(&account.namespace, &account.name).asked_by(dir)),
        None => builder.service_account_dir(dir),
    };
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_whole_segments() {
        for (path, prefix, begins) in [
            ("/", "/", true),
            ("/shop", "/", true),
            ("/shop", "/shop", true),
            ("/shop/cart", "/shop", true),
            ("/shop/cart", "/shop/", true),
            ("/shopping", "/shop", false),
            ("/", "/shop", false),
        ] {
            assert_eq!(begins_with(path, prefix), begins, "{path} {prefix}");
        }
    }
}
