"""What is done with the deployed stack, in order. Every function of it is reached by its own event source.

Each step returns what it saw, in words, or raises.
"""

import hashlib
import json
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .browser import Browser
from .calls import Answer, expect, free_port, http, until
from .emulator import Emulator
from .stack import NAME, Stack

TENANT = "acme"
USER = "ann@example.com"
PASSWORD = "Correct-Horse-Battery-1"
# The schedule runs each minute.
SCHEDULED_SECONDS_MAX = 130
QUEUES = ("LogWakes", "Snapshots", "SnapshotsBulk", "PushWakes", "Operations", "Live", "Deliver", "Content", "ContentBulk")


class Drive:
    """The simulated Google Drive."""

    def __init__(self, program: Path, library: Path, log: Path):
        self.url = f"http://127.0.0.1:{free_port()}"
        address = self.url.removeprefix("http://")
        with log.open("w") as out:
            command = [str(program), "--addr", address, "--library", str(library)]
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        said = until("the simulated Drive is ready", lambda: "X-Drive-Control: " in log.read_text() and log.read_text())
        self.control_key = said.split("X-Drive-Control: ")[1].split()[0].strip("().,")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def call(self, method: str, path: str, body: Any = None, user: str = "alice") -> Answer:
        headers = {"Authorization": f"Bearer user:{user}"}
        return expect(http(method, f"{self.url}{path}", headers, body), 200)

    def file(self, file: str, fields: str) -> dict:
        return self.call("GET", f"/drive/v3/files/{file}?fields={fields}&supportsAllDrives=true").json

    def edit(self, file: str, body: dict) -> None:
        self.call("PATCH", f"/drive/v3/files/{file}?supportsAllDrives=true", body)

    def counters(self) -> dict:
        headers = {"X-Drive-Control": self.control_key}
        return expect(http("GET", f"{self.url}/_control/counters", headers), 200).json


@dataclass
class World:
    """What the steps share."""

    root: Path
    binaries: Path
    work: Path
    library: Path
    browser: Browser
    emulator: Emulator
    drive: Drive
    stack: Stack
    token: str = ""
    access_token: str = ""
    connection: str = ""
    file: str = ""
    files: dict[str, dict] = field(default_factory=dict)

    def url(self, path: str, api: str = "HttpApi") -> str:
        """Where the emulator serves a path of an API."""
        return f"{self.emulator.url}/_aws/execute-api/{self.stack.resource(api)}/$default{path}"

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A call of the HTTP API with the user's token. A path without a slash is of the connection."""
        if not path.startswith("/"):
            path = f"/v1/connections/{self.connection}/{path}"
        every = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return http(method, self.url(path), every, body)

    def record(self, file: str = "") -> dict:
        return expect(self.api("GET", f"files/{file or self.file}"), 200).json

    def send(self, queue_url: str, body: str, group: str) -> None:
        self.stack.client("sqs").send_message(
            QueueUrl=queue_url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=uuid.uuid4().hex
        )

    def log(self, function: str) -> list[str]:
        """All lines of a function's log."""
        logs, group = self.stack.client("logs"), f"/{NAME}/{function}"
        lines = []
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            page: dict = {"nextForwardToken": None}
            while True:
                more = {"nextToken": page["nextForwardToken"]} if page["nextForwardToken"] else {}
                before = page["nextForwardToken"]
                page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **more)
                lines += [line for event in page["events"] for line in event["message"].splitlines()]
                if page["nextForwardToken"] == before or not page["events"]:
                    break
        return lines


def packages(world: World) -> str:
    """the templates are packaged by sam package"""
    return world.stack.package(world.root, world.binaries)


def deploys(world: World) -> str:
    """the stack is created by a change set"""
    return world.stack.deploy(Architecture="x86_64", DriveUrl=world.drive.url)


