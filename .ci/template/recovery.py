"""The rules over backups, and over a stack that uses a restored table."""

import json
import re

from botocore import xform_name
from botocore.session import Session

from .model import MAKES_TABLE, System

# Commands of the AWS CLI that are no operation of a service's API.
CUSTOM = {("s3", "sync"): set()}
# Services that the CLI calls otherwise than the models of their APIs.
MODELS = {"s3api": "s3"}
# Options that every command has.
COMMON_OPTIONS = {"output", "query", "region"}

# Days that each backup is kept: 30 days, 12 weeks, 12 months, 7 years.
KEPT = {"daily": 30, "weekly": 84, "monthly": 365, "yearly": 2555}
COPY = "arn:<AWS::Partition>:backup:<param BackupRegion>:<AWS::AccountId>:backup-vault:<AWS::StackName>"
RESTORED = "arn:<AWS::Partition>:dynamodb:<AWS::Region>:<AWS::AccountId>:table/<param UseTable>"


def backups_are_kept_as_stated(system: System) -> list[str]:
    """backups of the table, and their copies in the other region, are kept 30 days, 12 weeks, 12 months and 7 years"""
    wrong = []
    plan = system.properties("Backup/Plan")["BackupPlan"]
    kept = {}
    for rule in plan["BackupPlanRule"]:
        days = rule.get("Lifecycle", {}).get("DeleteAfterDays")
        kept[rule["RuleName"]] = days
        if rule["TargetBackupVault"] != "<Backup/Vault>":
            wrong.append(f"{rule['RuleName']} goes to {rule['TargetBackupVault']}")
        copies = [{"DestinationBackupVaultArn": COPY, "Lifecycle": {"DeleteAfterDays": days}}]
        if rule.get("CopyActions") != {"If": ["Copies", copies, "<AWS::NoValue>"]}:
            wrong.append(f"{rule['RuleName']} is copied to {rule.get('CopyActions')}")
    if kept != KEPT:
        wrong.append(f"backups are kept {kept}")
    selected = [s["Properties"]["BackupSelection"]["Resources"] for s in system.of_type("AWS::Backup::BackupSelection").values()]
    if selected != [["<Data/Table.Arn>"]]:
        wrong.append(f"backups are of {selected}")
    vault = system.resources["Backup/Vault"]
    if (vault.get("DeletionPolicy"), vault.get("UpdateReplacePolicy")) != ("RetainExceptOnCreate", "Retain"):
        wrong.append("the vault goes with the stack")
    copied = {"If": ["HasBackupRegion", [{"Region": "<param BackupRegion>"}], "<AWS::NoValue>"]}
    if system.properties("WebhookKey").get("ReplicaRegions") != copied:
        wrong.append("the secret that signs webhooks has no copy in the other region")
    if "ACopyNeedsABackup" not in system.transformed.get("Rules", {}):
        wrong.append("copies may be asked for without backups")
    return wrong


def a_restored_table_takes_the_place_of_the_stacks_own(system: System) -> list[str]:
    """with UseTable nothing names the stack's own table, and every right is on the restored one"""
    wrong = []
    if system.resources["Data/Table"].get("Condition") != MAKES_TABLE:
        wrong.append("the stack makes a table beside the restored one")
    if "ARestoredTableNeedsItsStream" not in system.transformed.get("Rules", {}):
        wrong.append("a restored table may be given without its stream")
    other = System(system.sources, system.root, restored=True)
    for name, before in system.resources.items():
        if name == "Data/Table":
            continue
        old, new = json.dumps(before), json.dumps(other.resources[name])
        if "<Data/Table" in new:
            wrong.append(f"{name} still names the stack's own table")
        for mine, restored in (
            ("<Data/Table.Arn>", RESTORED),
            ("<Data/Table.StreamArn>", "<param UseTableStreamArn>"),
            ("<Data/Table>", "<param UseTable>"),
        ):
            old = old.replace(mine, restored)
        if old != new:
            wrong.append(f"{name} differs by more than the table's name")
    return wrong


def commands(text: str) -> list[list[str]]:
    """The words of each command of the AWS CLI in the blocks of a description."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        block = block.replace("\\\n", " ")
        # Quoted texts that are no commands, then what is in parentheses, the innermost first.
        block = re.sub(r'"(?:[^"$]|\$(?!\())*"', "TEXT", block)
        block = re.sub(r"'[^']*'", "TEXT", block)
        lines = []
        while inner := re.search(r"\$\(([^()]*)\)", block):
            lines.append(inner[1])
            block = block.replace(inner[0], "TEXT")
        for line in lines + re.split(r"[\n;|]|&&", block):
            if called := re.search(r"(?:^|[\s\"])aws (.*)", line):
                found.append(called[1].split())
    return found


def the_commands_of_a_restore_exist(system: System) -> list[str]:
    """each command in infra/restore.md is an operation of its service, with these options, and completes a restored table"""
    wrong = []
    text = (system.root / "infra/restore.md").read_text()
    session = Session()
    found = commands(text)
    for service, operation, *words in found:
        options = {word[2:].split("=")[0].strip('"') for word in words if word.startswith("--")} - COMMON_OPTIONS
        if (service, operation) in CUSTOM:
            known = CUSTOM[service, operation]
        elif operation == "wait":
            waiters = session.create_client(service, region_name="us-east-1").waiter_names
            if words[0].replace("-", "_") not in waiters:
                wrong.append(f"aws {service} wait {words[0]} does not exist")
            known = {"table-name"}
        else:
            model = session.get_service_model(MODELS.get(service, service))
            names = {xform_name(name, "-"): name for name in model.operation_names}
            if operation not in names:
                wrong.append(f"aws {service} {operation} does not exist")
                continue
            shape = model.operation_model(names[operation]).input_shape
            known = {xform_name(member, "-") for member in shape.members}
        wrong += [f"aws {service} {operation} has no --{option}" for option in sorted(options - known)]
    if len(found) < 15:
        wrong.append(f"only {len(found)} commands are found")
    table = system.properties("Data/Table")
    ttl = table["TimeToLiveSpecification"]["AttributeName"]
    for needed in (
        f"StreamViewType={table['StreamSpecification']['StreamViewType']}",
        f"AttributeName={ttl}",
        "PointInTimeRecoveryEnabled=true",
        "--deletion-protection-enabled",
        "UseTable=",
        "UseTableStreamArn=",
    ):
        if needed not in text:
            wrong.append(f"a restored table does not get {needed}")
    outputs = set(re.findall(r"OutputKey=='(\w+)'", text))
    missing = outputs - set(system.sources["template.yaml"]["Outputs"])
    return wrong + [f"the stack has no output {name}" for name in sorted(missing)]


RECOVERY_RULES = [
    backups_are_kept_as_stated,
    a_restored_table_takes_the_place_of_the_stacks_own,
    the_commands_of_a_restore_exist,
]
