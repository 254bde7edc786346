"""The rules over the system's own metrics, whose table is shared/runtime/src/metrics.rs."""

import json
import re

from .model import System

TOPIC = "<Alarms/Topic>"
TABLE = "shared/runtime/src/metrics.rs"
ENTRY = re.compile(r'metric\(\s*"(\w+)",\s*Kind::\w+(?:\("\w+"\))?,\s*&\[([^\]]*)\]')
# What a function logs that only a person can judge.
FOR_A_PERSON = {
    "awaiting_confirmation",
    "connection_suspended",
    "content_spoilt",
    "flaw",
    "listing_incomplete",
    "parked",
    "still_suspended",
    "sweep_failed",
    "unknown_reason",
}


def table(system: System) -> dict[str, list[str]]:
    """The words in log lines from which each metric is measured."""
    text = (system.root / TABLE).read_text()
    return {name: re.findall(r"\w+", words) for name, words in ENTRY.findall(text)}


def metrics_of(alarm: dict) -> list[dict]:
    """The metrics that an alarm looks at."""
    properties = alarm["Properties"]
    stats = [m["MetricStat"]["Metric"] for m in properties.get("Metrics", []) if "MetricStat" in m]
    return stats or [properties]


def telling_alarms(system: System) -> set[str]:
    """The alarms that tell somebody: by themselves, or through one that names them."""
    telling = set()
    for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
        for name, alarm in system.of_type(kind).items():
            properties = alarm["Properties"]
            if properties.get("AlarmActions") == [TOPIC]:
                telling |= {name, *re.findall(r'ALARM\("<([^>]+)>"\)', properties.get("AlarmRule", ""))}
    return telling


def alarmed(system: System) -> set[tuple[str, str]]:
    """(namespace, name) of our metrics that an alarm looks at which tells somebody."""
    found = set()
    telling = telling_alarms(system)
    for name, alarm in system.of_type("AWS::CloudWatch::Alarm").items():
        if name in telling:
            found |= {(m["Namespace"], m["MetricName"]) for m in metrics_of(alarm)}
    return {(namespace, name) for namespace, name in found if not namespace.startswith("AWS/")}


def shown(system: System) -> set[tuple[str, str]]:
    """(namespace, name) of our metrics that the dashboard shows."""
    found = set()
    for dashboard in system.of_type("AWS::CloudWatch::Dashboard").values():
        for widget in json.loads(dashboard["Properties"]["DashboardBody"])["widgets"]:
            metrics = widget["properties"].get("metrics", [])
            found |= {tuple(m[:2]) for m in metrics if isinstance(m[0], str) and not m[0].startswith("AWS/")}
    return found


def our_metrics_are_those_of_the_table(system: System) -> list[str]:
    """alarms and dashboard name the metrics of the table under the stack's name, and each metric is shown"""
    measured = {("<AWS::StackName>", name) for name in table(system)}
    told, seen = alarmed(system), shown(system)
    wrong = [f"an alarm looks at {namespace} {name}, which nothing measures" for namespace, name in sorted(told - measured)]
    wrong += [f"the dashboard shows {namespace} {name}, which nothing measures" for namespace, name in sorted(seen - measured)]
    wrong += [f"{name} is measured, and the dashboard does not show it" for _, name in sorted(measured - seen)]
    return wrong


def functions_report_what_they_measure(system: System) -> list[str]:
    """every function reports its metrics at the end of an invocation, under the name that its log group has"""
    wrong = []
    for main in sorted((system.root / "functions").glob("*/src/main.rs")):
        function = main.parent.parent.name
        # The hook of deployments measures nothing.
        if function != "deploy-check" and "use runtime::invocation::run;" not in main.read_text():
            wrong.append(f"{function} reports nothing")
    groups = system.of_type("AWS::Logs::LogGroup")
    named = {name.removesuffix("Logs"): g["Properties"]["LogGroupName"] for name, g in groups.items()}
    for name in system.of_type("AWS::Lambda::Function"):
        if name in named and not re.fullmatch(r"/<AWS::StackName>/[a-z-]+", named[name]):
            wrong.append(f"{name} logs to {named[name]}")
    return wrong


def what_only_a_person_can_judge_raises_an_alarm(system: System) -> list[str]:
    """an alarm counts what is parked, suspended, or waits for a person, and what should never be"""
    told = {name for _, name in alarmed(system)}
    heard = {word for name, words in table(system).items() if name in told for word in words}
    return [f"{word} rings no alarm" for word in sorted(FOR_A_PERSON - heard)]


def objectives_are_shown_and_watched(system: System) -> list[str]:
    """the dashboard begins with the objectives of infra/slos.json, in their order, and each has an alarm that tells"""
    slos = json.loads((system.root / "infra/slos.json").read_text())
    dashboard = next(iter(system.of_type("AWS::CloudWatch::Dashboard").values()))
    widgets = json.loads(dashboard["Properties"]["DashboardBody"])["widgets"]
    telling = telling_alarms(system)
    wrong = []
    for slo, widget in zip(slos, sorted(widgets, key=lambda w: (w["y"], w["x"]))):
        if not widget["properties"]["title"].startswith(f"{slo['slo']}: "):
            wrong.append(f"{slo['slo']} is not shown at its place")
        metrics = {m[1] for m in widget["properties"]["metrics"] if isinstance(m[0], str)}
        wrong += [f"{slo['slo']} does not show {name}" for name in slo["metrics"] if name not in metrics]
        wrong += [f"{slo['slo']} has no alarm {name}" for name in slo["alarms"] if f"Alarms/{name}" not in telling]
    return wrong if len(slos) == 12 else [f"there are {len(slos)} objectives"]


def freshness_is_watched_by_burn_rates(system: System) -> list[str]:
    """of a budget of 1 %, 2 periods of an hour's 12 burn 14 times as fast, 5 of six hours' 72 six times"""
    wrong = []
    for name, hours, rate in (("FreshnessFast", 1, 14), ("FreshnessSlow", 6, 6)):
        alarm = system.of_type("AWS::CloudWatch::Alarm").get(f"Alarms/{name}", {}).get("Properties", {})
        periods = hours * 3600 // 300
        # The smallest number of periods that burns at least so fast.
        late = -(-periods * rate // 100)
        found = [alarm.get(key) for key in ("Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold")]
        if found != [300, periods, late, 2500] or alarm.get("ExtendedStatistic") != "p95":
            wrong.append(f"{name} has {found}")
    return wrong


METRIC_RULES = [
    objectives_are_shown_and_watched,
    freshness_is_watched_by_burn_rates,
    our_metrics_are_those_of_the_table,
    functions_report_what_they_measure,
    what_only_a_person_can_judge_raises_an_alarm,
]