def has_its_properties(world: World) -> str:
    """table, bucket, queues and event sources are as the templates say"""
    wrong = []
    outputs = world.stack.outputs
    table = world.stack.client("dynamodb").describe_table(TableName=outputs["TableName"])["Table"]
    if len(table.get("GlobalSecondaryIndexes", [])) != 4 or not table.get("DeletionProtectionEnabled"):
        wrong.append("the table")
    if world.stack.client("s3").get_bucket_versioning(Bucket=outputs["ContentBucket"]).get("Status") != "Enabled":
        wrong.append("the bucket has no versions")
    for queue in QUEUES:
        url = outputs[f"{queue}QueueUrl"]
        found = world.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(found.get("RedrivePolicy", "{}"))
        if found.get("FifoThroughputLimit") != "perMessageGroupId" or int(redrive.get("maxReceiveCount", 0)) != 200:
            wrong.append(queue)
    mappings = world.stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    if len(mappings) != len(QUEUES) + 1 or any("ReportBatchItemFailures" not in m["FunctionResponseTypes"] for m in mappings):
        wrong.append(f"{len(mappings)} event sources")
    if wrong:
        raise AssertionError(", ".join(wrong))
    return f"4 indexes, {len(QUEUES)} queues, {len(mappings)} event sources"


def issues_tokens(world: World) -> str:
    """a user of the stack's pool gets a token that names tenant and role"""
    cognito, outputs = world.stack.client("cognito-idp"), world.stack.outputs
    pool, client, name = outputs["UserPoolId"], outputs["ClientId"], USER
    attributes = {"email": name, "email_verified": "true", "custom:tenant": TENANT, "custom:role": "admin"}
    cognito.admin_create_user(
        UserPoolId=pool,
        Username=name,
        MessageAction="SUPPRESS",
        # The emulator would make one up that its own pool refuses.
        TemporaryPassword=f"{PASSWORD}x",
        UserAttributes=[{"Name": key, "Value": value} for key, value in attributes.items()],
    )
    cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=PASSWORD, Permanent=True)
    tokens = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    world.token, world.access_token = tokens["IdToken"], tokens["AccessToken"]
    return "an ID token and an access token"


def admits_whom_it_should(world: World) -> str:
    """open routes answer, and all others want the ID token"""
    plain = [http("GET", world.url(path)).status for path in ("/health", "/openapi.json", "/v1/connections", "/nope")]
    other = http("GET", world.url("/v1/connections"), {"Authorization": f"Bearer {world.access_token}"}).status
    ours = world.api("GET", "/v1/connections").status
    if (plain, other, ours) != ([200, 200, 401, 404], 401, 200):
        raise AssertionError(f"open {plain}, access token {other}, ID token {ours}")
    return "401 without a token and with an access token"


def connects(world: World) -> str:
    """a connection is made once its secret is there, and once only"""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    credentials = {
        "type": "service_account",
        "client_email": "drivesync@project.iam.gserviceaccount.com",
        "private_key_id": "k1",
        "private_key": pem.decode(),
        "token_uri": f"{world.drive.url}/token",
        "allowed_domains": ["example.com"],
    }
    body = {"name": "Ann", "scope": {"type": "user"}, "secret": "drive", "subject": "owner@example.com", "content": {"enabled": True}}
    missing = expect(world.api("POST", "/v1/connections", body), 422).json
    if missing["pointer"] != "/secret":
        raise AssertionError(missing)
    secret = f"{world.stack.outputs['SecretsPrefix']}{TENANT}/drive"
    world.stack.client("secretsmanager").create_secret(Name=secret, SecretString=json.dumps(credentials))
    made = expect(world.api("POST", "/v1/connections", body, Idempotency_Key="drive-of-ann"), 200, 201).json
    again = expect(world.api("POST", "/v1/connections", body, Idempotency_Key="drive-of-ann"), 200, 201)
    if again.json["id"] != made["id"] or again.headers.get("idempotent-replayed") != "true":
        raise AssertionError(again.json)
    world.connection = made["id"]
    return f"422 without its secret, then {made['id']}, replayed"


def syncs(world: World) -> str:
    """the first sync lists Drive (fetch-changes, apply-snapshots)"""
    expected = sum(1 for path in world.library.rglob("*") if path.is_file())

    def listed():
        items, cursor = [], ""
        while cursor is not None:
            page = expect(world.api("GET", f"files?path=true&limit=100{cursor}"), 200).json
            items += page["items"]
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        return items if len(items) >= expected else None

    items = until(f"{expected} files have a record", listed, 120)
    world.files = {item["path"].rsplit("/", 1)[-1]: item for item in items}
    world.file = world.files["plan.txt"]["id"]
    return f"{len(items)} records of {expected} files and their folders"


