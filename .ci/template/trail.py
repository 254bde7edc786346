"""The rules over the audit trail: what is in it is neither changed nor deleted."""

from .access import TABLE, as_list, statements
from .model import System

POLICY = "CommonPolicy"
# Whoever may put an item may replace one: that is detected by the chain of the acts.
CHANGES = {"dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"}
ACTS = {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["T#*#AUDIT#*"]}}


def no_function_changes_an_act(system: System) -> list[str]:
    """no function may update or delete an act of the audit trail"""
    wrong = []
    denied = [
        statement
        for name, statement in statements(system)
        if name == POLICY and statement.get("Effect") == "Deny"
    ]
    if [(set(as_list(s["Action"])), s["Resource"], s.get("Condition")) for s in denied] != [(CHANGES, TABLE, ACTS)]:
        wrong.append(f"{POLICY} denies {denied}")
    for name, role in system.of_type("AWS::IAM::Role").items():
        trust = str(role["Properties"]["AssumeRolePolicyDocument"])
        if "lambda.amazonaws.com" in trust and f"<{POLICY}>" not in role["Properties"].get("ManagedPolicyArns", []):
            wrong.append(f"{name} lacks {POLICY}")
    return wrong


def bucket_is_kept_and_closed(system: System, name: str) -> list[str]:
    """What is wrong with a bucket that is to outlive the stack, with versions, encryption, no public access and TLS alone."""
    wrong = []
    bucket = system.resources.get(name, {})
    properties = bucket.get("Properties", {})
    # A first deployment that fails leaves nothing of it.
    for policy, want in (("DeletionPolicy", "RetainExceptOnCreate"), ("UpdateReplacePolicy", "Retain")):
        if bucket.get(policy) != want:
            wrong.append(f"{policy} is {bucket.get(policy)}")
    if properties.get("VersioningConfiguration") != {"Status": "Enabled"}:
        wrong.append("it keeps no versions")
    if not properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
        wrong.append("it is not encrypted")
    blocked = properties.get("PublicAccessBlockConfiguration", {})
    for key in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"):
        if blocked.get(key) is not True:
            wrong.append(f"{key} is {blocked.get(key)}")
    if properties.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
        wrong.append("objects may have access lists of their own")
    whole = [f"<{name}.Arn>", f"<{name}.Arn>/*"]
    denied = [
        s
        for policy in system.of_type("AWS::S3::BucketPolicy").values()
        if policy["Properties"]["Bucket"] == f"<{name}>"
        for s in policy["Properties"]["PolicyDocument"]["Statement"]
        if s.get("Effect") == "Deny"
        and s.get("Condition") in ({"Bool": {"aws:SecureTransport": "false"}}, {"NumericLessThan": {"s3:TlsVersion": "1.2"}})
    ]
    if [(s["Principal"], s["Action"], s["Resource"]) for s in denied] != [("*", "s3:*", whole)] * 2:
        wrong.append("it is reached without TLS, or with an old one")
    return wrong


def exported_acts_are_locked(system: System) -> list[str]:
    """the bucket of exported acts outlives the stack, and locks versions for as long as a parameter says"""
    wrong = bucket_is_kept_and_closed(system, "Trail/Bucket")
    properties = system.resources.get("Trail/Bucket", {}).get("Properties", {})
    if properties.get("ObjectLockEnabled") is not True:
        wrong.append("it can't lock")
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": "<param AuditLockDays>"}}}
    if properties.get("ObjectLockConfiguration") != {"If": ["Locks", lock, "<AWS::NoValue>"]}:
        wrong.append(f"it locks {properties.get('ObjectLockConfiguration')}")
    if "LifecycleConfiguration" in properties:
        wrong.append("files expire")
    puts = {
        (name, action)
        for name, statement in statements(system)
        if statement.get("Effect") == "Allow"
        for resource in as_list(statement["Resource"])
        if str(resource).startswith("<Trail/Bucket.Arn>")
        for action in as_list(statement["Action"])
    }
    if puts != {("SweepRole", "s3:PutObject")}:
        wrong.append(f"it is used by {sorted(puts)}")
    return wrong
