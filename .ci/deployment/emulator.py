"""Runs the emulator of AWS (ministack, of PyPI), with functions as processes of this machine and IAM enforced.

Run as a program it is the emulator itself, after what `PATCHES` changes in it.
"""

import os
import subprocess
import sys
from pathlib import Path

from .calls import REGION, free_port, http, until

START_SECONDS_MAX = 60
ACCOUNT_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def batches_of_messages_are_single_actions():
    """The emulator asks for the right sqs:SendMessageBatch. AWS knows no such right: a batch needs that of its parts."""
    from ministack.core import iam_actions

    of_target = iam_actions._action_from_target

    def single(headers):
        action = of_target(headers)
        if action and headers.get("x-amz-target", "").startswith("AmazonSQS."):
            return action.removesuffix("Batch")
        return action

    iam_actions._action_from_target = single


PATCHES = [batches_of_messages_are_single_actions]


class Emulator:
    """A running emulator. Its state is in memory, its files and its log in `folder`."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        # What functions inherit: SDKs find the emulator by AWS_ENDPOINT_URL.
        self.environment = {
            **os.environ,
            **ACCOUNT_KEYS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
            # Neither the settings nor the keys of whoever runs this.
            "HOME": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        settings = {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "LAMBDA_EXECUTOR": "local",
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(folder),
            "S3_DATA_DIR": str(folder / "s3"),
        }
        self.log = folder / "emulator.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployment.emulator"],
                cwd=Path(__file__).resolve().parent.parent,
                env={**self.environment, **settings},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            until("the emulator answers", self.is_up, START_SECONDS_MAX)
        except AssertionError:
            self.stop()
            raise

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the emulator ended: {self.log.read_text()[-2000:]}")
        try:
            return http("GET", f"{self.url}/_ministack/health").status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


if __name__ == "__main__":
    from ministack.app import main

    for patch in PATCHES:
        patch()
    main()
