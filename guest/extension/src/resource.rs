//! Objects with the types of k8s-openapi, which know their paths.

use crate::collection::Collection;
use crate::{ALL_NAMESPACES, Client, Error, List, Watch};
use k8s_openapi::{ClusterResourceScope, ListableResource, NamespaceResourceScope, Resource};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

/// A type of k8s-openapi whose objects are in namespaces, such as `k8s_openapi::api::core::v1::Service`.
pub trait NamespacedResource: ListableResource<Scope = NamespaceResourceScope> + DeserializeOwned {}

impl<K: ListableResource<Scope = NamespaceResourceScope> + DeserializeOwned> NamespacedResource for K {}

/// A type of k8s-openapi whose objects are in no namespace, such as `k8s_openapi::api::core::v1::Node`.
pub trait ClusterResource: ListableResource<Scope = ClusterResourceScope> + DeserializeOwned {}

impl<K: ListableResource<Scope = ClusterResourceScope> + DeserializeOwned> ClusterResource for K {}

/// The characters that are encoded in a segment of a path: all but those that RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Client {
    /// The objects of a type, in a namespace or in [all namespaces](ALL_NAMESPACES).
    pub fn resource<K: NamespacedResource>(&self, namespace: &str) -> Collection<K> {
        self.collection(&collection_path::<K>(Some(namespace)))
    }

    /// The objects of a type that is in no namespace, such as `k8s_openapi::api::core::v1::Node`.
    pub fn cluster_resource<K: ClusterResource>(&self) -> Collection<K> {
        self.collection(&collection_path::<K>(None))
    }

    /// Lists all objects of a type in a namespace, at one resource version.
    pub fn list<K: NamespacedResource>(&self, namespace: &str) -> Result<List<K>, Error> {
        self.resource(namespace).list()
    }

    /// Gets an object by its name, in a namespace, which cannot be [all namespaces](ALL_NAMESPACES).
    ///
    /// # Errors
    ///
    /// If there is no such object, the error has the status 404: see [`Error::is_not_found`].
    pub fn get<K: NamespacedResource>(&self, namespace: &str, name: &str) -> Result<K, Error> {
        // The path for all namespaces would find no object, as if it were gone.
        let namespace = if namespace == ALL_NAMESPACES { "%2A" } else { namespace };
        self.get_at(&object_path::<K>(Some(namespace), name))
    }

    /// Gets an object that is in no namespace by its name, like [`get`](Client::get).
    pub fn cluster_get<K: ClusterResource>(&self, name: &str) -> Result<K, Error> {
        self.get_at(&object_path::<K>(None, name))
    }

    /// Watches the objects of a type in a namespace as they change. Existing objects come first.
    pub fn watch<K: NamespacedResource>(&self, namespace: &str) -> Result<Watch<K>, Error> {
        self.resource(namespace).watch()
    }
}

/// Returns the path of an object.
fn object_path<K: Resource>(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{}", collection_path::<K>(namespace), utf8_percent_encode(name, ENCODED))
}

/// Returns the path of a type's collection. An invalid namespace is encoded, so that it leads nowhere else: the client refuses it.
fn collection_path<K: Resource>(namespace: Option<&str>) -> String {
    let group = if K::GROUP.is_empty() { "/api".into() } else { format!("/apis/{}", K::GROUP) };
    let namespace = namespace.filter(|namespace| *namespace != ALL_NAMESPACES);
    let namespace =
        namespace.map(|namespace| format!("/namespaces/{}", utf8_percent_encode(namespace, ENCODED))).unwrap_or_default();
    format!("{group}/{}{namespace}/{}", K::VERSION, K::URL_PATH_SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Node, Service};
    use k8s_openapi::api::discovery::v1::EndpointSlice;

    #[test]
    fn a_type_knows_its_path() {
        assert_eq!(collection_path::<Service>(Some("shop")), "/api/v1/namespaces/shop/services");
        assert_eq!(collection_path::<EndpointSlice>(Some("*")), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(collection_path::<Node>(None), "/api/v1/nodes");
        assert_eq!(collection_path::<Service>(Some("../x")), "/api/v1/namespaces/..%2Fx/services");
        assert_eq!(collection_path::<Service>(Some("")), "/api/v1/namespaces//services");
        assert_eq!(object_path::<Service>(Some("shop"), "a/b"), "/api/v1/namespaces/shop/services/a%2Fb");
        assert_eq!(object_path::<Node>(None, "worker-1"), "/api/v1/nodes/worker-1");
    }
}
