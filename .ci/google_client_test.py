"""Google's own Python client against a Drive simulator.

Usage: python google_client_test.py http://127.0.0.1:3001 [user [control]], with the value of X-Drive-Control.

Needs the package google-api-python-client. The client is built from the discovery document that it bundles, with its
rootUrl pointed at the simulator, so that JSON calls, uploads and batches all go there. The items it makes are its own:
it can be run against a simulator that holds a library, any number of times.
"""

import io
import json
import pathlib
import sys
import urllib.request
import uuid

import google.oauth2.credentials
import googleapiclient
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest, MediaIoBaseDownload, MediaIoBaseUpload

FOLDER = "application/vnd.google-apps.folder"
TESTS = []


def test(function):
    """Registers a test; each gets a client of v3 and a folder of its own."""
    TESTS.append(function)
    return function


def document(version, root):
    """The bundled discovery document, pointed at `root`."""
    bundled = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    read = json.loads((bundled / f"drive.{version}.json").read_text())
    read["rootUrl"] = root
    read["baseUrl"] = f"{root}drive/{version}/"
    return read


def refused(request, status, reason):
    """Executes a request that must be refused so, and returns the refusal's first detail."""
    try:
        request.execute()
    except HttpError as error:
        detail = json.loads(error.content)["error"]
        first = detail["errors"][0]
        assert (error.resp.status, first["reason"]) == (status, reason), (error.resp.status, first)
        assert detail["code"] == status and detail["message"] == first["message"], detail
        return first
    raise AssertionError(f"expected {status} {reason}, got an answer")


def start_token(drive):
    """The token after everything in the user's log."""
    return drive.changes().getStartPageToken().execute()["startPageToken"]


def changes_since(drive, token, **params):
    """Every change after the token, and the next start token."""
    found = []
    while True:
        page = drive.changes().list(pageToken=token, fields="*", **params).execute()
        found += page["changes"]
        if "newStartPageToken" in page:
            assert "nextPageToken" not in page
            return found, page["newStartPageToken"]
        token = page["nextPageToken"]


def make(drive, folder, name="a.txt", **body):
    """Makes a file without content and returns its id."""
    return drive.files().create(body={"name": name, "parents": [folder], **body}).execute()["id"]


@test
def a_created_file_has_the_default_fields_and_all_fields_on_request(drive, folder):
    made = drive.files().create(body={"name": "a.txt", "mimeType": "text/plain", "parents": [folder]}).execute()
    assert set(made) == {"kind", "id", "name", "mimeType"}, made
    whole = drive.files().get(fileId=made["id"], fields="*").execute()
    assert whole["parents"] == [folder] and whole["size"] == "0" and not whole["trashed"], whole
    assert isinstance(whole["version"], str) and int(whole["version"]) > 0
    assert whole["capabilities"]["canEdit"] is True and whole["createdTime"].endswith("Z")


@test
def listing_pages_through_a_folder(drive, folder):
    names = {f"file {number}" for number in range(7)}
    for name in names:
        make(drive, folder, name)
    found, pages, request = [], 0, drive.files().list(q=f"'{folder}' in parents", pageSize=3, fields="nextPageToken,files(id,name)")
    while request is not None:
        page = request.execute()
        found += [file["name"] for file in page["files"]]
        assert len(page["files"]) <= 3
        pages += 1
        request = drive.files().list_next(request, page)
    assert sorted(found) == sorted(names) and pages >= 3, (found, pages)


@test
def queries_find_by_name_type_time_star_and_property(drive, folder):
    one = make(drive, folder, "Quarterly report.txt", mimeType="text/plain", starred=True, properties={"state": "draft"})
    two = make(drive, folder, "It's a folder", mimeType=FOLDER)

    def found(term):
        files = drive.files().list(q=f"'{folder}' in parents and ({term})", orderBy="name").execute()["files"]
        return {file["id"] for file in files}

    assert found("name contains 'quart'") == {one}
    assert found(r"name = 'It\'s a folder'") == {two}
    assert found(f"mimeType != '{FOLDER}'") == {one}
    assert found("starred = true") == {one}
    assert found("properties has {key='state' and value='draft'}") == {one}
    assert found("modifiedTime > '2012-06-04T12:00:00'") == {one, two}
    assert found("not trashed = false") == set()


