"""Manifests, as kustomize builds them, against the schemas of whoever reads them, and against each other."""

import copy
import json
import re
import subprocess
import tempfile
from functools import cache

import kubernetes_validate
import yaml
from shared import KUBERNETES, ROOT, TOOLS, command, must_fail

# The oldest that has what is used here (a `sleep` before the stop), and the newest that is known.
VERSIONS = ["1.30", "1.37"]
CUSTOM = re.compile(r"(^|\.)istio\.io/|^monitoring\.coreos\.com/")


def builds():
    """Everything that is meant to be built."""
    return [KUBERNETES / "base", *sorted((KUBERNETES / "overlays").iterdir())]


@cache
def built(directory):
    text = subprocess.run(["kustomize", "build", directory], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def name(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def judge_own(things):
    for thing in things:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(copy.deepcopy(thing), version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name(thing)}: {error.path}: {error.message}"


def judge_custom(things):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(things, file)
        file.flush()
        return command("node", TOOLS / "models.mjs", file.name)


def is_custom(thing):
    return CUSTOM.search(thing["apiVersion"]) is not None


def all_of(custom):
    return [thing for directory in builds() for thing in built(directory) if is_custom(thing) == custom]


def find(things, kind, named="sync-agent"):
    return copy.deepcopy(next(t for t in things if t["kind"] == kind and t["metadata"]["name"] == named))


def own_schemas():
    """manifests are what Kubernetes takes, strictly"""
    things = all_of(custom=False)
    yield from judge_own(things)
    unknown, typed = (find(things, "StatefulSet") for _ in range(2))
    unknown["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    typed["spec"]["replicas"] = "one"
    yield from must_fail("an unknown field of a container", judge_own([unknown]))
    yield from must_fail("a number that is a word", judge_own([typed]))


def custom_schemas():
    """manifests are what Istio and the Prometheus operator take, strictly"""
    things = all_of(custom=True)
    kinds = {thing["kind"] for thing in things}
    wanted = {
        "PeerAuthentication", "AuthorizationPolicy", "DestinationRule", "VirtualService", "ServiceEntry",
        "ServiceMonitor", "PrometheusRule",
    }
    yield from [f"there is no {kind}" for kind in sorted(wanted - kinds)]
    yield from judge_custom(things)
    unknown, typed = find(things, "VirtualService"), find(things, "PeerAuthentication")
    unknown["spec"]["http"][0]["retries"]["attemps"] = 0
    typed["spec"]["mtls"]["mode"] = "strict"
    monitor = find(things, "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["portt"] = "http-metrics"
    yield from must_fail("an unknown field of a VirtualService", judge_custom([unknown]))
    yield from must_fail("a mode that is none", judge_custom([typed]))
    yield from must_fail("an unknown field of a ServiceMonitor", judge_custom([monitor]))


def hang_together():
    """what manifests name is there: ports, labels, ConfigMaps"""
    for directory in builds():
        yield from (f"{directory.name}: {line}" for line in judge_names(built(directory)))
    for kind, path, value in [
        ("Service", ("spec", "ports", 0, "targetPort"), "gprc"),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "agent"),
        ("ConfigMap", ("metadata", "name"), "sync-agent-config-8m2k"),
    ]:
        things = copy.deepcopy(built(KUBERNETES / "base"))
        at = next(thing for thing in things if thing["kind"] == kind)
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        yield from must_fail(f"{kind} with {value}", judge_names(things))


def judge_names(things):
    pods = find(things, "StatefulSet")["spec"]
    labels, spec = pods["template"]["metadata"]["labels"], pods["template"]["spec"]
    container = spec["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    there = {(thing["kind"], thing["metadata"]["name"]) for thing in things}

    for thing in things:
        if thing["kind"] not in ("Namespace",) and thing["metadata"].get("namespace") != "data-sync":
            yield f"{name(thing)} is in another namespace"
        spec_of = thing.get("spec", {})
        selector = spec_of.get("podSelector") or spec_of.get("selector") or {}
        selected = selector.get("matchLabels", selector)
        if thing["kind"] == "ServiceMonitor":
            services = [t for t in things if t["kind"] == "Service"]
            matching = [s for s in services if selected.items() <= s["metadata"]["labels"].items()]
            offered = {port["name"] for service in matching for port in service["spec"]["ports"]}
            used = {endpoint["port"] for endpoint in spec_of["endpoints"]}
            if len(matching) != 1 or not used <= offered:
                yield f"{name(thing)} finds {len(matching)} services with the ports {offered}"
        elif not selected.items() <= labels.items():
            yield f"{name(thing)} selects {selected}, and pods have {labels}"
        if thing["kind"] == "Service":
            targets = [port["targetPort"] for port in spec_of["ports"]]
            yield from [f"{name(thing)}: no port {target}" for target in targets if target not in ports]
        if thing["kind"] == "NetworkPolicy":
            named = [p["port"] for rule in spec_of["ingress"] for p in rule["ports"]]
            yield from [f"{name(thing)}: no port {port}" for port in named if port not in ports]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if container[probe]["httpGet"]["port"] not in ports:
            yield f"{probe}: no such port"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for volume in volumes.values():
        source = volume.get("configMap")
        if source and not source.get("optional") and ("ConfigMap", source["name"]) not in there:
            yield f"no ConfigMap {source['name']}"
    if volumes["config"]["configMap"]["name"] != "sync-agent-config":
        yield "the config's name changes with its content: every edit would be a restart"
    claims = {claim["metadata"]["name"] for claim in pods["volumeClaimTemplates"]}
    for mount in container["volumeMounts"]:
        if mount["name"] not in {*volumes, *claims}:
            yield f"no volume {mount['name']}"
        if "subPath" in mount:
            yield f"{mount['name']} is mounted by subPath, and would never change"
    if ("Service", pods["serviceName"]) not in there:
        yield f"no Service {pods['serviceName']}"


def mesh_and_contract():
    """the mesh lets through the contract's methods, repeats none, and waits for the proxy"""
    proto = (ROOT / "proto/sync/v1/sync.proto").read_text()
    package = re.search(r"^package (\S+);", proto, re.M)[1]
    service = re.search(r"^service (\w+)", proto, re.M)[1]
    methods = {f"/{package}.{service}/{method}" for method in re.findall(r"^  rpc (\w+)", proto, re.M)}
    host = "sync-agent.data-sync.svc.cluster.local"
    things = built(KUBERNETES / "overlays/istio")

    rules = find(things, "AuthorizationPolicy")["spec"]["rules"]
    allowed = set()
    for rule in rules:
        for to in rule["to"]:
            paths = {path for path in to["operation"]["paths"] if f"{package}." in path}
            allowed |= paths
            if paths and not all(source["source"].get("principals") for source in rule.get("from", [{"source": {}}])):
                yield f"{paths} for anybody"
    if allowed != methods:
        yield f"the contract has {methods}, the mesh lets through {allowed}"

    routes = find(things, "VirtualService")["spec"]
    first = routes["http"][0]
    if {match["uri"]["exact"] for match in first["match"]} != methods or first["retries"] != {"attempts": 0}:
        yield "the mesh repeats requests"
    if routes["hosts"] != [host] or find(things, "DestinationRule")["spec"]["host"] != host:
        yield f"not for {host}"
    if find(things, "DestinationRule")["spec"]["trafficPolicy"]["tls"]["mode"] != "ISTIO_MUTUAL":
        yield "the DestinationRule is not ISTIO_MUTUAL"
    if find(things, "PeerAuthentication", "default")["spec"]["mtls"]["mode"] != "STRICT":
        yield "the namespace is not STRICT"
    if set(find(things, "ServiceEntry", "algolia")["spec"]["hosts"]) != {"*.algolia.net", "*.algolianet.com"}:
        yield "the ServiceEntry has other hosts"
    annotations = find(things, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    if not yaml.safe_load(annotations["proxy.istio.io/config"])["holdApplicationUntilProxyStarts"]:
        yield "the agent starts before its proxy"


def pods_are_locked_down():
    """pods are restricted, and have longer to stop than the agent takes"""
    for directory in builds():
        spec = find(built(directory), "StatefulSet")["spec"]["template"]["spec"]
        container = spec["containers"][0]
        for holder, key, value in [
            (spec, "automountServiceAccountToken", False),
            (spec, "enableServiceLinks", False),
            (spec["securityContext"], "runAsNonRoot", True),
            (spec["securityContext"], "seccompProfile", {"type": "RuntimeDefault"}),
            (spec["securityContext"], "fsGroupChangePolicy", "OnRootMismatch"),
            (container["securityContext"], "readOnlyRootFilesystem", True),
            (container["securityContext"], "allowPrivilegeEscalation", False),
            (container["securityContext"], "capabilities", {"drop": ["ALL"]}),
        ]:
            if holder.get(key) != value:
                yield f"{directory.name}: {key} is {holder.get(key)}"
        # Before the signal, requests that arrive (limits.receive_timeout), --grace, the last spans.
        takes = container["lifecycle"]["preStop"]["sleep"]["seconds"] + 10 + 20 + 2
        if spec["terminationGracePeriodSeconds"] < takes + 10:
            yield f"{directory.name}: {spec['terminationGracePeriodSeconds']} s to stop, and it may take {takes}"


CHECKS = [own_schemas, custom_schemas, hang_together, mesh_and_contract, pods_are_locked_down]
