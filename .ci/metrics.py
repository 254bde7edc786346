#!/usr/bin/env python3
"""Reads GET /metrics of a running system as Prometheus does. Argument: what `local --json` has printed.

Every metric of the table is there, a first sync has been measured, and every expression of infra/grafana.json names
metrics that are there, in the order of infra/slos.json."""

import json
import re
import sys
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent
ENTRY = re.compile(r'metric\(\s*"(\w+)",\s*Kind::(\w+)')
FORMS = {"Counter": ("", "counter"), "Gauge": ("", "gauge"), "Millis": ("_seconds", "histogram")}

ready = next(json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines() if '"ready"' in line)
with urllib.request.urlopen(ready["api"] + "/metrics", timeout=10) as answer:
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
    families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}

wanted = {}
for name, kind in ENTRY.findall((ROOT / "shared/runtime/src/metrics.rs").read_text()):
    suffix, form = FORMS[kind]
    wanted[f"drivesync_{name}{suffix}"] = form
assert {name: family.type for name, family in families.items()} == wanted, families.keys() ^ wanted.keys()
samples = {}
for family in families.values():
    assert family.documentation, family.name
    for sample in family.samples:
        samples.setdefault(sample.name, []).append(sample.value)
    if family.type == "histogram":
        buckets = samples[f"{family.name}_bucket"]
        assert buckets == sorted(buckets) and [buckets[-1]] == samples[f"{family.name}_count"], family
assert samples["drivesync_applied_total"][0] > 0, samples["drivesync_applied_total"]

slos = [slo["slo"] for slo in json.loads((ROOT / "infra/slos.json").read_text())]
panels = json.loads((ROOT / "infra/grafana.json").read_text())["panels"]
shown = [panel["title"] for panel in panels if panel["title"] in slos]
assert shown == [slo for slo in slos if slo in shown] and len(shown) >= 8, shown
named = set()
for panel in panels:
    for target in panel["targets"]:
        names = set(re.findall(r"drivesync_\w+", target["expr"]))
        assert names and names <= samples.keys(), (target["expr"], names - samples.keys())
        named |= {name.removesuffix("_bucket").removesuffix("_total") for name in names}
assert named == wanted.keys(), named ^ wanted.keys()
print(f"{len(families)} metrics, {len(panels)} panels")