def define_label(root, control):
    """Defines the label that the test of labels sets, for which Google has an API of its own."""
    label = {"id": "google-client-label", "fields": {"state": {"type": "text"}}}
    headers = {"Content-Type": "application/json", "X-Drive-Control": control}
    command = urllib.request.Request(f"{root}_control/labels", json.dumps(label).encode(), headers)
    urllib.request.urlopen(command, timeout=30).close()


@test
def labels_are_modified_listed_and_included(drive, folder):
    token, file = start_token(drive), make(drive, folder)
    change = {"labelId": "google-client-label", "fieldModifications": [{"fieldId": "state", "setTextValues": ["draft"]}]}
    made = drive.files().modifyLabels(fileId=file, body={"labelModifications": [change]}).execute()
    assert made["modifiedLabels"][0]["fields"]["state"]["text"] == ["draft"], made
    listed = drive.files().listLabels(fileId=file).execute()["labels"]
    assert [label["id"] for label in listed] == ["google-client-label"], listed
    assert "labelInfo" not in drive.files().get(fileId=file, fields="*").execute()
    shown = drive.files().get(fileId=file, fields="labelInfo", includeLabels="google-client-label").execute()
    assert shown["labelInfo"]["labels"] == listed, shown
    changes, _ = changes_since(drive, token, includeLabels="google-client-label")
    assert [change["file"]["labelInfo"]["labels"] for change in changes if change["fileId"] == file] == [listed]
    removal = {"labelModifications": [{"labelId": "google-client-label", "removeLabel": True}]}
    drive.files().modifyLabels(fileId=file, body=removal).execute()
    assert drive.files().listLabels(fileId=file).execute()["labels"] == []


@test
def orders_and_partial_responses(drive, folder):
    make(drive, folder, "b"), make(drive, folder, "a"), make(drive, folder, "z", mimeType=FOLDER)
    page = drive.files().list(q=f"'{folder}' in parents", orderBy="folder,name desc", fields="files/name").execute()
    assert page == {"files": [{"name": "z"}, {"name": "b"}, {"name": "a"}]}, page


@test
def an_update_patches_and_null_deletes_a_property(drive, folder):
    file = make(drive, folder, properties={"keep": "1", "drop": "2"})
    before = int(drive.files().get(fileId=file, fields="version").execute()["version"])
    body = {"name": "b.txt", "description": "text", "starred": True, "properties": {"drop": None, "new": "3"}}
    after = drive.files().update(fileId=file, body=body, fields="name,description,starred,properties,version").execute()
    assert int(after.pop("version")) > before
    assert after == {"name": "b.txt", "description": "text", "starred": True, "properties": {"keep": "1", "new": "3"}}, after


@test
def a_move_takes_add_and_remove_parents(drive, folder):
    target = make(drive, folder, "target", mimeType=FOLDER)
    file = make(drive, folder)
    moved = drive.files().update(fileId=file, addParents=target, removeParents=folder, fields="parents").execute()
    assert moved == {"parents": [target]}, moved
    added = drive.files().update(fileId=file, addParents=folder, fields="parents").execute()
    assert added == {"parents": [folder]}, added
    refused(drive.files().update(fileId=target, addParents=target, removeParents=folder), 400, "invalid")
    refused(drive.files().update(fileId=file, body={"parents": [target]}), 403, "fieldNotWritable")


@test
def generated_ids_make_a_create_idempotent(drive, folder):
    ids = drive.files().generateIds(count=3).execute()["ids"]
    assert len(set(ids)) == 3
    assert make(drive, folder, id=ids[0]) == ids[0]
    refused(drive.files().create(body={"id": ids[0], "name": "again"}), 409, "fileIdInUse")