def sends_what_failed(world: World) -> str:
    """what can't be read is parked at once, and its group goes on"""
    group = f"{TENANT}.{world.connection}.{world.file}"
    queue = world.stack.outputs["SnapshotsQueueUrl"]
    table, ddb = world.stack.outputs["TableName"], world.stack.client("dynamodb")
    world.send(queue, "not JSON", group)
    query = {
        "TableName": table,
        "KeyConditionExpression": "PK = :p",
        "ExpressionAttributeValues": {":p": {"S": "T#_unknown#C#_unknown"}},
    }
    parked = until("the message is parked", lambda: ddb.query(**query)["Items"])
    # The next step's schedule drains the queue that this is put into.
    dead = queue.replace("-snapshots.fifo", "-snapshots-dead.fifo")
    body = {"v": 1, "tenant": TENANT, "connection": world.connection, "cause": "live", "file": world.file,
            "at": "2026-11-21T09:00:00.000Z", "snapshot": None, "removed": None}  # fmt: skip
    world.send(dead, json.dumps(body), group)
    world.drive.edit(world.file, {"description": "after what can't be read"})
    wake = {"v": 1, "tenant": TENANT, "connection": world.connection, "log": "user"}
    world.send(world.stack.outputs["LogWakesQueueUrl"], json.dumps(wake), f"{TENANT}.{world.connection}.user")
    until("the group goes on", lambda: world.record()["fields"]["description"] == "after what can't be read")
    return f"parked: {parked[0]['reason']['S']}"


def runs_its_schedule(world: World) -> str:
    """the schedule runs sweep, which asks Drive for notifications"""
    until("a channel is open", lambda: world.drive.counters()["calls"].get("changes.watch"), SCHEDULED_SECONDS_MAX)
    return "changes.watch was called"


def redrives(world: World) -> str:
    """sweep drains a dead-letter queue; the API redrives the letter"""

    def found():
        items = expect(world.api("GET", "/v1/dead-letters?status=all"), 200).json["items"]
        return [item for item in items if "snapshots-dead" in item["queue"]]

    letter = until("the dead letter is listed", found, SCHEDULED_SECONDS_MAX)[0]
    if letter["status"] == "redriven":
        return f"{letter['reason']}; redriven by itself before anybody asked"
    done = expect(world.api("POST", "/v1/dead-letters/redrive", {"ids": [letter["id"]]}), 200).json["results"][0]
    if done["status"] != 200 or done["letter"]["status"] != "redriven":
        raise AssertionError(done)
    return f"{letter['reason']}; then redriven"


def hears_of_edits(world: World) -> str:
    """an edit in Drive arrives by a notification (receive-notification)"""
    delivered = world.drive.counters()["notifications"].get("delivered", 0)
    world.drive.edit(world.file, {"name": "renamed in Drive.txt"})
    until("the new name is here", lambda: world.record()["fields"]["name"] == "renamed in Drive.txt")
    until("a notification was accepted", lambda: world.drive.counters()["notifications"].get("delivered", 0) > delivered)
    until("receive-notification logged", lambda: world.log("receive-notification"))
    return "notified, and applied"


def pushes_edits(world: World) -> str:
    """an edit at the API reaches Drive (push-intents), once"""
    etag = expect(world.api("GET", f"files/{world.file}"), 200).headers["etag"]
    edit = {"description": "by the application", "properties": {"stage": "draft"}}
    expect(world.api("PATCH", f"files/{world.file}", edit, If_Match=etag, Idempotency_Key="edit-1"), 200)
    again = expect(world.api("PATCH", f"files/{world.file}", edit, If_Match=etag, Idempotency_Key="edit-1"), 200)
    stale = world.api("PATCH", f"files/{world.file}", {"description": "x"}, If_Match='"1"').status
    until("Drive has it", lambda: world.drive.file(world.file, "description").get("description") == edit["description"])
    until("nothing is owed", lambda: world.record()["intent"] is None)
    if stale != 412 or again.headers.get("idempotent-replayed") != "true":
        raise AssertionError(f"a stale edit is {stale}")
    return "412 with a stale ETag"


