"""Drives the main calls of the API through the client that was generated from its description.

Argument: the file with what `local --json` prints. The environment is that of its `aws.env`.
"""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import TypeVar

import boto3
from fuzz_api import System

from drivesync_client import AuthenticatedClient
from drivesync_client.api.conflicts import get_conflict, list_conflicts, resolve_conflict, resolve_conflicts
from drivesync_client.api.connections import create_connection, delete_connection, get_connection, get_status, \
    update_connection
from drivesync_client.api.content import get_content, list_versions, put_content
from drivesync_client.api.files import create_file, delete_file, get_file, list_files, update_file
from drivesync_client.api.intents import cancel_intent, list_intents
from drivesync_client.api.operations import get_operation, list_operations, start_sync
from drivesync_client.api.service import drop_dead_letter, get_health, get_stats, list_dead_letters, \
    redrive_dead_letters
from drivesync_client.models import Choose, Conflict, ConflictStatus, Connection, ConnectionPatch, \
    ContentSettingsPatch, DeadLetter, DropBody, File, FileList, FilePatch, FilePatchProperties, LastWriterWins, \
    LetterStatus, LimitsPatch, ListIntentsStatus, NamedResolution, NewConnection, NewFile, OperationState, \
    Policies, PoliciesFields, PolicyLastWriterWins, PolicyWord, Problem, RedriveBody, ResolutionBody, \
    ResolutionsBody, RuleName, Rules, RulesPatch, ScopeSharedDrive, ScopeSharedDriveType, ScopeUser, \
    ScopeUserType, SyncBody, SyncMode, SyncStarted, UploadedFile
from drivesync_client.types import UNSET
from drivesync_client.types import File as Upload

T = TypeVar("T")
ANY = "*"


def ok(kind: type[T], answer: object) -> T:
    """Returns an answer that must be of this kind."""
    assert isinstance(answer, kind), answer
    return answer


def problem(answer: object, status: int, pointer: str) -> None:
    """Checks that an answer is this problem."""
    refused = ok(Problem, answer)
    assert (refused.status, refused.pointer) == (status, pointer), refused