@test
def media_goes_up_and_comes_down(drive, folder):
    content = b"line one\r\nline two\n\x00\xff\r\n"
    media = MediaIoBaseUpload(io.BytesIO(content), mimetype="application/x-test", resumable=False)
    body = {"name": "bytes.bin", "parents": [folder]}
    made = drive.files().create(body=body, media_body=media, fields="id,size,mimeType,md5Checksum,headRevisionId").execute()
    assert made["size"] == str(len(content)) and made["mimeType"] == "application/x-test", made
    assert len(made["md5Checksum"]) == 32
    assert drive.files().get_media(fileId=made["id"]).execute() == content
    shorter = MediaIoBaseUpload(io.BytesIO(b"short"), mimetype="text/plain", resumable=False)
    after = drive.files().update(fileId=made["id"], media_body=shorter, fields="size,headRevisionId,md5Checksum").execute()
    assert after["size"] == "5" and after["headRevisionId"] != made["headRevisionId"]
    assert drive.files().get_media(fileId=made["id"]).execute() == b"short"


@test
def a_download_in_ranges_is_whole(drive, folder):
    content = bytes(range(256)) * 20
    media = MediaIoBaseUpload(io.BytesIO(content), mimetype="application/octet-stream", resumable=False)
    file = drive.files().create(body={"name": "b", "parents": [folder]}, media_body=media).execute()["id"]
    target = io.BytesIO()
    download, done = MediaIoBaseDownload(target, drive.files().get_media(fileId=file), chunksize=1000), False
    while not done:
        _, done = download.next_chunk()
    assert target.getvalue() == content
    refused(drive.files().get_media(fileId=folder), 403, "fileNotDownloadable")


@test
def changes_are_compacted_and_deletions_are_removed_entries(drive, folder):
    token = start_token(drive)
    file, other = make(drive, folder, "a"), make(drive, folder, "b")
    drive.files().update(fileId=file, body={"name": "c"}).execute()
    found, token = changes_since(drive, token)
    assert [change["fileId"] for change in found] == [other, file], found
    assert found[1]["file"]["name"] == "c" and found[1]["changeType"] == "file" and not found[1]["removed"]
    drive.files().delete(fileId=file).execute()
    found, _ = changes_since(drive, token)
    assert [(change["fileId"], change["removed"]) for change in found] == [(file, True)] and "file" not in found[0]
    assert changes_since(drive, token, includeRemoved=False)[0] == []
    refused(drive.files().get(fileId=file), 404, "notFound")


@test
def the_bin_is_explicit_for_a_folder_and_effective_below_it(drive, folder):
    inner = make(drive, folder, "inner", mimeType=FOLDER)
    file = make(drive, inner)
    token = start_token(drive)
    drive.files().update(fileId=inner, body={"trashed": True}).execute()
    below = drive.files().get(fileId=file, fields="trashed,explicitlyTrashed").execute()
    assert below == {"trashed": True, "explicitlyTrashed": False}, below
    assert [change["fileId"] for change in changes_since(drive, token)[0]] == [inner]


@test
def a_bad_page_token_is_refused_where_google_says_it_is(drive, folder):
    detail = refused(drive.changes().list(pageToken="no-token"), 400, "invalid")
    assert (detail["location"], detail["locationType"], detail["message"]) == ("pageToken", "parameter", "Invalid Value"), detail
    refused(drive.files().list(pageToken="no-token"), 400, "invalid")


@test
def invalid_requests_have_googles_reasons(drive, folder):
    assert refused(drive.files().list(q="fullText contains 'x'"), 400, "invalid")["location"] == "q"
    detail = refused(drive.files().get(fileId=folder, fields="etag"), 400, "invalidParameter")
    assert detail["message"] == "Invalid field selection etag" and detail["location"] == "fields", detail
    assert refused(drive.files().get(fileId="no-such-file"), 404, "notFound")["message"] == "File not found: no-such-file."
    refused(drive.files().list(pageSize=1001), 400, "invalidParameter")
    refused(drive.files().list(orderBy="nothing"), 400, "invalid")
    assert refused(drive.about().get(), 400, "required")["location"] == "fields"


