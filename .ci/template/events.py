"""The rules over events/: what sam local, cargo lambda and the tests feed the functions."""

import hashlib
import json

from .model import System
from .rules import FUNCTIONS, functions, logical_id


def every_function_has_events(system: System) -> list[str]:
    """events/ has a folder of JSON objects for each function, and no other folder"""
    wrong = []
    folders = {p.name for p in (system.root / "events").iterdir() if p.is_dir()}
    if folders != set(FUNCTIONS):
        wrong.append(f"the folders are {sorted(folders)}")
    for folder in sorted(folders):
        files = sorted((system.root / "events" / folder).glob("*.json"))
        if not files:
            wrong.append(f"events/{folder} is empty")
        for path in files:
            try:
                event = json.loads(path.read_text())
            except ValueError as error:
                wrong.append(f"{path.name}: {error}")
                continue
            wrong += [f"{folder}/{path.name}: {problem}" for problem in odd_records(event)]
    return wrong


def odd_records(event: dict) -> list[str]:
    """What AWS would never have delivered: a body that is not the digest's, a stream in disorder."""
    if any("dynamodb" in record for record in event.get("Records", [])):
        return odd_changes(event["Records"])
    problems = []
    for record in event.get("Records", []):
        if hashlib.md5(record["body"].encode()).hexdigest() != record["md5OfBody"]:
            problems.append(f"md5OfBody of {record['messageId']} is not that of its body")
        if "MessageGroupId" not in record["attributes"]:
            problems.append(f"{record['messageId']} has no group")
    ids = [r["messageId"] for r in event.get("Records", [])]
    if len(set(ids)) != len(ids):
        problems.append("two records have one message id")
    return problems


def odd_changes(records: list[dict]) -> list[str]:
    """Records of a stream that are not in order, or whose images don't fit what happened."""
    problems = []
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    if numbers != sorted(set(numbers)):
        problems.append("the sequence numbers don't grow")
    images = {"INSERT": {"NewImage"}, "MODIFY": {"NewImage", "OldImage"}, "REMOVE": {"OldImage"}}
    for record in records:
        shown = record["dynamodb"]
        if {"NewImage", "OldImage"} & set(shown) != images[record["eventName"]]:
            problems.append(f"{record['eventID']} is no {record['eventName']}")
        for image in {"NewImage", "OldImage"} & set(shown):
            if any(shown[image].get(key) != value for key, value in shown["Keys"].items()):
                problems.append(f"{record['eventID']} has keys of another item")
    return problems


def sam_local_knows_the_environment(system: System) -> list[str]:
    """events/env.json sets the environment of each function, and the endpoints that only it has"""
    wrong = []
    local = json.loads((system.root / "events/env.json").read_text())
    if set(local) != {logical_id(folder) for folder in FUNCTIONS}:
        wrong.append(f"it knows {sorted(local)}")
    # The source, not what becomes of it: it names the endpoints, which no deployment has.
    template = system.sources["template.yaml"]
    shared = set(template["Globals"]["Function"]["Environment"]["Variables"])
    for name in functions(system):
        properties = template["Resources"][name]["Properties"]
        declared = shared | set(properties.get("Environment", {}).get("Variables", {}))
        if declared != set(local.get(name, {})):
            wrong.append(f"{name}: {sorted(declared ^ set(local.get(name, {})))}")
    return wrong


EVENT_RULES = [every_function_has_events, sam_local_knows_the_environment]
