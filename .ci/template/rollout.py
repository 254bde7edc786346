"""The rules over how new versions get traffic, which no emulator runs: what the transformation makes of each Rollout."""

import re

from . import model
from .model import ROOT_TEMPLATE, System

ALIAS = "Aliaslive"
HOOK = "DeployCheck"
# Those whose answers somebody waits for. Their new versions get a tenth of the requests first.
ANSWERING = {"Api", "ReceiveNotification", "Console"}
LAST = "Sweep"
ERRORS_PERCENT = 5
P95_MILLISECONDS = 2000


def of_rollout(system: System, rollout: str) -> dict:
    """The resources with this value of the parameter Rollout."""
    return model.transform(system.sources[ROOT_TEMPLATE], {"Rollout": rollout})["Resources"]


def deployed(system: System) -> list[str]:
    """The functions that versions are made of: all but the one that checks them."""
    return [name for name in system.of_type("AWS::Lambda::Function") if name != HOOK]


def everything_invokes_the_alias(system: System) -> list[str]:
    """whatever invokes a function invokes its alias"""
    wrong = [f"{name} has no alias" for name in deployed(system) if f"{name}{ALIAS}" not in system.resources]
    aliases = {f"<{name}{ALIAS}>" for name in deployed(system)}
    for name, mapping in system.of_type("AWS::Lambda::EventSourceMapping").items():
        if mapping["Properties"]["FunctionName"] not in aliases:
            wrong.append(f"{name} invokes {mapping['Properties']['FunctionName']}")
    for name, schedule in system.of_type("AWS::Scheduler::Schedule").items():
        if schedule["Properties"]["Target"]["Arn"] not in aliases:
            wrong.append(f"{name} invokes {schedule['Properties']['Target']['Arn']}")
    for name, permission in system.of_type("AWS::Lambda::Permission").items():
        if permission["Properties"]["FunctionName"] not in aliases:
            wrong.append(f"{name} is for {permission['Properties']['FunctionName']}")
    for path, methods in system.properties("HttpApi")["Body"]["paths"].items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            if not re.search(rf"<\w+{ALIAS}>/invocations$", uri):
                wrong.append(f"{method} {path} invokes {uri}")
    return wrong


def none_is_without_codedeploy(system: System) -> list[str]:
    """with Rollout none there is nothing of CodeDeploy's, and that is the default"""
    wrong = [] if system.parameters["Rollout"]["Default"] == "none" else ["none is not the default"]
    for name, resource in of_rollout(system, "none").items():
        if "CodeDeploy" in resource["Type"] or "UpdatePolicy" in resource:
            wrong.append(f"{name} is CodeDeploy's")
        if name.endswith("Rollout") and resource.get("Condition") != "RollsOut":
            wrong.append(f"{name} makes alarms that nothing looks at")
    return wrong


def new_versions_are_checked_and_watched(system: System) -> list[str]:
    """before its alias moves each new version checks itself, and alarms over it alone move the alias back"""
    wrong = []
    hook = str(system.properties(HOOK).get("FunctionName"))
    if not hook.startswith("CodeDeployHook_"):
        wrong.append(f"CodeDeploy's role may not invoke {hook}")
    for rollout, answering in (("canary", "Canary10Percent5Minutes"), ("blue-green", "AllAtOnce")):
        resources = of_rollout(system, rollout)
        for name in deployed(system):
            policy = resources[f"{name}{ALIAS}"].get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
            if policy.get("BeforeAllowTrafficHook") != {"Ref": HOOK}:
                wrong.append(f"{name} gets traffic unchecked with {rollout}")
            group = resources.get(f"{name}DeploymentGroup", {}).get("Properties", {})
            config = str(group.get("DeploymentConfigName"))
            wanted = answering if name in ANSWERING else "AllAtOnce"
            if f"'{wanted}'" not in config:
                wrong.append(f"{name} gets traffic by {config} with {rollout}")
            alarms = alarms_of(group)
            if alarms != [f"{name}Rollout.Outputs.Errors", f"{name}Rollout.Outputs.Slow"]:
                wrong.append(f"{name} is watched by {alarms} with {rollout}")
            given = resources.get(f"{name}Rollout", {}).get("Properties", {}).get("Parameters", {})
            version = given.get("Version", {}).get("Fn::GetAtt", [""])[0]
            if given.get("Function") != {"Ref": name} or not version.startswith(f"{name}Version"):
                wrong.append(f"the alarms of {name} are over {given}")
    return wrong


