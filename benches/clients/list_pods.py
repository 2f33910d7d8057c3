"""Lists a namespace's pods with the official Python client: list_pods.py NAMESPACE SERVER SERVICE-ACCOUNT-DIR [LIMIT]"""
import sys

from kubernetes import client

namespace, server, directory, *limit = sys.argv[1:]
configuration = client.Configuration(host=server)
configuration.ssl_ca_cert = f"{directory}/ca.crt"
with open(f"{directory}/token", encoding="ascii") as token:
    configuration.api_key = {"authorization": f"Bearer {token.read().strip()}"}
api = client.CoreV1Api(client.ApiClient(configuration))
options = {"limit": int(limit[0])} if limit else {}
count = 0
while True:
    page = api.list_namespaced_pod(namespace, **options)
    for pod in page.items:
        print(pod.metadata.name, ",".join(ip.ip for ip in pod.status.pod_ips or []))
    count += len(page.items)
    if not page.metadata.var_continue:
        break
    options["_continue"] = page.metadata.var_continue
print(count, "pods", file=sys.stderr)
