"""The rules over roles and policies."""

import json
import re

from .model import NO_VALUE, System

# The stage of the WebSocket.
SOCKETS = "arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:<LiveSockets/Api>/live"
# Deployments of the stack, and versions of its functions.
DEPLOYMENTS = "arn:<AWS::Partition>:codedeploy:<AWS::Region>:<AWS::AccountId>:deploymentgroup:<AWS::StackName>-*/*"
VERSIONS = "arn:<AWS::Partition>:lambda:<AWS::Region>:<AWS::AccountId>:function:<AWS::StackName>-*:*"
# (role or policy, Sid, what) -> why no narrower grant does. An entry that nothing needs is wrong too.
EXCEPTIONS = {
    ("CommonPolicy", "Trace", "*"): "X-Ray's write actions know no resource",
    ("ApiRole", "KeepContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("MirrorContentRole", "KeepContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("LiveRole", "SendAndClose", f"{SOCKETS}/DELETE/@connections/*"): "sockets are opened after the stack",
    ("LiveRole", "SendAndClose", f"{SOCKETS}/POST/@connections/*"): "sockets are opened after the stack",
    ("SweepRole", "CollectContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("SweepRole", "ExportActs", "<Trail/Bucket.Arn>/*"): "files are made after the stack",
    ("RunOperationsRole", "EraseContent", "<Content/Bucket.Arn>/*"): "objects are made after the stack",
    ("RunOperationsRole", "WriteExports", "<Content/Bucket.Arn>/*/exports/*"): "files are made after the stack, by tenant",
    ("EraseReplicaPolicy", "EraseTheCopy", "<param ContentReplicaBucketArn>/*"): "every object has a copy",
    ("Content/ReplicationPolicy", "ReadWhatIsNew", "<Content/Bucket.Arn>/*"): "every object has a copy",
    ("Content/ReplicationPolicy", "WriteTheCopy", "<param ContentReplicaBucketArn>/*"): "every object has a copy",
    ("DeployCheckRole", "AnswerDeployments", DEPLOYMENTS): "SAM names what CodeDeploy works with",
    ("DeployCheckRole", "InvokeVersions", VERSIONS): "versions are made after the function that checks them",
    ("CredentialsPolicy", "ReadCredentials", "secret:<param SecretsPrefix>*"): "secrets are made after the stack, one per tenant",
    ("CredentialsPolicy", "ReadCredentials", "secret:<AWS::StackName>/*"): "secrets are made after the stack, one per tenant",
}
# What functions call on AWS: written down by a test that lets them.
CALLS = "infra/iam.json"
# What a policy names by the names of that list.
TABLE = "<Data/Table.Arn>"
STREAM = "<Data/Table.StreamArn>"
BUCKET = "<Content/Bucket.Arn>"
ACTS = "<Trail/Bucket.Arn>"
CLIENTS = {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["CLIENT#*"]}}
CHANNELS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["CHANNEL#*"]}}
SECRET = "arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:"
SECRETS = [f"{SECRET}<param SecretsPrefix>*", f"{SECRET}<AWS::StackName>/*"]
KEY = "<param KmsKeyArn>"
# A key is used through the service whose data it encrypts, and not by itself.
THROUGH_DATA = {"StringEquals": {"kms:ViaService": [f"{s}.<AWS::Region>.amazonaws.com" for s in ("dynamodb", "s3", "sqs")]}}
THROUGH_SECRETS = {"StringEquals": {"kms:ViaService": "secretsmanager.<AWS::Region>.amazonaws.com"}}
CONDITIONS = {"channels": CHANNELS, "key": THROUGH_DATA, "key/secrets": THROUGH_SECRETS}
# What a function's role holds besides its own statements: the first always, the second if it calls Drive.
COMMON_POLICY = "<CommonPolicy>"
CREDENTIALS_POLICY = "<CredentialsPolicy>"


def as_list(value) -> list:
    """IAM takes one or a list. Of a value that depends on a condition, all that it may be."""
    if isinstance(value, dict) and set(value) == {"If"}:
        value = [v for v in value["If"][1:] if v != NO_VALUE]
        return [one for branch in value for one in as_list(branch)]
    if isinstance(value, list):
        return [one for branch in value for one in as_list(branch)]
    return [value]


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
    if not pattern.endswith("/)+)?"):
        wrong.append("SecretsPrefix may end within a word")
    if system.parameters["SecretsPrefix"].get("Default") != "":
        wrong.append("SecretsPrefix is not the stack's own by default")
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
        if attached(system, role) not in ([COMMON_POLICY], [COMMON_POLICY, CREDENTIALS_POLICY]):
            wrong.append(f"{role} has the managed policies {attached(system, role)}")
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


def attached(system: System, role: str) -> list[str]:
    """The managed policies of a role."""
    return system.resources.get(role, {}).get("Properties", {}).get("ManagedPolicyArns", [])


def arns(resource: str, function: str) -> list[str]:
    """What a policy calls a resource of the list, `CHANNELS` apart."""
    kind, _, name = resource.partition("/")
    return as_list({
        "table": TABLE,
        "channels": TABLE,
        "index": f"{TABLE}/index/{name}",
        "queue": f"<Queues/{words(name)}.Arn>",
        "secrets": SECRETS,
        "webhook-key": "<WebhookKey>",
        "link-key": "<ContentLinkKey>",
        "key": KEY,
        "stream": STREAM,
        "content": f"{BUCKET}/*",
        "bucket": BUCKET,
        "acts": f"{ACTS}/*",
        "exports": f"{BUCKET}/*/exports/*",
        "log": f"<{function}Logs.Arn>",
        "sockets": f"{SOCKETS}/{name}/@connections/*",
        "deployments": DEPLOYMENTS,
        "versions": VERSIONS,
        "*": "*",
    }.get(kind, resource))


def granted_to(system: System, role: str) -> set[tuple[str, str, str]]:
    """(action, resource, condition) of everything that a role allows, with the policies attached to it."""
    shared = {str(p).strip("<>") for p in attached(system, role)}
    found = set()
    for name, statement in statements(system):
        if name != role and name not in shared:
            continue
        if statement.get("Effect") == "Deny":
            continue
        condition = json.dumps(statement.get("Condition", {}), sort_keys=True)
        for action in as_list(statement.get("Action", [])):
            for resource in as_list(statement.get("Resource", [])):
                found.add((action, str(resource), condition))
    return found


def requests_make_no_clients(system: System) -> list[str]:
    """the API can't write for which tenant a machine calls"""
    denied = [s for name, s in statements(system) if name == "ApiRole" and s.get("Effect") == "Deny"]
    writes = {"dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    for statement in denied:
        if statement.get("Condition") == CLIENTS and writes <= set(as_list(statement["Action"])):
            return []
    return ["ApiRole may write the items of clients"]


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
            condition = json.dumps(CONDITIONS.get(on, {}), sort_keys=True)
            wanted |= {(action, resource, condition) for resource in arns(on, name)}
        granted = granted_to(system, f"{name}Role")
        wrong += [f"{name} is not allowed {' '.join(what)}" for what in sorted(wanted - granted)]
        wrong += [f"{name} is allowed {' '.join(what)}, which it does not need" for what in sorted(granted - wanted)]
    used = {action for of in functions.values() for action in of["unseen"]}
    wrong += [f"{CALLS} says why {action} is unseen, which it is not" for action in sorted(set(listed["why"]) - used)]
    return wrong
