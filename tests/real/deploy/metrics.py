"""Alerts and the dashboard against what a running agent exports."""

import json
import re
import subprocess
import tempfile
import time
import urllib.request
from functools import cache
from pathlib import Path

import promql_parser
import yaml
from agent import prepared
from shared import AGENT, MONITORING, must_fail

# What Prometheus itself adds to every sample.
TARGET = {"job", "instance"}
# Of Prometheus' functions for texts, those that are used.
FUNCTIONS = {"humanize", "humanize1024", "humanizeDuration"}
CONFIG = """
[listen]
grpc = "127.0.0.1:0"
http = "127.0.0.1:0"
[data]
dir = "/var/lib/sync-agent/data"
[destinations.archive]
type = "file"
dir = "/var/lib/sync-agent/out"
[[indexes]]
match = "*"
destinations = ["archive"]
transform = "redact"
[transforms.redact]
path = "/opt/sync-agent/transforms/redact.wasm"
config = { fields = ["email"] }
"""


def scrape():
    """What an agent with a destination and a transform answers at /metrics."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "agent.toml"
        config.write_text(prepared(CONFIG, Path(directory)))
        log = Path(directory) / "log"
        words = [AGENT, "run", "--config", config, "--log-format", "json"]
        with log.open("w") as stderr:
            agent = subprocess.Popen(words, stderr=stderr, cwd=directory)
        try:
            deadline = time.monotonic() + 60
            while True:
                lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
                served = [line for line in lines if line["message"] == "metrics and health are served"]
                if served:
                    break
                if agent.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the agent does not start:\n{log.read_text()}")
                time.sleep(0.02)
            with urllib.request.urlopen(f"http://{served[0]['address']}/metrics", timeout=10) as answer:
                return answer.read().decode()
        finally:
            agent.terminate()
            agent.wait(timeout=60)


@cache
def exported():
    """The names of the samples, each with those labels and values that it has now; none has samples later than others."""
    names = {}
    for line in scrape().splitlines():
        if typed := re.match(r"# TYPE (\S+) (\S+)", line):
            suffixes = ["_bucket", "_sum", "_count"] if typed[2] == "histogram" else [""]
            names.update({typed[1] + suffix: {} for suffix in suffixes})
        elif sample := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            for label, value in re.findall(r'(\w+)="([^"]*)"', sample[2] or ""):
                names[sample[1]].setdefault(label, set()).add(value)
    return names


@cache
def rule_groups():
    rule = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text())
    return rule["spec"]["groups"]


def rules():
    return [rule for group in rule_groups() for rule in group["rules"]]


@cache
def dashboard():
    return json.loads((MONITORING / "sync-agent.json").read_text())


def selectors(expression):
    """The name and the matchers of every series that an expression reads."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, [(m.name, str(m.op), m.value) for m in node.matchers.matchers]))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def judge(expression):
    """What is wrong with an expression: its grammar and types, its names, labels and their values."""
    # What Grafana puts in.
    text = expression.replace("$__rate_interval", "1m")
    try:
        read = selectors(text)
    except ValueError as error:
        return [f"{expression}: {error}"]
    wrong = [] if read else [f"{expression}: no metric is read"]
    for metric, matchers in read:
        if metric not in exported():
            wrong.append(f"{metric} is not exported")
            continue
        labels = exported()[metric]
        for label, _, value in matchers:
            if label in TARGET or not labels:
                continue
            if label not in labels:
                wrong.append(f"{metric} has no label {label}")
            elif "$" not in value and not set(value.split("|")) <= labels[label]:
                wrong.append(f"{metric} has no {label} {value}, but {sorted(labels[label])}")
    return wrong


def alerts():
    """alerts are of Prometheus' grammar, read what the agent exports, and say what to do"""
    for rule in rules():
        name, notes = rule["alert"], rule["annotations"]
        yield from (f"{name}: {line}" for line in judge(rule["expr"]))
        if rule["labels"]["severity"] not in ("warning", "critical"):
            yield f"{name}: severity {rule['labels']['severity']}"
        if len(notes.get("runbook", "")) < 40:
            yield f"{name}: what is to be done?"
        yield from (f"{name}: {line}" for line in judge_texts(rule))
    names = [rule["alert"] for rule in rules()]
    if len(names) < 15 or len(set(names)) < len(names):
        yield f"alerts: {names}"

    for what, broken in [
        ("a bracket that is open", "sum(rate(sync_agent_log_syncs_total[5m]) > 0"),
        ("a function that is none", "ratio(sync_agent_log_syncs_total[5m]) > 0"),
        ("a rate of a vector", "rate(sync_agent_log_syncs_total) > 0"),
        ("a metric that is none", "sync_agent_log_poison == 1"),
        ("a label that is none", 'sync_agent_breaker_state{status="open"} == 1'),
        ("a state that is none", 'sync_agent_breaker_state{state="opened"} == 1'),
    ]:
        yield from must_fail(what, judge(broken))
    rule = {"expr": "sum by (job) (sync_agent_lag_bytes)", "annotations": {"summary": "{{ $labels.destination }}"}}
    yield from must_fail("a label that the alert has not", judge_texts(rule))


def judge_texts(rule):
    """The labels that its texts show are those of its samples."""
    kept = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
    if kept:
        labels = {label.strip() for label in kept[-1].split(",")} - {"le"}
    elif rule["expr"].startswith("absent"):
        labels = set()
    else:
        metric, _ = selectors(rule["expr"])[0]
        labels = TARGET | set(exported().get(metric, {}))
    for text in rule["annotations"].values():
        for inner in re.findall(r"\{\{(.*?)\}\}", text):
            value, *functions = [part.strip() for part in inner.split("|")]
            if value != "$value" and value.removeprefix("$labels.") not in labels:
                yield f"{inner.strip()}: it has {sorted(labels)}"
            if not set(functions) <= FUNCTIONS:
                yield f"{inner.strip()}: no such function"


def panels():
    """the dashboard reads what the agent exports, by variables that it has, and nothing lies over another"""
    board = dashboard()
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()
            if metric not in exported() or label not in TARGET | set(exported()[metric]):
                yield f"{variable['query']} has no values"
    taken, ids = {}, set()
    for panel in board["panels"]:
        title, place = panel["title"], panel["gridPos"]
        for target in panel.get("targets", []):
            yield from (f"{title}: {line}" for line in judge(target["expr"]))
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            if not used <= variables:
                yield f"{title}: no variable {used - variables}"
        if panel["type"] != "row" and not panel["targets"]:
            yield f"{title}: it shows nothing"
        if panel["id"] in ids:
            yield f"{title}: its id is another's"
        ids.add(panel["id"])
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or taken.setdefault((x, y), title) != title:
                    yield f"{title} lies over {taken.get((x, y))}"
                    break


CHECKS = [alerts, panels]
