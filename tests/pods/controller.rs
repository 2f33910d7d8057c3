//! Tests `examples/controller` in a pod, as an extension without the token.

use crate::kubectl::{api_server_is_back, apply, component, kubectl, logs, says};
use crate::watchers::Namespace;
use crate::{alone, asked};
use serde_json::json;

/// The resources that RBAC and the host's policy let the controller list and watch.
const RESOURCES: [(&str, &str); 2] = [("", "pods"), ("discovery.k8s.io", "endpointslices")];

/// Waits until the controller's last line about this pod says that it is ready, whether or not the controller has seen the pod before.
fn is_ready(home: &Namespace, pod: &str) {
    asked(|| {
        let log = logs(&home.0, "controller");
        let line = log.lines().rfind(|line| line.contains(&format!(" pod controlled/{pod}: ")));
        match line {
            Some(line) if line.ends_with(" Pending, ready, 192.0.2.250") => Ok(()),
            _ => Err(format!("the controller says of {pod}: {line:?}")),
        }
    });
}

/// The controller keeps track of the pods and endpoints of two namespaces across a restart of the API server.
#[test]
fn a_controller_outlives_the_api_servers_restart() {
    let _alone = alone();
    let namespaces = ["controls", "controlled"].map(Namespace::new);
    let [home, other] = &namespaces;
    let rules: Vec<_> =
        RESOURCES.iter().map(|(group, resource)| (json!([group]), json!([resource]), json!(["list", "watch"]))).collect();
    for namespace in [home, other] {
        let name = &namespace.0;
        let rules: Vec<_> = rules
            .iter()
            .map(|(groups, resources, verbs)| json!({"apiGroups": groups, "resources": resources, "verbs": verbs}))
            .collect();
        let metadata = json!({"name": "controller", "namespace": name});
        let api = "rbac.authorization.k8s.io";
        apply(&json!({"apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata, "rules": rules}));
        apply(&json!({"apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "controller"},
            "subjects": [{"kind": "ServiceAccount", "name": "lister", "namespace": home.0}]}));
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let permitted: Vec<_> = rules
        .iter()
        .map(|(groups, resources, verbs)| {
            json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "namespaces": [home.0, other.0]})
        })
        .collect();
    std::fs::write(at("policy.json"), json!({"rules": permitted}).to_string()).unwrap();
    std::fs::write(at("controller.wasm"), extensions::CONTROLLER).unwrap();
    let files = [at("policy.json"), at("controller.wasm")].map(|path| format!("--from-file={path}"));
    kubectl(&["create", "configmap", "controller", "--namespace", &home.0, &files[0], &files[1]]);
    let mount = json!([{"name": "controller", "mountPath": "/controller", "readOnly": true}]);
    let change = json!({
        "volumes": [{"name": "controller", "configMap": {"name": "controller"}}],
        // Compiling takes 208 MiB plus forty times the file's size.
        "containers": [{"name": "main", "volumeMounts": mount, "resources": {"limits": {"memory": "320Mi"}}}],
    });
    let options = ["run", "--policy", "/controller/policy.json", "--wall-time", "none", "--cpu-time", "none"];
    let program = ["/controller/controller.wasm", &*home.0, &*other.0, "--summary", "1"];
    home.pod("controller", "incluster:0.1.0", &[&options[..], &program].concat(), &change);

    other.change(0);
    is_ready(home, "ready-000");
    let metadata = json!({"name": "web", "namespace": other.0});
    let service = json!({"selector": {"test": "ready"}, "clusterIP": "None", "ports": [{"port": 80}]});
    apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}));
    says(&home.0, "controller", "+ endpointslice controlled/web-");
    // The controller's own pod is in the other namespace.
    says(&home.0, "controller", "pod controls/controller: ");

    component("restart", "apiserver");
    api_server_is_back();
    other.change(1);
    is_ready(home, "ready-001");
    kubectl(&["delete", "pod", "ready-000", "--namespace", &other.0, "--wait=false"]);
    says(&home.0, "controller", "- pod controlled/ready-000\n");
    let log = logs(&home.0, "controller");
    let once = |line: &str| log.matches(line).count() == 1;
    assert!(once("+ pod controlled/ready-000: ") && once("+ pod controlled/step-001: "), "{log}");
    let said: Vec<_> = log.lines().filter(|line| line.starts_with("controller: ")).collect();
    assert!(said.iter().all(|line| line.contains("beginning again")), "{said:?}");
}
