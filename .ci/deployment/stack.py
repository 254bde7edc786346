"""Packages and deploys the templates, as `sam package` and `sam deploy` do."""

import copy
import json
import os
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from template.model import NoManagedPolicies, load_sources

from . import rewrites
from .calls import REGION, until
from .emulator import ACCOUNT_KEYS

NAME = "drivesync"
PACKAGES = "packages"
DEPLOYED_SECONDS_MAX = 120


def function_binaries(sources: dict) -> dict[str, str]:
    """The binary of each function, by its logical id."""
    resources = sources["template.yaml"]["Resources"].items()
    functions = [(n, r) for n, r in resources if r["Type"] == "AWS::Serverless::Function"]
    return {name: r["Metadata"]["BuildProperties"]["Binary"] for name, r in functions}


def zipped(binary: Path, to: Path) -> str:
    """Zips a binary, without what a debugger needs. An unoptimised one is large: `sam package` would compress all of
    them, better than this, for a minute. Returns the name of the file."""
    bootstrap = to.with_suffix(".bootstrap")
    subprocess.run(["strip", "-o", bootstrap, binary], check=True)
    bootstrap.chmod(0o755)
    with zipfile.ZipFile(to.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(bootstrap, "bootstrap")
    bootstrap.unlink()
    return f"{to.name}.zip"


def lay_out(root: Path, binaries: Path, built: Path, emulator_url: str) -> dict[str, str]:
    """Writes what `sam build` would leave: the templates, and the code of each function. Returns each one's binary."""
    built.mkdir()
    sources = load_sources(root)
    rewrites.changed_by(rewrites.SOURCE, sources, emulator_url)
    functions = function_binaries(sources)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        zips = pool.map(lambda function: zipped(binaries / function[1], built / function[0]), functions.items())
    for name, code in zip(functions, zips, strict=True):
        sources["template.yaml"]["Resources"][name]["Properties"]["CodeUri"] = code
    del sources["template.yaml"]["Globals"]["Function"]["CodeUri"]
    for path, template in sources.items():
        target = built / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(template, indent=1))
    return functions


class Stack:
    """The stack in the account that the emulator stands for."""

    def __init__(self, emulator, work: Path):
        self.emulator, self.work = emulator, work
        self.outputs: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.parameters: dict[str, str] = {}

    def client(self, service: str):
        """A client of AWS with the account's own keys, which may do everything."""
        return boto3.client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCOUNT_KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 1}),
        )

    def package(self, root: Path, binaries: Path) -> str:
        """Uploads functions and nested templates. Returns what was done, in words."""
        built = self.work / "built"
        self.functions = lay_out(root, binaries, built, self.emulator.url)
        self.client("s3").create_bucket(Bucket=PACKAGES, CreateBucketConfiguration={"LocationConstraint": REGION})
        packaged = self.work / "packaged.json"
        command = [
            str(Path(sys.executable).parent / "sam"), "package", "--s3-bucket", PACKAGES, "--use-json", "--config-env", "none",
            "--no-progressbar", "--template-file", "template.yaml", "--output-template-file", str(packaged),
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=built, env=self.emulator.environment, text=True, timeout=240, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode != 0:
            raise AssertionError(f"sam package: {done.stdout[-2000:]}")
        self.packaged = json.loads(packaged.read_text())
        return f"{len(self.functions)} functions"

    def deploy(self, **parameters: str) -> str:
        """Executes a change set, as `sam deploy` does: parameters that are not given stay. Returns what was done."""
        self.parameters |= parameters
        template = Translator(NoManagedPolicies().load(), Parser()).translate(copy.deepcopy(self.packaged), self.parameters)
        rewrites.changed_by(rewrites.TRANSFORMED, template)
        cloudformation, s3 = self.client("cloudformation"), self.client("s3")
        kind = "UPDATE" if self.outputs else "CREATE"
        name = f"{kind.lower()}-{time.time_ns()}"
        # Too large to be sent with the call, as on AWS.
        s3.put_object(Bucket=PACKAGES, Key=f"{name}.json", Body=json.dumps(template).encode())
        cloudformation.create_change_set(
            StackName=NAME,
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateURL=f"{self.emulator.url}/{PACKAGES}/{name}.json",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
        )

        def described():
            found = cloudformation.describe_change_set(StackName=NAME, ChangeSetName=name)
            return found if found["Status"] in ("CREATE_COMPLETE", "FAILED") else None

        changes = until("the change set is ready", described, DEPLOYED_SECONDS_MAX)
        if changes["Status"] == "FAILED":
            raise AssertionError(changes.get("StatusReason"))
        cloudformation.execute_change_set(StackName=NAME, ChangeSetName=name)

        def settled():
            stack = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]
            return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack

        stack = until("the stack is deployed", settled, DEPLOYED_SECONDS_MAX)
        if stack["StackStatus"] != f"{kind}_COMPLETE":
            events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
            failed = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]]
            raise AssertionError(f"{stack['StackStatus']}: {failed}")
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
        return f"{kind.lower()}d, {len(changes.get('Changes', []))} changes"

    def resource(self, logical_id: str) -> str:
        """The physical id of a resource of the root."""
        found = self.client("cloudformation").describe_stack_resource(StackName=NAME, LogicalResourceId=logical_id)
        return found["StackResourceDetail"]["PhysicalResourceId"]