def settles_conflicts(world: World) -> str:
    """both sides edit one field; a person decides"""
    etag = expect(world.api("GET", f"files/{world.file}"), 200).headers["etag"]
    expect(world.api("POST", "pause"), 200)
    world.drive.edit(world.file, {"name": "Plan B"})
    expect(world.api("PATCH", f"files/{world.file}", {"name": "Plan A"}, If_Match=etag), 200)
    expect(world.api("POST", "resume"), 200)

    def opened():
        items = expect(world.api("GET", "conflicts?status=open"), 200).json["items"]
        return [item for item in items if item["file_id"] == world.file]

    conflict = until("the conflict is open", opened)[0]
    if (conflict["field"], conflict["app"], conflict["drive"]) != ("name", "Plan A", "Plan B"):
        raise AssertionError(conflict)
    expect(world.api("PATCH", f"files/{world.file}", {"name": "Plan C"}, If_Match="*"), 409)
    decision = f"conflicts/{conflict['id']}/resolution"
    expect(world.api("POST", decision, {"choose": "app"}), 200)
    expect(world.api("POST", decision, {"choose": "drive"}), 409)
    until("Drive has the decision", lambda: world.drive.file(world.file, "name")["name"] == "Plan A")
    return "409 while it is open, and for a second decision"


def mirrors_content(world: World) -> str:
    """content is mirrored (publish-events, mirror-content), and read by a signed link"""
    content = f"files/{world.file}/content"

    def stored(expected: bytes):
        answer = world.api("GET", content)
        return answer.status == 200 and answer.json["sha256"] == hashlib.sha256(expected).hexdigest() and answer

    was = (world.library / "plan.txt").read_bytes()
    link = until("the content is stored", lambda: stored(was), 120).json["url"]
    # As whoever holds the link: without a token.
    if http("GET", link).raw != was:
        raise AssertionError("the link leads to something else")
    new = b"Second draft, from Drive.\n"
    headers = {"Authorization": "Bearer user:alice", "Content-Type": "text/plain"}
    upload = f"{world.drive.url}/upload/drive/v3/files/{world.file}?uploadType=media&supportsAllDrives=true"
    expect(http("PATCH", upload, headers, new), 200)
    until("the new content is stored", lambda: stored(new), 120)
    version = world.record()["content"]["version"]
    ours = b"Third draft, from the application.\n"
    headers = {"Content_SHA256": hashlib.sha256(ours).hexdigest(), "Content_Type": "application/octet-stream"}
    expect(world.api("POST", f"{content}?expected_version={version}", ours, **headers), 200)
    media = f"/drive/v3/files/{world.file}?alt=media&supportsAllDrives=true"
    until("Drive has the upload", lambda: world.drive.call("GET", media).raw == ours)
    return "first, from Drive, and from the application"


def tells_live_readers(world: World) -> str:
    """a WebSocket is opened with a ticket, and gets the next event (live)"""
    ticket = expect(world.api("POST", "/v1/live/tickets"), 200, 201).json
    address, query = ticket["url"].split("?")
    api = address.removeprefix("wss://").split(".")[0]
    stage = address.rsplit("/", 1)[-1]
    url = f"{world.emulator.url.replace('http', 'ws')}/_aws/execute-api/{api}/{stage}"
    refused = world.browser.open_socket(f"{url}?ticket=none", world.connection)
    if refused != "closed":
        raise AssertionError("a socket is opened without a ticket")
    hello = world.browser.open_socket(f"{url}?{query}", world.connection)
    if hello != "hello":
        raise AssertionError(f"the first frame is {hello}")
    world.drive.edit(world.file, {"description": "to be told"})
    types = until("the event is on the socket", world.browser.event_types)
    return f"hello, then {', '.join(types)}"


def delivers_webhooks(world: World) -> str:
    """a webhook is attempted by the wakes of its queue, and what came of it is listed"""
    endpoint = {"name": "Billing", "url": "https://hooks.example.com/drivesync"}
    made = expect(world.api("POST", "/v1/webhooks", endpoint), 200, 201).json
    private = world.api("POST", "/v1/webhooks", {**endpoint, "url": "https://127.0.0.1/"}).status
    if private != 422:
        raise AssertionError(f"an endpoint on this machine is {private}")
    expect(world.api("POST", f"/v1/webhooks/{made['id']}/test"), 200, 202)
    path = f"/v1/webhooks/{made['id']}/deliveries"
    tried = until("an attempt is listed", lambda: expect(world.api("GET", path), 200).json["items"])
    expect(world.api("DELETE", f"/v1/webhooks/{made['id']}", If_Match="*"), 200, 204)
    return f"422 for an address of this machine; an attempt was {tried[0]['outcome']}"


def ends_the_first_sync(world: World) -> str:
    """the first sync's operation ends (run-operations)"""

    def ended():
        found = expect(world.api("GET", "operations?limit=1"), 200).json["items"][0]
        return found if found["state"] in ("done", "failed") else None

    found = until("the operation has ended", ended, SCHEDULED_SECONDS_MAX)
    if found["state"] != "done":
        raise AssertionError(found)
    return f"{found['kind']} is done"