@test
def about_names_the_user(drive, folder):
    about = drive.about().get(fields="user,storageQuota").execute()
    assert about["user"]["me"] is True and "@" in about["user"]["emailAddress"], about
    assert isinstance(about["storageQuota"]["usage"], str)


@test
def a_batch_answers_each_of_its_calls(drive, folder):
    first, second = make(drive, folder, "one"), make(drive, folder, "two")
    answers = {}
    batch = drive.new_batch_http_request(callback=lambda key, answer, error: answers.update({key: (answer, error)}))
    batch.add(drive.files().get(fileId=first), request_id="first")
    batch.add(drive.files().update(fileId=second, body={"name": "renamed"}), request_id="second")
    batch.add(drive.files().get(fileId="missing"), request_id="third")
    batch.execute()
    assert answers["first"][0]["name"] == "one" and answers["second"][0]["name"] == "renamed", answers
    assert answers["third"][1].resp.status == 404
    assert isinstance(batch, BatchHttpRequest)


@test
def watch_and_stop_follow_the_channel_rules(drive, folder):
    token = start_token(drive)
    # Nobody listens on port 9; what is looked at here is the answers.
    channel = {"id": str(uuid.uuid4()), "type": "web_hook", "address": "http://127.0.0.1:9/hook", "token": "secret"}
    made = drive.changes().watch(pageToken=token, body=channel).execute()
    assert made["kind"] == "api#channel" and made["id"] == channel["id"] and made["token"] == "secret", made
    assert isinstance(made["expiration"], str) and made["resourceId"] and made["resourceUri"]
    refused(drive.changes().watch(pageToken=token, body=channel), 400, "channelIdNotUnique")
    drive.channels().stop(body={"id": made["id"], "resourceId": made["resourceId"]}).execute()
    refused(drive.channels().stop(body={"id": made["id"], "resourceId": made["resourceId"]}), 404, "notFound")
    refused(drive.changes().watch(pageToken=token, body=channel), 400, "channelIdNotUnique")
    plain = {**channel, "id": str(uuid.uuid4()), "address": "http://example.com/hook"}
    refused(drive.changes().watch(pageToken=token, body=plain), 400, "push.webhookUrlNotHttps")
    refused(drive.files().watch(fileId="missing", body={**channel, "id": str(uuid.uuid4())}), 404, "notFound")


@test
def permissions_and_drives_can_be_read(drive, folder):
    permissions = drive.permissions().list(fileId=folder, fields="permissions(id,type,role)").execute()["permissions"]
    assert any(permission["role"] == "owner" for permission in permissions), permissions
    one = drive.permissions().get(fileId=folder, permissionId=permissions[0]["id"]).execute()
    assert one["id"] == permissions[0]["id"]
    assert drive.drives().list().execute()["kind"] == "drive#driveList"
    refused(drive.drives().get(driveId="missing"), 404, "notFound")


@test
def permissions_are_given_inherited_and_taken(drive, folder):
    file = make(drive, folder)
    body = {"type": "user", "role": "commenter", "emailAddress": "bob@example.com"}
    made = drive.permissions().create(fileId=folder, body=body, sendNotificationEmail=False, fields="*").execute()
    assert (made["role"], made["emailAddress"]) == ("commenter", "bob@example.com"), made
    inherited = drive.permissions().get(fileId=file, permissionId=made["id"], fields="permissionDetails").execute()
    detail = {"permissionType": "file", "role": "commenter", "inherited": True, "inheritedFrom": folder}
    assert inherited == {"permissionDetails": [detail]}, inherited
    refused(drive.permissions().delete(fileId=file, permissionId=made["id"]), 403, "cannotModifyInheritedPermission")
    changed = drive.permissions().update(fileId=folder, permissionId=made["id"], body={"role": "writer"}, fields="role").execute()
    assert changed == {"role": "writer"}
    drive.permissions().delete(fileId=folder, permissionId=made["id"]).execute()
    refused(drive.permissions().get(fileId=file, permissionId=made["id"]), 404, "notFound")
    refused(drive.permissions().create(fileId=file, body={**body, "role": "organizer"}), 403, "organizerOnNonTeamDriveNotSupported")