class Calls:
    """The calls about one connection."""

    def __init__(self, client: AuthenticatedClient, system: System, connection: str) -> None:
        self.client, self.system, self.connection = client, system, connection

    def until(self, what: str, look):  # type: ignore[no-untyped-def]
        return self.system.until(what, look)

    def file(self, file: str) -> File:
        return ok(File, get_file.sync(self.connection, file, client=self.client))

    def connections(self) -> None:
        """Creates a connection, patches it member by member, and deletes it."""
        client = self.client
        policies = Policies(default=PolicyWord.DRIVE_WINS, fields=PoliciesFields.from_dict({"name": "manual"}))
        policies.fields["description"] = PolicyLastWriterWins(LastWriterWins(window_seconds=5))  # type: ignore[index]
        new = NewConnection(name="Generated", scope=ScopeUser(type_=ScopeUserType.USER), secret="drive",
                            policies=policies, rules=Rules(exclude=[RuleName(name="*.tmp")]))
        made = ok(Connection, create_connection.sync(client=client, body=new))
        assert isinstance(made.scope, ScopeUser), made.scope
        assert made.policies.default == PolicyWord.DRIVE_WINS, made.policies

        def patch(body: ConnectionPatch) -> Connection:
            return ok(Connection, update_connection.sync(made.id, client=client, body=body, if_match=ANY))

        assert patch(ConnectionPatch(name="Patched")).name == "Patched"
        limits = patch(ConnectionPatch(limits=LimitsPatch(writes_base_per_minute=50))).limits
        assert limits.writes_base_per_minute == 50, limits
        limits = patch(ConnectionPatch(limits=LimitsPatch(writes_base_per_minute=None))).limits
        assert limits.writes_base_per_minute == 100, limits
        patched = patch(ConnectionPatch(rules=RulesPatch(include=[RuleName(name="*")]), policies=None, subject=None))
        assert patched.name == "Patched", patched
        assert isinstance(patched.rules.include, list) and len(patched.rules.include) == 1, patched.rules
        assert patched.policies.default == PolicyWord.MANUAL, patched.policies
        refused = update_connection.sync(made.id, client=client, body=ConnectionPatch(name=""), if_match=ANY)
        problem(refused, 422, "/name")
        other = NewConnection(name="x", secret="drive", scope=ScopeSharedDrive(
            type_=ScopeSharedDriveType.SHARED_DRIVE, drive_id="0NoSuchDrive"))
        problem(create_connection.sync(client=client, body=other), 422, "/scope/drive_id")
        gone = delete_connection.sync_detailed(made.id, client=client)
        assert gone.status_code == 204, gone
        assert get_connection.sync_detailed(made.id, client=client).status_code == 404

    def plain_files(self) -> list[str]:
        """Returns the ids of files that are no folders."""
        page = ok(FileList, list_files.sync(self.connection, client=self.client, limit=200, path=True))
        return [f.id for f in page.items if f.fields.mime_type != "application/vnd.google-apps.folder"]

    def files(self, file: str, other: str) -> None:
        """Edits, creates and deletes files."""
        edited = update_file.sync_detailed(self.connection, file, client=self.client, if_match=ANY, body=FilePatch(
            description="by a generated client", properties=FilePatchProperties.from_dict({"stage": "draft"})))
        changed = ok(File, edited.parsed)
        assert changed.fields.properties["stage"] == "draft", changed
        tag = edited.headers["etag"]
        changed = ok(File, update_file.sync(self.connection, file, client=self.client, if_match=tag, body=FilePatch(
            properties=FilePatchProperties.from_dict({"stage": None}))))
        assert "stage" not in changed.fields.properties, changed
        stale = update_file.sync(self.connection, file, client=self.client, if_match=tag, body=FilePatch(starred=True))
        assert ok(Problem, stale).status == 412, stale
        self.until("the edit is pushed", lambda: self.file(file).intent is None)
        new = NewFile(name="made by a client.txt", mime_type="text/plain")
        made = ok(File, create_file.sync(self.connection, client=self.client, body=new, idempotency_key="once"))
        ok(File, cancel_intent.sync(self.connection, made.id, client=self.client))
        owed = list_intents.sync(self.connection, client=self.client, status=ListIntentsStatus.OWED)
        assert owed is not None and not isinstance(owed, Problem), owed
        ok(File, delete_file.sync(self.connection, other, client=self.client, if_match=ANY))

    def conflict(self, file: str, name: str) -> Conflict:
        """Opens a conflict on a file's name."""
        fault = {"match": f"* /drive/v2/files/{file}", "times": 1, "respond": {"status": 503}}
        self.system.control("faults", fault)
        edit = FilePatch(name=f"ours {name}", starred=True)
        ok(File, update_file.sync(self.connection, file, client=self.client, if_match=ANY, body=edit))
        self.system.in_drive(file, {"name": f"theirs {name}"})

        def look() -> Conflict | None:
            page = list_conflicts.sync(self.connection, client=self.client, field="name")
            assert page is not None and not isinstance(page, Problem), page
            return next((c for c in page.items if c.file_id == file), None)

        return ok(Conflict, self.until("a conflict", look))

    def conflicts(self, file: str) -> None:
        """Resolves conflicts, one and several."""
        one = self.conflict(file, "one")
        assert one.app == "ours one", one
        choice = ResolutionBody(choose=Choose.DRIVE)
        resolved = ok(Conflict, resolve_conflict.sync(self.connection, one.id, client=self.client, body=choice))
        assert resolved.status == ConflictStatus.RESOLVED, resolved
        again = resolve_conflict.sync(self.connection, one.id, client=self.client, body=ResolutionBody(value="x"))
        assert ok(Problem, again).status == 409, again
        two = self.conflict(file, "two")
        body = ResolutionsBody(resolutions=[NamedResolution(id=two.id, value="both"),
                                            NamedResolution(id="none", choose=Choose.APP)])
        results = resolve_conflicts.sync(self.connection, client=self.client, body=body)
        assert results is not None and not isinstance(results, Problem), results
        assert [result.status for result in results.results] == [200, 404], results
        read = ok(Conflict, get_conflict.sync(self.connection, two.id, client=self.client))
        assert read.resolution is not None and read.resolution is not UNSET, read

    def syncs(self) -> None:
        """Starts syncs, and follows one to its end."""
        ok(SyncStarted, start_sync.sync(self.connection, client=self.client, body=SyncBody(mode=SyncMode.DELTA)))
        audit = SyncBody(mode=SyncMode.AUDIT, dry_run=True)
        started = ok(SyncStarted, start_sync.sync(self.connection, client=self.client, body=audit))
        operation = started.operations[0].id

        def done() -> bool:
            now = get_operation.sync(self.connection, operation, client=self.client)
            assert now is not None and not isinstance(now, Problem), now
            return now.state == OperationState.DONE

        self.until("the audit is done", done)
        assert list_operations.sync(self.connection, client=self.client) is not None

    def content(self, file: str) -> None:
        """Turns content on, and brings some."""
        client, connection = self.client, self.connection
        on = ConnectionPatch(content=ContentSettingsPatch(enabled=True))
        ok(Connection, update_connection.sync(connection, client=client, body=on, if_match=ANY))
        text = b"by a generated client"
        digest = hashlib.sha256(text).hexdigest()
        version = self.file(file).content
        expected = version.version if version else 0

        def put(body: bytes) -> File | UploadedFile | Problem | None:
            return put_content.sync(connection, file, client=client, body=Upload(payload=io.BytesIO(body)),
                                    expected_version=expected, content_sha256=digest)

        stored = ok(UploadedFile, put(text))
        assert stored.content and stored.content.sha256 == digest, stored
        assert ok(Problem, put(b"other")).status == 400
        self.until("the version is stored", lambda: list_versions.sync(connection, file, client=client))
        download = get_content.sync(connection, file, client=client)
        assert download is not None and not isinstance(download, Problem), download
        assert download.size_bytes == len(text), download

    def send_to_dead_letter_queue(self, files: list[str]) -> None:
        """Sends a message about each file to a dead-letter queue, where the sweep finds it within a minute."""
        sqs = boto3.client("sqs")
        queue = sqs.get_queue_url(QueueName="content-dead.fifo")["QueueUrl"]
        for file in files:
            body = {"v": 1, "tenant": "local", "connection": self.connection, "content_of": file}
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(body), MessageGroupId="g",
                             MessageDeduplicationId=file)

    def dead_letters(self) -> None:
        """Redrives one of two dead letters, and drops the other."""

        def parked() -> list[DeadLetter] | None:
            page = list_dead_letters.sync(client=self.client, connection=self.connection)
            assert page is not None and not isinstance(page, Problem), page
            return page.items if len(page.items) == 2 else None

        first, second = self.until("two dead letters", parked)
        sent = redrive_dead_letters.sync(client=self.client, body=RedriveBody(ids=[first.id]))
        assert sent is not None and not isinstance(sent, Problem), sent
        assert sent.results[0].status == 200, sent
        why = DropBody(reason="a generated client drops it")
        dropped = ok(DeadLetter, drop_dead_letter.sync(second.id, client=self.client, body=why))
        assert dropped.status == LetterStatus.DROPPED, dropped
        waiting = RedriveBody(all_=True, connection=self.connection)
        rest = redrive_dead_letters.sync(client=self.client, body=waiting)
        assert rest is not None and not isinstance(rest, Problem) and rest.results == [], rest


def main(printed: str) -> None:
    """Runs all of it."""
    ready = json.loads(Path(printed).read_text().splitlines()[0])
    client = AuthenticatedClient(base_url=ready["api"], token=ready["token"], raise_on_unexpected_status=True)
    calls = Calls(client, System(ready), ready["connection"])
    assert get_health.sync(client=client) is not None and get_stats.sync(client=client) is not None
    assert get_status.sync(calls.connection, client=client) is not None
    file, other, *letters = calls.plain_files()[:4]
    calls.connections()
    calls.files(file, other)
    calls.conflicts(file)
    calls.syncs()
    calls.content(file)
    # Last, since what waits is redriven by itself half a minute after it was set aside.
    calls.send_to_dead_letter_queue(letters)
    calls.dead_letters()
    print("the generated client does what the description says")


if __name__ == "__main__":
    main(*sys.argv[1:])
