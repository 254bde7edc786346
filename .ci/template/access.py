"""The rules over roles and policies."""

import json
import re

from .model import System

# (role or policy, Sid, what) -> why no narrower grant does. An entry that nothing needs is wrong too.
EXCEPTIONS = {
    ("TracingPolicy", "Trace", "*"): "X-Ray's write actions know no resource",
    ("ApiRole", "KeepContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("MirrorContentRole", "KeepContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("SweepRole", "CollectContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("Content/ReplicationPolicy", "ReadWhatIsNew", "<Content/Bucket.Arn>/*"): "every object has a copy",
    ("Content/ReplicationPolicy", "WriteTheCopy", "<param ContentReplicaBucketArn>/*"): "every object has a copy",
} | {
    (role, sid, "secret:<param SecretsPrefix>*"): "secrets are made after the stack, one per tenant"
    for role, sid in (
        ("FetchChangesRole", "ReadCredentials"),
        ("ApplySnapshotsRole", "ReadCredentials"),
        ("PushIntentsRole", "ReadCredentials"),
        ("MirrorContentRole", "ReadCredentials"),
        ("RunOperationsRole", "ReadCredentials"),
        ("SweepRole", "ReadCredentials"),
        ("ApiRole", "CheckCredentials"),
    )
}
# What functions call on AWS: written down by a test that lets them.
CALLS = "infra/iam.json"
# What a policy names by the names of that list.
TABLE = "<Data/Table.Arn>"
STREAM = "<Data/Table.StreamArn>"
BUCKET = "<Content/Bucket.Arn>"
CHANNELS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["CHANNEL#*"]}}
SECRETS = "arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:<param SecretsPrefix>*"
# Held by every function's role besides its own statements.
SHARED_POLICIES = ["<TracingPolicy>"]


def as_list(value) -> list:
    """IAM takes one or a list."""
    return value if isinstance(value, list) else [value]


def statements(system: System):
    """Yields (role or policy, statement) of everything that grants access."""
    for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        for name, resource in system.of_type(kind).items():
            properties = resource["Properties"]
            documents = [p["PolicyDocument"] for p in properties.get("Policies", [])]
            if "PolicyDocument" in properties:
                documents.append(properties["PolicyDocument"])
            for document in documents:
                for statement in as_list(document["Statement"]):
                    yield name, statement


def wildcards(statement: dict) -> list[str]:
    """What a statement grants by a pattern: actions, and resources from their last colon-free part."""
    found = [a for a in as_list(statement.get("Action", [])) if "*" in a or "?" in a]
    for resource in as_list(statement.get("Resource", [])):
        if "*" in str(resource) or "?" in str(resource):
            found.append(re.sub(r"^arn:.*:(?=secret:)", "", str(resource)))
    return found


def nothing_is_granted_by_a_wildcard(system: System) -> list[str]:
    """no action and no resource is a pattern, but for the listed exceptions"""
    wrong = []
    needed = set()
    for name, statement in statements(system):
        if statement.get("Effect") != "Allow":
            continue
        for key in ("NotAction", "NotResource"):
            if key in statement:
                wrong.append(f"{name} has a {key}")
        if not statement.get("Action") or not statement.get("Resource"):
            wrong.append(f"{name} has a statement without action or resource")
        for found in wildcards(statement):
            entry = (name, statement.get("Sid"), found)
            needed.add(entry)
            if entry not in EXCEPTIONS:
                wrong.append(f"{name}, {statement.get('Sid')}: {found}")
    wrong += [f"the exception {entry} is not needed" for entry in set(EXCEPTIONS) - needed]
    pattern = system.parameters["SecretsPrefix"].get("AllowedPattern", "")
    if not pattern.endswith("/)+"):
        wrong.append("SecretsPrefix may end within a word, or be empty")
    return wrong


def roles_belong_to_one_function(system: System) -> list[str]:
    """every function has a role of its own, that Lambda alone assumes and that writes its own log"""
    wrong = []
    taken = set()
    granted = {}
    for name, statement in statements(system):
        granted.setdefault(name, []).append(statement)
    for name, function in system.of_type("AWS::Lambda::Function").items():
        properties = function["Properties"]
        role = str(properties.get("Role")).strip("<>").removesuffix(".Arn")
        if role in taken or role not in system.of_type("AWS::IAM::Role"):
            wrong.append(f"{name} has no role of its own: {role}")
            continue
        taken.add(role)
        trust = system.properties(role)["AssumeRolePolicyDocument"]["Statement"]
        if [s["Principal"] for s in trust] != [{"Service": "lambda.amazonaws.com"}]:
            wrong.append(f"{role} is assumed by {[s['Principal'] for s in trust]}")
        if system.properties(role).get("ManagedPolicyArns", []) != SHARED_POLICIES:
            wrong.append(f"{role} has managed policies besides {SHARED_POLICIES}")
        group = properties.get("LoggingConfig", {}).get("LogGroup", "")
        logs = [
            resource
            for statement in granted.get(role, [])
            if any(a.startswith("logs:") for a in as_list(statement["Action"]))
            for resource in as_list(statement["Resource"])
        ]
        if logs != [f"{group[:-1]}.Arn>"]:
            wrong.append(f"{role} writes the logs {logs}")
    return wrong


def words(name: str) -> str:
    """`log-wakes-dead` is `LogWakesDead`."""
    return "".join(word.capitalize() for word in name.split("-"))


def arn(resource: str, function: str) -> str:
    """What a policy calls a resource of the list, `CHANNELS` apart."""
    kind, _, name = resource.partition("/")
    return {
        "table": TABLE,
        "channels": TABLE,
        "index": f"{TABLE}/index/{name}",
        "queue": f"<Queues/{words(name)}.Arn>",
        "secrets": SECRETS,
        "stream": STREAM,
        "content": f"{BUCKET}/*",
        "bucket": BUCKET,
        "log": f"<{function}Logs.Arn>",
        "*": "*",
    }.get(kind, resource)


def granted_to(system: System, role: str) -> set[tuple[str, str, str]]:
    """(action, resource, condition) of everything that a role allows, with the policies that all share."""
    shared = {p.strip("<>") for p in SHARED_POLICIES}
    found = set()
    for name, statement in statements(system):
        if name != role and name not in shared:
            continue
        condition = json.dumps(statement.get("Condition", {}), sort_keys=True)
        for action in as_list(statement.get("Action", [])):
            for resource in as_list(statement.get("Resource", [])):
                found.add((action, str(resource), condition))
    return found


def functions_may_do_what_they_do(system: System) -> list[str]:
    """each function is allowed what infra/iam.json says that it calls, and nothing else"""
    wrong = []
    listed = json.loads((system.root / CALLS).read_text())
    functions = {words(folder): of for folder, of in listed["functions"].items()}
    for name in sorted(set(system.of_type("AWS::Lambda::Function")) ^ set(functions)):
        wrong.append(f"{name} is in {CALLS} or in the template, and not in both")
    for name, of in functions.items():
        called = {(action, on) for action, all_on in of["calls"].items() for on in all_on}
        unseen = {(action, on) for action, all_on in of["unseen"].items() for on in all_on}
        wrong += [f"{name}: {action} is unseen, and nobody says why" for action in of["unseen"] if not listed["why"].get(action)]
        wrong += [f"{name}: {both} is called, and unseen" for both in sorted(called & unseen)]
        wanted = set()
        for action, on in called | unseen:
            condition = json.dumps(CHANNELS if on == "channels" else {}, sort_keys=True)
            wanted.add((action, arn(on, name), condition))
        granted = granted_to(system, f"{name}Role")
        wrong += [f"{name} is not allowed {' '.join(what)}" for what in sorted(wanted - granted)]
        wrong += [f"{name} is allowed {' '.join(what)}, which it does not need" for what in sorted(granted - wanted)]
    used = {action for of in functions.values() for action in of["unseen"]}
    wrong += [f"{CALLS} says why {action} is unseen, which it is not" for action in sorted(set(listed["why"]) - used)]
    return wrong
