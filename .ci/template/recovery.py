"""The rules over backups, and over a stack that uses a restored table."""

import json

from .model import MAKES_TABLE, System

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
    secrets = system.of_type("AWS::SecretsManager::Secret").values()
    copied = {"If": ["HasBackupRegion", [{"Region": "<param BackupRegion>"}], "<AWS::NoValue>"]}
    if any(secret["Properties"].get("ReplicaRegions") != copied for secret in secrets):
        wrong.append("a secret has no copy in the other region")
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


RECOVERY_RULES = [backups_are_kept_as_stated, a_restored_table_takes_the_place_of_the_stacks_own]