def alarms_of(group: dict) -> list[str]:
    """The alarms of a deployment group."""
    configuration = group.get("AlarmConfiguration", {})
    if "Fn::If" in configuration:
        condition, configuration, _ = configuration["Fn::If"]
        if condition != "RollsOut":
            return []
    return [".".join(alarm["Name"]["Fn::GetAtt"]) for alarm in configuration.get("Alarms", [])]


def versions_lose_their_traffic_at_the_gates(system: System) -> list[str]:
    """a version loses its traffic above 5 % errors or, where somebody waits, a p95 of 2 s"""
    wrong = []
    for name in deployed(system):
        dimensions = {
            ("FunctionName", f"<{name}>"),
            ("Resource", f"<{name}>:live"),
            ("ExecutedVersion", f"<{name}.Version.Version>"),
        }
        errors = system.properties(f"{name}Rollout/Errors")
        slow = system.properties(f"{name}Rollout/Slow")
        metrics = [m["MetricStat"]["Metric"] for m in errors.get("Metrics", []) if "MetricStat" in m]
        for metric in [*metrics, slow]:
            found = {(d["Name"], d["Value"]) for d in metric.get("Dimensions", [])}
            if found != dimensions:
                wrong.append(f"{metric.get('MetricName')} of {name} is of {sorted(found)}")
        if errors.get("Threshold") != ERRORS_PERCENT or sorted(m["MetricName"] for m in metrics) != ["Errors", "Invocations"]:
            wrong.append(f"the share of errors of {name} is not held to {ERRORS_PERCENT} %")
        limit = system.number(slow.get("Threshold")) or 0
        timeout = 1000 * system.properties(name)["Timeout"]
        wanted = P95_MILLISECONDS if name in ANSWERING else timeout / 2
        if slow.get("ExtendedStatistic") != "p95" or limit != wanted:
            wrong.append(f"{name} may take {limit} ms, not {wanted}")
        if {errors.get("TreatMissingData"), slow.get("TreatMissingData")} != {"notBreaching"}:
            wrong.append(f"{name} loses its traffic for having none")
    return wrong


def one_deployment_at_a_time(system: System) -> list[str]:
    """no two deployments run at once, and the sweep's is the last"""
    resources = of_rollout(system, "canary")
    needs = {name: needed(resource) & set(resources) for name, resource in resources.items()}
    reached: dict[str, set[str]] = {}
    path: list[str] = []

    def reach(name: str) -> set[str]:
        if name in path:
            raise model.Broken(f"{' needs '.join([*path[path.index(name):], name])}")
        if name not in reached:
            path.append(name)
            reached[name] = set(needs[name]).union(*(reach(other) for other in needs[name]))
            path.pop()
        return reached[name]

    try:
        before = {name: reach(f"{name}{ALIAS}") for name in deployed(system)}
    except model.Broken as circle:
        return [str(circle)]
    wrong = []
    for one in before:
        for other in before:
            if one < other and f"{one}{ALIAS}" not in before[other] and f"{other}{ALIAS}" not in before[one]:
                wrong.append(f"{one} and {other} may be deployed at once")
        if one != LAST and f"{one}{ALIAS}" not in before[LAST]:
            wrong.append(f"{one} may be deployed after {LAST}")
    return wrong


def needed(resource) -> set[str]:
    """What CloudFormation makes before a resource."""
    found: set[str] = set()
    if isinstance(resource, list):
        return found.union(*map(needed, resource))
    if not isinstance(resource, dict):
        return found
    for key, value in resource.items():
        if key == "Ref" and isinstance(value, str):
            found.add(value)
        elif key == "Fn::GetAtt":
            found.add(value.split(".")[0] if isinstance(value, str) else value[0])
        elif key == "Fn::Sub":
            text = value if isinstance(value, str) else value[0]
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text)}
            found |= needed(value[1]) if isinstance(value, list) else set()
        elif key == "DependsOn":
            found |= {value} if isinstance(value, str) else set(value)
        else:
            found |= needed(value)
    return found


ROLLOUT_RULES = [
    everything_invokes_the_alias,
    none_is_without_codedeploy,
    new_versions_are_checked_and_watched,
    versions_lose_their_traffic_at_the_gates,
    one_deployment_at_a_time,
]