def serves_the_console(world: World) -> str:
    """the stack is updated with ConsoleUrl; a person signs in to the console"""
    outputs = world.stack.outputs
    # Without a release of its own, the alias would keep a version with the settings of before.
    said = world.stack.deploy(ConsoleUrl=outputs["ConsoleUrl"], Release="second")
    page = expect(http("GET", world.url("/console")), 200)
    expect(http("GET", world.url("/console/config.json")), 200)
    allowed = page.headers["content-security-policy"].replace(";", " ").split()
    origins = [origin for origin in allowed if ".auth." in origin]
    if len(origins) != 1:
        raise AssertionError(f"the page may sign in at {origins}")
    return f"{said}; {world.browser.sign_in(outputs['ConsoleUrl'], origins[0], USER, PASSWORD, 'follows Drive')}"


def logs_are_readable(world: World) -> str:
    """every function has logged lines of JSON, each key once, no secret, and nothing that its role may not do"""
    wrong, lines, metrics = [], 0, set()
    for binary in world.stack.functions.values():
        told = world.log(binary)
        # The one that CodeDeploy invokes, which the emulator does not know.
        if not told and binary != "deploy-check":
            wrong.append(f"{binary} was not invoked")
        for line in told:
            if "AccessDenied" in line or "not authorized to perform" in line:
                wrong.append(f"{binary}: {line[:400]}")
            if "PRIVATE KEY" in line or world.token in line:
                wrong.append(f"{binary} logs a secret")
            if not line.startswith("{"):
                continue
            lines += 1
            repeated: list[str] = []

            def once(pairs, repeated=repeated):
                keys = [key for key, _ in pairs]
                repeated += [key for key in keys if keys.count(key) > 1]
                return dict(pairs)

            parsed = json.loads(line, object_pairs_hook=once)
            if repeated:
                wrong.append(f"{binary} repeats {sorted(set(repeated))}: {line[:200]}")
            if "metric" in parsed:
                metrics.add(parsed["metric"])
            if parsed.get("level") == "ERROR" and parsed.get("metric") != "dead_letter":
                wrong.append(f"{binary}: {line[:400]}")
    if wrong:
        raise AssertionError("\n".join(wrong[:8]))
    return f"{lines} lines, {len(metrics)} metrics"


def comes_to_rest(world: World) -> str:
    """all queues are empty in the end"""

    def left():
        sqs, waiting = world.stack.client("sqs"), {}
        for queue in QUEUES:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = sqs.get_queue_attributes(QueueUrl=world.stack.outputs[f"{queue}QueueUrl"], AttributeNames=names)
            waiting[queue] = sum(int(found["Attributes"][name]) for name in names)
        return [queue for queue, count in waiting.items() if count]

    until("the queues are empty", lambda: not left(), 90)
    return "nothing waits"


STEPS = [
    packages,
    deploys,
    has_its_properties,
    issues_tokens,
    admits_whom_it_should,
    connects,
    syncs,
    sends_what_failed,
    runs_its_schedule,
    redrives,
    mirrors_content,
    pushes_edits,
    settles_conflicts,
    tells_live_readers,
    delivers_webhooks,
    serves_the_console,
    hears_of_edits,
    ends_the_first_sync,
    comes_to_rest,
    logs_are_readable,
]
# What the emulator stores and does not act on, or does not have: the templates' rules hold it, and nothing here shows it.
NOT_SHOWN = [
    "an alarm that rings: no metric is made of the embedded metric format; metric math, and alarms over alarms, are refused",
    "the expiry of items, point-in-time recovery, the bucket's life cycle, replication, Object Lock, CloudFront",
    "the saved queries over the logs, which it does not know",
    "throttles of the APIs, their access logs, and traces of X-Ray",
    "policies that ask for TLS, and those by key of an item (dynamodb:LeadingKeys)",
    "attributes that users may not write in the pool (WriteAttributes)",
    "API Gateway's own answer to a ping, its limits of size and time, and its close codes",
    "that a delivery of a webhook arrives: only public addresses are delivered to, and there is no network",
    "CodeDeploy: the check of new versions, canaries and their alarms (.ci/template/rollout.py holds what the templates ask for)",
    "arm64, release builds, cold starts, sizes, and more than one batch of a FIFO queue at a time",
]
