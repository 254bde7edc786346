"""The rules over what operators meet: names, builds, and first deployments that fail."""

import json
import re
import tomllib

from .model import System

# The longest names that AWS accepts.
NAME_LENGTHS_MAX = {"AWS::SQS::Queue": ("QueueName", 80), "AWS::Lambda::Function": ("FunctionName", 64)}
# What is protected against its deletion: a rollback would stop at it.
PROTECTED = {"Data/Table", "Identity/UserPool"}
# What a container calls the machine that it runs on.
HOST_OF_CONTAINERS = "host.docker.internal"
ARCHITECTURE = re.compile(r'Architecture=(arm64|x86_64) Release=""')


def the_length_of_a_stacks_name_is_stated(system: System) -> list[str]:
    """infra/README.md states how long the stack's name may be, which its longest name leaves"""
    room = []
    for kind, (key, length_max) in NAME_LENGTHS_MAX.items():
        for resource in system.of_type(kind).values():
            name = str(resource["Properties"].get(key, ""))
            if "<AWS::StackName>" in name:
                room.append(length_max - len(name.replace("<AWS::StackName>", "")))
    stated = f"at most {min(room)} characters"
    text = " ".join((system.root / "infra/README.md").read_text().split())
    return [] if stated in text else [f"the stack's name may have {stated}, and infra/README.md says something else"]


def sam_knows_one_architecture(system: System) -> list[str]:
    """samconfig.toml names the architecture once, for building, invoking and deploying"""
    config = tomllib.loads((system.root / "samconfig.toml").read_text())["default"]
    named = {command: settings["parameters"]["parameter_overrides"] for command, settings in config.items()
             if "parameter_overrides" in settings["parameters"]}  # fmt: skip
    if set(named) != {"global"} or not ARCHITECTURE.fullmatch(named["global"]):
        return [f"it is named by {named}"]
    return []


def a_container_reaches_this_machine(system: System) -> list[str]:
    """sam local gives containers a name of this machine, and events/env.json has the services under that name"""
    wrong = []
    config = tomllib.loads((system.root / "samconfig.toml").read_text())["default"]
    for command in ("local_invoke", "local_start_api"):
        settings = config[command]["parameters"]
        # The SAM CLI does not give a container the host's network, whatever it is asked.
        if settings.get("add_host") != [f"{HOST_OF_CONTAINERS}:host-gateway"] or "docker_network" in settings:
            wrong.append(f"{command} has {settings}")
    for function, variables in json.loads((system.root / "events/env.json").read_text()).items():
        for name, value in variables.items():
            called = name.startswith("AWS_ENDPOINT_URL") or name.endswith("QUEUE_URL") or name in ("DRIVE_URL", "LIVE_ENDPOINT")
            if called and not value.startswith(f"http://{HOST_OF_CONTAINERS}:"):
                wrong.append(f"{function} looks for {name} at {value}")
    return wrong


def a_first_deployment_that_fails_leaves_little(system: System) -> list[str]:
    """what outlives the stack is not left behind by a first deployment that fails, unless it is protected"""
    wrong = []
    for name, resource in system.resources.items():
        # Of the versions of a function nothing is left once it is deleted.
        if resource["Type"] == "AWS::Lambda::Version":
            continue
        policy = resource.get("DeletionPolicy")
        if policy in ("Retain", "RetainExceptOnCreate"):
            wanted = "Retain" if name in PROTECTED else "RetainExceptOnCreate"
            if policy != wanted:
                wrong.append(f"{name} has the DeletionPolicy {policy}")
    return wrong


def saved_queries_look_everywhere(system: System) -> list[str]:
    """the saved queries over the logs look at the log of every function"""
    names = {group["Properties"]["LogGroupName"] for group in system.of_type("AWS::Logs::LogGroup").values()}
    groups = {name for name in names if not name.startswith("/aws/")}
    queries = system.of_type("AWS::Logs::QueryDefinition")
    wrong = [f"{name} looks at other logs than all" for name, q in queries.items() if set(q["Properties"]["LogGroupNames"]) != groups]
    return wrong if queries else ["there is none"]


OPERATION_RULES = [
    the_length_of_a_stacks_name_is_stated,
    sam_knows_one_architecture,
    a_container_reaches_this_machine,
    a_first_deployment_that_fails_leaves_little,
    saved_queries_look_everywhere,
]
