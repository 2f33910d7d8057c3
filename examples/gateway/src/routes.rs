//! Tenants and routes, as one configuration has them.

use crate::config::{Config, ConfigError, RouteConfig, TenantConfig};
use crate::picker::{ALLOWED, Picker};
use crate::pods::PodSet;
use incluster::{Error, Extension, Runtime, Server, Tenant, input};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::error;

/// What requests go by.
pub struct Routes {
    config: Config,
    tenants: BTreeMap<String, Tenant>,
    routes: Vec<Arc<Route>>,
    are_loaded: bool,
}

/// Where requests go.
pub struct Route {
    /// What the file says.
    pub config: RouteConfig,
    /// Its pods.
    pub pods: Arc<PodSet>,
    /// What picks among them: nothing, where the file names no extension, or one that cannot be used.
    pub picker: Option<Picker>,
    /// Why the extension that the file names is not in use. If there is a picker, it is an earlier version of that extension.
    pub problem: Option<String>,
    extension: Option<Extension>,
    turn: AtomicUsize,
}

impl Route {
    /// The number of the next request that takes its turn.
    pub fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Routes {
    /// What a configuration means. What it leaves as it was before, stays: tenants with their connections, what is known of
    /// pods, and warm sandboxes. It compiles, which takes a while.
    ///
    /// # Errors
    ///
    /// A tenant cannot be made, or a route that was not there before names an extension that cannot be used. At the start, and for a file that
    /// has changed since, that concerns its route alone: [`Route::problem`].
    pub async fn build(runtime: &Runtime, file: &Path, config: Config, before: Option<&Routes>) -> Result<Routes, ConfigError> {
        let mut routes = Routes::without_extensions(runtime, file, config, before)?;
        for route in std::mem::take(&mut routes.routes) {
            let route = routes.route(runtime, file, route.config.clone(), before, &route.pods).await?;
            routes.routes.push(route);
        }
        routes.are_loaded = true;
        Ok(routes)
    }

    /// The same, before extensions are loaded, which may take long: their routes have that as their problem.
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
            let watch = || Arc::new(PodSet::watch(tenant, &config.namespace, config.label_selector.as_deref()));
            let pods = known.unwrap_or_else(watch);
            let problem = config.extension.as_ref().map(|_| "it is being loaded".into());
            let turn = AtomicUsize::new(0);
            routes.routes.push(Arc::new(Route { config, pods, picker: None, problem, extension: None, turn }));
        }
        Ok(routes)
    }

    /// Whether no extension is still to be loaded.
    pub fn are_loaded(&self) -> bool {
        self.are_loaded
    }

    async fn route(
        &self,
        runtime: &Runtime,
        file: &Path,
        config: RouteConfig,
        all_before: Option<&Routes>,
        pods: &Arc<PodSet>,
    ) -> Result<Arc<Route>, ConfigError> {
        let is_new = all_before.is_some_and(|before| !before.routes.iter().any(|route| route.config == config));
        let of_the_same_tenant =
            |before: &&Routes| before.config.tenants.get(&config.tenant) == self.config.tenants.get(&config.tenant);
        let before = all_before.filter(of_the_same_tenant);
        let tenant = &self.tenants[&config.tenant];
        let mut problem = None;
        let (mut extension, mut picker) = (None, None);
        if let Some(path) = &config.extension {
            match load(runtime, tenant, &relative_to(file, path)).await {
                Ok((loaded, made)) => (extension, picker) = (Some(loaded), Some(made)),
                // A configuration that is worse than the one that runs is not taken.
                Err(error) if is_new => return Err(ConfigError::new(file, format_args!("route {config}: {error}"))),
                Err(error) => {
                    error!(route = %config, "the extension is not in use: {error}");
                    problem = Some(error);
                    // The one that was good goes on.
                    extension = all_before.and_then(|before| before.extension(&config));
                    let again = extension.as_ref().map(|extension| Picker::new(tenant, extension));
                    picker = again.and_then(Result::ok);
                }
            }
        }
        if let Some(route) = before.and_then(|before| before.the_same(&config, extension.as_ref(), &problem)) {
            return Ok(route);
        }
        Ok(Arc::new(Route { config, pods: pods.clone(), picker, problem, extension, turn: AtomicUsize::new(0) }))
    }

    /// The route of a request.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let matching = self.routes.iter().filter(|route| {
            route.config.host.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(host))
                && begins_with(path, &route.config.path_prefix)
        });
        matching.max_by_key(|route| (route.config.host.is_some(), route.config.path_prefix.len()))
    }

    /// All of them, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All tenants, by name.
    pub fn tenants(&self) -> &BTreeMap<String, Tenant> {
        &self.tenants
    }

    /// The extension that such a route has in use.
    fn extension(&self, config: &RouteConfig) -> Option<Extension> {
        self.routes.iter().find(|route| route.config == *config).and_then(|route| route.extension.clone())
    }

    fn the_same(&self, config: &RouteConfig, extension: Option<&Extension>, problem: &Option<String>) -> Option<Arc<Route>> {
        // An extension that is in use is not compiled again: the same code is at the same place.
        let place = |extension: &Extension| extension.component().image_range();
        let is_the_same = |route: &&Arc<Route>| {
            route.config == *config && route.problem == *problem && route.extension.as_ref().map(place) == extension.map(place)
        };
        self.routes.iter().find(is_the_same).cloned()
    }

    /// The pods of such a route, where they are watched already.
    fn pods(&self, config: &RouteConfig) -> Option<Arc<PodSet>> {
        let of = |config: &RouteConfig| (config.tenant.clone(), config.namespace.clone(), config.label_selector.clone());
        self.routes.iter().find(|route| of(&route.config) == of(config)).map(|route| route.pods.clone())
    }
}

/// Whether a path begins with these segments.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn tenant(runtime: &Runtime, name: &str, config: &TenantConfig) -> Result<Tenant, Error> {
    let mut builder =
        Tenant::builder(runtime, name).policy(config.policy.clone()).limits(config.limits.clone()).reuse(config.reuse);
    if let Some(server) = &config.server {
        builder = builder.server(Server::parse(server)?);
    }
    if let Some(dir) = &config.service_account_dir {
        builder = builder.service_account_dir(dir);
    }
    builder.build()
}

/// A path in the file: from the file's folder.
pub fn relative_to(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

async fn load(runtime: &Runtime, tenant: &Tenant, path: &Path) -> Result<(Extension, Picker), String> {
    let in_file = |error: &dyn Display| input::printable(&format_args!("{}: {error}", path.display()));
    let bytes = input::read(path, runtime.load_limits().bytes).map_err(|e| in_file(&e))?;
    let extension = runtime.extension(tenant.name(), &bytes, &ALLOWED).await.map_err(|e| in_file(&e))?;
    let picker = Picker::new(tenant, &extension).map_err(|e| in_file(&e))?;
    Ok((extension, picker))
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