@test
def a_shared_drive_is_made_joined_renamed_and_deleted(drive, folder):
    request = str(uuid.uuid4())
    team = drive.drives().create(requestId=request, body={"name": "Team"}).execute()["id"]
    refused(drive.drives().create(requestId=request, body={"name": "Team"}), 409, "conflict")
    token = drive.changes().getStartPageToken(driveId=team, supportsAllDrives=True).execute()["startPageToken"]
    body = {"type": "user", "role": "writer", "emailAddress": "bob@example.com"}
    member = drive.permissions().create(fileId=team, body=body, supportsAllDrives=True).execute()["id"]
    listed = drive.permissions().list(fileId=team, supportsAllDrives=True, fields="permissions(id)").execute()["permissions"]
    assert member in [one["id"] for one in listed] and len(listed) == 2, listed
    file = drive.files().create(body={"name": "a", "parents": [team]}, supportsAllDrives=True, fields="id,driveId,hasAugmentedPermissions").execute()
    assert (file["driveId"], file["hasAugmentedPermissions"]) == (team, False), file
    drive.drives().update(driveId=team, body={"name": "Other"}).execute()
    found, _ = changes_since(drive, token, driveId=team, supportsAllDrives=True, includeItemsFromAllDrives=True)
    assert [change["changeType"] for change in found] == ["file", "drive"] and found[1]["drive"]["name"] == "Other", found
    refused(drive.drives().delete(driveId=team), 403, "cannotDeleteResourceWithChildren")
    drive.files().delete(fileId=file["id"], supportsAllDrives=True).execute()
    drive.drives().delete(driveId=team).execute()
    refused(drive.drives().get(driveId=team), 404, "notFound")


@test
def a_shortcut_points_at_its_target_and_has_no_content(drive, folder):
    target = make(drive, folder, "target")
    body = {"name": "s", "parents": [folder], "mimeType": "application/vnd.google-apps.shortcut", "shortcutDetails": {"targetId": target}}
    made = drive.files().create(body=body, fields="id,shortcutDetails").execute()
    assert made["shortcutDetails"]["targetId"] == target, made
    refused(drive.files().get_media(fileId=made["id"]), 403, "fileNotDownloadable")


@test
def a_copy_is_another_file_with_the_same_content(drive, folder):
    media = MediaIoBaseUpload(io.BytesIO(b"copied"), mimetype="text/plain", resumable=False)
    file = drive.files().create(body={"name": "c", "parents": [folder]}, media_body=media).execute()["id"]
    copy = drive.files().copy(fileId=file, body={"name": "d"}, fields="id,name,parents").execute()
    assert copy["id"] != file and copy["name"] == "d" and copy["parents"] == [folder], copy
    assert drive.files().get_media(fileId=copy["id"]).execute() == b"copied"


@test
def what_is_left_out_says_so(drive, folder):
    refused(drive.comments().list(fileId=folder, fields="*"), 501, "notImplemented")


@test
def a_resumable_upload_goes_in_chunks(drive, folder):
    content = bytes(range(256)) * 4096
    media = MediaIoBaseUpload(io.BytesIO(content), mimetype="application/x-test", chunksize=256 * 1024, resumable=True)
    request = drive.files().create(body={"name": "large.bin", "parents": [folder]}, media_body=media, fields="id,size,mimeType,parents")
    progress, made = [], None
    while made is None:
        status, made = request.next_chunk()
        progress += [status.resumable_progress] if status else []
    assert progress == [262144, 524288, 786432], progress
    assert (made["size"], made["mimeType"], made["parents"]) == (str(len(content)), "application/x-test", [folder]), made
    assert drive.files().get_media(fileId=made["id"]).execute() == content
    shorter = MediaIoBaseUpload(io.BytesIO(b"short"), mimetype="text/plain", resumable=True)
    after = drive.files().update(fileId=made["id"], media_body=shorter, fields="size").execute()
    assert after == {"size": "5"}, after
    empty = MediaIoBaseUpload(io.BytesIO(b""), mimetype="text/plain", resumable=True)
    assert drive.files().update(fileId=made["id"], media_body=empty, fields="size").execute() == {"size": "0"}


@test
def revisions_are_listed_kept_read_and_deleted(drive, folder):
    def media(content):
        return MediaIoBaseUpload(io.BytesIO(content), mimetype="text/plain", resumable=False)

    file = drive.files().create(body={"name": "r", "parents": [folder]}, media_body=media(b"first")).execute()["id"]
    drive.files().update(fileId=file, media_body=media(b"second")).execute()
    listed = drive.revisions().list(fileId=file, fields="revisions(id,size,keepForever)").execute()["revisions"]
    assert [(one["size"], one["keepForever"]) for one in listed] == [("5", False), ("6", False)], listed
    old = listed[0]["id"]
    refused(drive.revisions().get_media(fileId=file, revisionId=old), 403, "fileNotDownloadable")
    kept = drive.revisions().update(fileId=file, revisionId=old, body={"keepForever": True}, fields="keepForever").execute()
    assert kept == {"keepForever": True}
    assert drive.revisions().get_media(fileId=file, revisionId=old).execute() == b"first"
    drive.revisions().delete(fileId=file, revisionId=old).execute()
    refused(drive.revisions().get(fileId=file, revisionId=old), 404, "notFound")


@test
def a_document_is_exported_or_downloaded_as_an_operation(drive, folder):
    file = make(drive, folder, "minutes", mimeType="application/vnd.google-apps.document")
    assert len(drive.files().export(fileId=file, mimeType="text/plain").execute()) > 0
    assert len(drive.files().export_media(fileId=file, mimeType="application/pdf").execute()) > 0
    refused(drive.files().export(fileId=file, mimeType="image/png"), 400, "badRequest")
    refused(drive.files().export(fileId=folder, mimeType="text/plain"), 403, "fileNotExportable")
    operation = drive.files().download(fileId=file, mimeType="text/plain").execute()
    while not operation.get("done"):
        operation = drive.operations().get(name=operation["name"]).execute()
    assert operation["response"]["downloadUri"].startswith("http"), operation


def v2_conditional_writes(root, credentials, drive, folder):
    """The etag of v2: a write with a stale one is refused and changes nothing."""
    old = build_from_document(document("v2", root), credentials=credentials)
    file = make(drive, folder, properties={"p": "1"})
    etag = old.files().get(fileId=file).execute()["etag"]
    request = old.files().patch(fileId=file, body={"title": "by v2", "properties": [{"key": "q", "value": "2", "visibility": "PUBLIC"}]})
    request.headers["If-Match"] = etag
    after = request.execute()
    assert after["title"] == "by v2" and after["etag"] != etag, after
    assert drive.files().get(fileId=file, fields="properties").execute() == {"properties": {"p": "1", "q": "2"}}
    stale = old.files().patch(fileId=file, body={"title": "too late"})
    stale.headers["If-Match"] = etag
    refused(stale, 412, "conditionNotMet")
    assert old.files().get(fileId=file, fields="title").execute() == {"title": "by v2"}


def main():
    root = sys.argv[1].rstrip("/") + "/"
    user = sys.argv[2] if len(sys.argv) > 2 else "owner"
    if len(sys.argv) > 3:
        define_label(root, sys.argv[3])
    else:
        TESTS.remove(labels_are_modified_listed_and_included)
    credentials = google.oauth2.credentials.Credentials(f"user:{user}")
    drive = build_from_document(document("v3", root), credentials=credentials)
    passed, failed = 0, 0
    for function in [*TESTS, v2_conditional_writes]:
        folder = drive.files().create(body={"name": function.__name__, "mimeType": FOLDER}).execute()["id"]
        try:
            if function is v2_conditional_writes:
                function(root, credentials, drive, folder)
            else:
                function(drive, folder)
            passed += 1
        except Exception as error:  # Each failure is reported; the others still run.
            failed += 1
            print(f"FAILED {function.__name__}: {type(error).__name__}: {error}")
        finally:
            drive.files().delete(fileId=folder).execute()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
