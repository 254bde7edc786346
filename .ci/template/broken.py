"""How to break each rule: a check that never fails proves nothing.

Each entry is (rule, what is done, a function that does it to the parsed sources). Files outside the
templates are broken in a copy of the checkout, which the function gets as its second argument."""

import shutil
from pathlib import Path

from . import access, events, metrics, operation, recovery, rollout, rules, trail

ROOT = "template.yaml"
QUEUES = "infra/queues.yaml"
DATA = "infra/data.yaml"
IDENTITY = "infra/identity.yaml"
ALARMS = "infra/alarms.yaml"
CONTENT = "infra/content.yaml"
AUDIT = "infra/audit.yaml"
BACKUP = "infra/backup.yaml"
LIVE = "infra/live.yaml"
ROLLOUT = "infra/rollout.yaml"
DASHBOARD = "infra/dashboard.yaml"


def resource(sources: dict, name: str, file: str = ROOT) -> dict:
    return sources[file]["Resources"][name]


def put(file: str, name: str, *path_and_value):
    """Sets a member of a resource's properties."""
    *path, last, value = path_and_value

    def change(sources: dict, _: Path) -> None:
        target = resource(sources, name, file).setdefault("Properties", {})
        for key in path:
            target = target[key]
        target[last] = value

    return change


def drop(file: str, name: str, *path):
    """Removes a member of a resource's properties."""

    def change(sources: dict, _: Path) -> None:
        target = resource(sources, name, file)["Properties"]
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


def remove(file: str, name: str):
    """Removes a resource."""
    return lambda sources, _: sources[file]["Resources"].pop(name)


def top(file: str, name: str, key: str, value):
    """Sets an attribute of a resource, beside its properties."""
    return lambda sources, _: resource(sources, name, file).__setitem__(key, value)


def parameter(name: str, key: str, value):
    return lambda sources, _: sources[ROOT]["Parameters"][name].__setitem__(key, value)


def shared(key: str, value):
    return lambda sources, _: sources[ROOT]["Globals"]["Function"].__setitem__(key, value)


def text(path: str, old: str, new: str):
    """Replaces text in a file of the copy."""

    def change(_: dict, root: Path) -> None:
        before = (root / path).read_text()
        assert old in before, f"{path} has no {old}"
        (root / path).write_text(before.replace(old, new))

    return change


def granted(sources: dict, role: str, sid: str) -> dict:
    """The statement of a role's policy that bears the id."""
    statements = resource(sources, role)["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    return next(s for s in statements if s["Sid"] == sid)


def statement(role: str, sid: str, key: str, value):
    def change(sources: dict, _: Path) -> None:
        granted(sources, role, sid)[key] = value

    return change


def more(role: str, sid: str, key: str, value):
    """Adds to the actions or resources of a statement."""

    def change(sources: dict, _: Path) -> None:
        granted(sources, role, sid)[key].append(value)

    return change


def event(function: str, name: str, key: str, value):
    def change(sources: dict, _: Path) -> None:
        resource(sources, function)["Properties"]["Events"][name]["Properties"][key] = value

    return change


def without_event_member(function: str, name: str, key: str):
    def change(sources: dict, _: Path) -> None:
        del resource(sources, function)["Properties"]["Events"][name]["Properties"][key]

    return change


def let_sam_make_the_role(sources: dict, root: Path) -> None:
    remove(ROOT, "SweepRole")(sources, root)
    drop(ROOT, "Sweep", "Role")(sources, root)


def second_consumer(sources: dict, _: Path) -> None:
    events = resource(sources, "PushIntents")["Properties"]["Events"]
    events["Stolen"] = resource(sources, "FetchChanges")["Properties"]["Events"]["LogWakes"]


def open_new_route(sources: dict, _: Path) -> None:
    events = resource(sources, "Api")["Properties"]["Events"]
    properties = dict(events["Health"]["Properties"], Path="/debug")
    events["Debug"] = {"Type": "HttpApi", "Properties": properties}


def without_authorizer(sources: dict, root: Path) -> None:
    drop(ROOT, "HttpApi", "Auth")(sources, root)
    for function in ("Api", "ReceiveNotification", "Console"):
        for route in resource(sources, function)["Properties"]["Events"].values():
            route["Properties"].pop("Auth", None)


def any_audience(sources: dict, _: Path) -> None:
    authorizers = resource(sources, "HttpApi")["Properties"]["Auth"]["Authorizers"]
    authorizers["Jwt"]["JwtConfiguration"]["audience"] = []


def without_condition(sources: dict, _: Path) -> None:
    del resource(sources, "Identity")["Condition"]


def drop_index(sources: dict, _: Path) -> None:
    resource(sources, "Table", DATA)["Properties"]["GlobalSecondaryIndexes"].pop()


def project_all(sources: dict, _: Path) -> None:
    index = resource(sources, "Table", DATA)["Properties"]["GlobalSecondaryIndexes"][0]
    index["Projection"] = {"ProjectionType": "ALL"}


def forget_the_drained(sources: dict, _: Path) -> None:
    resource(sources, "LogWakesDeadLetters", ALARMS)["Properties"]["Metrics"].pop()


BREAKS = [
    (rules.folder_is_package_is_binary, "another Binary",
     top(ROOT, "Sweep", "Metadata",
         {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "api"}})),
    (rules.folder_is_package_is_binary, "another package name",
     text("functions/sweep/Cargo.toml", 'name = "sweep"', 'name = "sweeper"')),
    (rules.code_is_the_workspace_root, "CodeUri of a member", put(ROOT, "Sweep", "CodeUri", "functions/sweep")),
    (rules.code_is_the_workspace_root, "another build method", top(ROOT, "Sweep", "Metadata", {"BuildMethod": "makefile"})),
    (rules.code_is_the_workspace_root, "a fixed architecture", shared("Architectures", ["x86_64"])),
    (rules.code_is_the_workspace_root, "x86_64 by default", parameter("Architecture", "Default", "x86_64")),
    (rules.builds_are_neither_cached_nor_parallel, "a cached build", text("samconfig.toml", "cached = false", "cached = true")),
    (rules.builds_are_neither_cached_nor_parallel, "a parallel build", text("samconfig.toml", "parallel = false", "parallel = true")),
    (rules.sizes_are_the_designs, "a longer timeout", put(ROOT, "ApplySnapshots", "Timeout", 60)),
    (rules.sizes_are_the_designs, "less memory", put(ROOT, "Api", "MemorySize", 128)),
    (rules.functions_are_traced, "tracing off", put(ROOT, "Sweep", "Tracing", "PassThrough")),
    (rules.logs_are_kept_for_a_while, "no retention", drop(ROOT, "SweepLogs", "RetentionInDays")),
    (rules.logs_are_kept_for_a_while, "Lambda's own log group", drop(ROOT, "Sweep", "LoggingConfig")),
    (rules.logs_are_kept_for_a_while, "no access log", drop(ROOT, "HttpApi", "AccessLogSettings")),
    (rules.logs_are_kept_for_a_while, "tokens in the access log",
     put(ROOT, "HttpApi", "AccessLogSettings", "Format", "$context.authorizer.claims.email")),
    (rules.logs_are_kept_for_a_while, "ids of files in the access log",
     put(ROOT, "HttpApi", "AccessLogSettings", "Format", "$context.path")),
    (rules.environments_are_exact, "a variable more",
     put(ROOT, "Sweep", "Environment", "Variables", "DRIVE_KEY", "abc")),
    (rules.environments_are_exact, "a variable less", drop(ROOT, "Api", "Environment")),
    (rules.environments_are_exact, "a crossed queue",
     put(ROOT, "Api", "Environment", "Variables", "PUSH_WAKES_QUEUE_URL", {"Fn::GetAtt": ["Queues", "Outputs.LogWakesUrl"]})),
    (rules.environments_are_exact, "an endpoint that is not AWS",
     put(ROOT, "Sweep", "Environment", "Variables", "AWS_ENDPOINT_URL_SQS", "http://x")),
    (rules.sweep_runs_every_minute, "an hourly sweep", event("Sweep", "EveryMinute", "ScheduleExpression", "rate(1 hour)")),
    (rules.sweep_runs_every_minute, "no dead-letter queue", without_event_member("Sweep", "EveryMinute", "DeadLetterConfig")),
    (rules.sweep_runs_every_minute, "a disabled schedule", event("Sweep", "EveryMinute", "State", "DISABLED")),
    (rules.roles_belong_to_one_function, "a shared role", put(ROOT, "Sweep", "Role", {"Fn::GetAtt": ["ApiRole", "Arn"]})),
    (rules.roles_belong_to_one_function, "a role that SAM makes", let_sam_make_the_role),
    (rules.roles_belong_to_one_function, "a policy of AWS",
     put(ROOT, "SweepRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"])),
    (rules.roles_belong_to_one_function, "another function's log",
     statement("SweepRole", "Log", "Resource", {"Fn::GetAtt": ["ApiLogs", "Arn"]})),
    (access.nothing_is_granted_by_a_wildcard, "every action on the table", statement("SweepRole", "UseTable", "Action", "dynamodb:*")),
    (access.nothing_is_granted_by_a_wildcard, "every resource", statement("SweepRole", "UseTable", "Resource", "*")),
    (access.nothing_is_granted_by_a_wildcard, "every index",
     statement("ApiRole", "List", "Resource", {"Fn::Sub": "${Data.Outputs.TableArn}/index/*"})),
    (access.nothing_is_granted_by_a_wildcard, "NotAction", statement("SweepRole", "UseTable", "NotAction", ["iam:PassRole"])),
    (access.nothing_is_granted_by_a_wildcard, "an exception that nothing needs", put(ROOT, "CredentialsPolicy", "PolicyDocument", "Statement", 0, "Resource", "arn:x")),
    (access.nothing_is_granted_by_a_wildcard, "a prefix that stacks share", parameter("SecretsPrefix", "Default", "drivesync/")),
    (access.functions_may_do_what_they_do, "credentials for who calls no Drive",
     put(ROOT, "ReceiveNotificationRole", "ManagedPolicyArns", [{"Ref": "CommonPolicy"}, {"Ref": "CredentialsPolicy"}])),
    (access.functions_may_do_what_they_do, "no credentials", put(ROOT, "SweepRole", "ManagedPolicyArns", [{"Ref": "CommonPolicy"}])),
    (access.functions_may_do_what_they_do, "the key by itself",
     drop(ROOT, "CommonPolicy", "PolicyDocument", "Statement", 1, "Fn::If", 1, "Condition")),
    (access.nothing_is_granted_by_a_wildcard, "an open secrets prefix", parameter("SecretsPrefix", "AllowedPattern", ".*")),
    (access.functions_may_do_what_they_do, "an action that is not called", more("SweepRole", "DrainDeadLetters", "Action", "sqs:GetQueueAttributes")),
    (access.functions_may_do_what_they_do, "an action that is called and not allowed", statement("SweepRole", "UseTable", "Action", ["dynamodb:GetItem"])),
    (access.functions_may_do_what_they_do, "an index that is not read",
     more("RunOperationsRole", "ListFilesAndConflicts", "Resource", {"Fn::Sub": "${Data.Outputs.TableArn}/index/children"})),
    (access.functions_may_do_what_they_do, "an index that is read and not allowed",
     statement("RunOperationsRole", "ListFilesAndConflicts", "Resource", [{"Fn::Sub": "${Data.Outputs.TableArn}/index/files"}])),
    (access.functions_may_do_what_they_do, "another queue", statement("PushIntentsRole", "WakeItselfAndContent", "Resource", {"Fn::GetAtt": ["Queues", "Outputs.LogWakesArn"]})),
    (access.requests_make_no_clients, "a request makes a client", statement("ApiRole", "LeaveClients", "Effect", "Allow")),
    (access.functions_may_do_what_they_do, "every item for whom strangers reach", statement("ReceiveNotificationRole", "ReadAndRememberChannels", "Condition", {})),
    (access.functions_may_do_what_they_do, "an unseen action without a reason", text("infra/iam.json", "Lambda writes the function's log with its role", "")),
    (access.functions_may_do_what_they_do, "a function that is not listed", text("infra/iam.json", '"sweep": {', '"sweeper": {')),
    (rules.source_queues_are_fast_fifo, "a standard throughput", drop(QUEUES, "Snapshots", "FifoThroughputLimit")),
    (rules.source_queues_are_fast_fifo, "deduplication over the queue", put(QUEUES, "LogWakes", "DeduplicationScope", "queue")),
    (rules.source_queues_are_fast_fifo, "a standard queue", drop(QUEUES, "PushWakes", "FifoQueue")),
    (rules.source_queues_are_fast_fifo, "no encryption", put(QUEUES, "PushWakesDead", "SqsManagedSseEnabled", False)),
    (rules.source_queues_are_fast_fifo, "no delay", drop(QUEUES, "LogWakes", "DelaySeconds")),
    (rules.source_queues_have_dead_letters, "no redrive", drop(QUEUES, "Snapshots", "RedrivePolicy")),
    (rules.source_queues_have_dead_letters, "three receives", put(QUEUES, "Snapshots", "RedrivePolicy", "maxReceiveCount", 3)),
    (rules.source_queues_have_dead_letters, "a shared dead-letter queue",
     put(QUEUES, "Snapshots", "RedrivePolicy", "deadLetterTargetArn", {"Fn::GetAtt": ["LogWakesDead", "Arn"]})),
    (rules.source_queues_have_dead_letters, "a day's retention", put(QUEUES, "PushWakesDead", "MessageRetentionPeriod", 86400)),
    (rules.sweep_drains_every_dead_letter, "one forgotten",
     put(ROOT, "Sweep", "Environment", "Variables", "DEAD_LETTER_QUEUE_URLS", {"Fn::GetAtt": ["Queues", "Outputs.LogWakesDeadUrl"]})),
    (rules.visibility_covers_the_retries, "five times the timeout", put(QUEUES, "LogWakes", "VisibilityTimeout", 300)),
    (rules.visibility_covers_the_retries, "SQS's own default", drop(QUEUES, "Snapshots", "VisibilityTimeout")),
    (rules.visibility_covers_the_retries, "as long as the function, and no longer", put(QUEUES, "Content", "VisibilityTimeout", 900)),
    (rules.the_stream_is_read_whole, "from its end", event("PublishEvents", "Table", "StartingPosition", "LATEST")),
    (rules.the_stream_is_read_whole, "whole batches fail", without_event_member("PublishEvents", "Table", "FunctionResponseTypes")),
    (rules.the_stream_is_read_whole, "three tries", event("PublishEvents", "Table", "MaximumRetryAttempts", 3)),
    (rules.the_stream_is_read_whole, "as old as it gets", without_event_member("PublishEvents", "Table", "MaximumRecordAgeInSeconds")),
    (rules.the_stream_is_read_whole, "dropped unseen", without_event_member("PublishEvents", "Table", "DestinationConfig")),
    (rules.the_stream_is_read_whole, "another filter",
     event("PublishEvents", "Table", "FilterCriteria", {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]})),
    (rules.the_bucket_is_safe, "deleted with the stack", top(CONTENT, "Bucket", "DeletionPolicy", "Delete")),
    (rules.the_bucket_is_safe, "no versions", drop(CONTENT, "Bucket", "VersioningConfiguration")),
    (rules.the_bucket_is_safe, "no encryption", drop(CONTENT, "Bucket", "BucketEncryption")),
    (rules.the_bucket_is_safe, "public policies", put(CONTENT, "Bucket", "PublicAccessBlockConfiguration", "BlockPublicPolicy", False)),
    (rules.the_bucket_is_safe, "uploads that stay", drop(CONTENT, "Bucket", "LifecycleConfiguration", "Rules", 0)),
    (rules.the_bucket_is_safe, "content that expires", put(CONTENT, "Bucket", "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", 90)),
    (rules.the_bucket_is_safe, "without TLS", remove(CONTENT, "BucketPolicy")),
    (rules.the_bucket_is_safe, "an old TLS", drop(CONTENT, "BucketPolicy", "PolicyDocument", "Statement", 1)),
    (rules.a_key_of_the_operators_encrypts_everything, "a log under another key", drop(ROOT, "SweepLogs", "KmsKeyId")),
    (rules.a_key_of_the_operators_encrypts_everything, "a queue under another key", drop(QUEUES, "Snapshots", "KmsMasterKeyId")),
    (rules.a_key_of_the_operators_encrypts_everything, "a table under another key", drop(DATA, "Table", "SSESpecification", "KMSMasterKeyId")),
    (rules.queues_are_reached_over_tls, "no policy", remove(QUEUES, "OnlyOverTls")),
    (rules.queues_are_reached_over_tls, "a forgotten queue", drop(QUEUES, "OnlyOverTls", "Queues", 0)),
    (rules.no_service_acts_for_strangers, "a copy for anybody",
     drop(CONTENT, "ReplicationRole", "AssumeRolePolicyDocument", "Statement", 0, "Condition")),
    (rules.google_is_reached_over_tls, "plain HTTP", parameter("DriveUrl", "AllowedPattern", "https?://.+")),
    (rules.the_distribution_serves_signed_urls, "what a browser opens", drop(CONTENT, "Distribution", "DistributionConfig", "DefaultCacheBehavior", "ResponseHeadersPolicyId")),
    (rules.the_distribution_serves_signed_urls, "what a browser runs",
     put(CONTENT, "AsAttachments", "ResponseHeadersPolicyConfig", "SecurityHeadersConfig", "ContentSecurityPolicy", "ContentSecurityPolicy", "default-src *")),
    (rules.the_distribution_serves_signed_urls, "another's name", drop(CONTENT, "Distribution", "DistributionConfig", "DefaultCacheBehavior", "CachePolicyId")),
    (rules.the_distribution_serves_signed_urls, "longer than a day", put(CONTENT, "CachePolicy", "CachePolicyConfig", "MaxTTL", 31536000)),
    (rules.the_distribution_serves_signed_urls, "an old TLS", drop(CONTENT, "Distribution", "DistributionConfig", "ViewerCertificate")),
    (rules.the_distribution_serves_signed_urls, "without a certificate", lambda sources, _: sources[ROOT]["Rules"].pop("ADistributionNeedsACertificate")),
    (trail.exported_acts_are_locked, "deleted with the stack", top(AUDIT, "Bucket", "DeletionPolicy", "Delete")),
    (trail.exported_acts_are_locked, "no lock", drop(AUDIT, "Bucket", "ObjectLockConfiguration")),
    (trail.exported_acts_are_locked, "a bucket that can't lock", drop(AUDIT, "Bucket", "ObjectLockEnabled")),
    (trail.exported_acts_are_locked, "a reader", put(ROOT, "ApiRole", "Policies", 0, "PolicyDocument", "Statement", 0, "Resource",
                                                     {"Fn::GetAtt": ["Trail", "Outputs.BucketArn"]})),
    (trail.no_function_changes_an_act, "acts of one tenant", put(ROOT, "CommonPolicy", "PolicyDocument", "Statement", 2, "Condition",
                                                                {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["T#acme#AUDIT#*"]}})),
    (trail.no_function_changes_an_act, "acts that are updated",
     put(ROOT, "CommonPolicy", "PolicyDocument", "Statement", 2, "Action", ["dynamodb:DeleteItem"])),
    (trail.no_function_changes_an_act, "a role without it", put(ROOT, "ApiRole", "ManagedPolicyArns", [{"Ref": "CredentialsPolicy"}])),
    (rules.the_distribution_serves_signed_urls, "anybody",
     drop(CONTENT, "Distribution", "DistributionConfig", "DefaultCacheBehavior", "TrustedKeyGroups")),
    (rules.the_distribution_serves_signed_urls, "a bucket read as anybody would",
     drop(CONTENT, "Distribution", "DistributionConfig", "Origins", 0, "OriginAccessControlId")),
    (rules.the_distribution_serves_signed_urls, "without a key group", lambda sources, _: sources[ROOT]["Rules"].pop("ADistributionNeedsAKeyGroup")),
    (rules.batches_fail_in_part, "whole batches fail", without_event_member("FetchChanges", "LogWakes", "FunctionResponseTypes")),
    (rules.batches_fail_in_part, "a batch of 100", event("FetchChanges", "LogWakes", "BatchSize", 100)),
    (rules.batches_fail_in_part, "no maximum concurrency", without_event_member("FetchChanges", "LogWakes", "ScalingConfig")),
    (rules.batches_fail_in_part, "bulk as wide as live", parameter("ApplyBulkConcurrency", "Default", 50)),
    (rules.batches_fail_in_part, "a second consumer", second_consumer),
    (rules.only_public_routes_are_open, "an open API", event("Api", "V1", "Auth", {"Authorizer": "NONE"})),
    (rules.only_public_routes_are_open, "a fourth open route", open_new_route),
    (rules.only_public_routes_are_open, "no authorizer at all", without_authorizer),
    (rules.only_public_routes_are_open, "a token of any audience", any_audience),
    (rules.routes_are_throttled, "no route settings", drop(ROOT, "HttpApi", "RouteSettings")),
    (rules.routes_are_throttled, "another route's settings",
     put(ROOT, "HttpApi", "RouteSettings", {"GET /health": {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 1}})),
    (rules.routes_are_throttled, "no default", drop(ROOT, "HttpApi", "DefaultRouteSettings")),
    (rules.routes_are_throttled, "messages without a limit", drop(LIVE, "Stage", "DefaultRouteSettings")),
    (rules.the_websocket_has_its_routes, "a route left out", remove(LIVE, "Unsubscribe")),
    (rules.the_websocket_has_its_routes, "a ping that invokes", put(LIVE, "Ping", "Target", {"Fn::Sub": "integrations/${Function}"})),
    (rules.the_websocket_has_its_routes, "a ping without an answer", drop(LIVE, "Ping", "RouteResponseSelectionExpression")),
    (rules.the_websocket_has_its_routes, "another selection", put(LIVE, "Api", "RouteSelectionExpression", "$request.body.kind")),
    (rules.the_websocket_has_its_routes, "another function", put(ROOT, "Live", "FunctionName", "another")),
    (rules.the_websocket_has_its_routes, "anybody may invoke", put(ROOT, "LivePermission", "SourceArn", "*")),
    (rules.users_cannot_choose_their_tenant, "a second factor never asked for", put(IDENTITY, "UserPool", "MfaConfiguration", "OPTIONAL")),
    (rules.users_cannot_choose_their_tenant, "sign-up", put(IDENTITY, "UserPool", "AdminCreateUserConfig", "AllowAdminCreateUserOnly", False)),
    (rules.users_cannot_choose_their_tenant, "a writable tenant", put(IDENTITY, "Client", "WriteAttributes", ["name", "custom:tenant"])),
    (rules.users_cannot_choose_their_tenant, "a writable role", put(IDENTITY, "Client", "WriteAttributes", ["name", "custom:role"])),
    (rules.users_cannot_choose_their_tenant, "any role claim", lambda sources, _: sources[ROOT]["Rules"]["OurOwnPoolKnowsOneTenantClaim"]["Assertions"].pop(1)),
    (rules.users_cannot_choose_their_tenant, "write attributes left out", drop(IDENTITY, "Client", "WriteAttributes")),
    (rules.users_cannot_choose_their_tenant, "a pool beside an issuer", without_condition),
    (rules.users_cannot_choose_their_tenant, "any claim", lambda sources, _: sources[ROOT]["Rules"].pop("OurOwnPoolKnowsOneTenantClaim")),
    (rules.the_table_is_safe, "deleted with the stack", top(DATA, "Table", "DeletionPolicy", "Delete")),
    (rules.the_table_is_safe, "deleted when replaced", top(DATA, "Table", "UpdateReplacePolicy", "Delete")),
    (rules.the_table_is_safe, "no stream", drop(DATA, "Table", "StreamSpecification")),
    (rules.the_table_is_safe, "another TTL attribute", put(DATA, "Table", "TimeToLiveSpecification", "AttributeName", "ttl")),
    (rules.the_table_is_safe, "no recovery", drop(DATA, "Table", "PointInTimeRecoverySpecification")),
    (rules.the_table_is_safe, "no encryption", put(DATA, "Table", "SSESpecification", "SSEEnabled", False)),
    (rules.the_table_is_safe, "provisioned", put(DATA, "Table", "BillingMode", "PROVISIONED")),
    (rules.the_table_has_its_indexes, "three indexes", drop_index),
    (rules.the_table_has_its_indexes, "a full projection", project_all),
    (rules.failures_raise_an_alarm, "a dead-letter queue unwatched", remove(ALARMS, "PushWakesDeadLetters")),
    (rules.failures_raise_an_alarm, "what sweep drained unwatched", forget_the_drained),
    (rules.failures_raise_an_alarm, "an oldest message unwatched", remove(ALARMS, "SnapshotsBulkOldest")),
    (rules.failures_raise_an_alarm, "an alarm that tells nobody", put(ALARMS, "ApiErrors", "AlarmActions", [])),
    (rules.failures_raise_an_alarm, "a stream unwatched", remove(ALARMS, "StreamOldest")),
    (rules.failures_raise_an_alarm, "the API unwatched", remove(ALARMS, "ApiServerErrors")),
    (metrics.our_metrics_are_those_of_the_table, "a namespace of its own", put(ALARMS, "LateChanges", "Namespace", "drivesync/x")),
    (metrics.our_metrics_are_those_of_the_table, "a metric of another name", put(ALARMS, "WatchRefused", "MetricName", "WatchFailures")),
    (metrics.our_metrics_are_those_of_the_table, "a metric that is not measured", text("shared/runtime/src/metrics.rs", '"log_lag", Kind', '"late", Kind')),
    (metrics.our_metrics_are_those_of_the_table, "a metric that is not shown", text("shared/runtime/src/metrics.rs", "[\n    metric(", '[\n    metric("new", Kind::Counter, &["new"], "", ""),\n    metric(')),
    (metrics.objectives_are_shown_and_watched, "another order", text("infra/slos.json", '"Poll"', '"Polls"')),
    (metrics.objectives_are_shown_and_watched, "a metric that is not shown", text("infra/slos.json", '"owed_due"', '"owed_age"')),
    (metrics.objectives_are_shown_and_watched, "a composite that tells nobody", put(ALARMS, "CustomersAreLate", "AlarmActions", [])),
    (metrics.objectives_are_shown_and_watched, "no alarm", remove(ALARMS, "Drifted")),
    (metrics.freshness_is_watched_by_burn_rates, "too patient", put(ALARMS, "FreshnessFast", "DatapointsToAlarm", 12)),
    (metrics.freshness_is_watched_by_burn_rates, "another percentile", put(ALARMS, "FreshnessSlow", "ExtendedStatistic", "p50")),
    (metrics.functions_report_what_they_measure, "a silent function", text("functions/live/src/main.rs", "use runtime::invocation::run;", "use lambda_runtime::run;")),
    (metrics.functions_report_what_they_measure, "another log group", put(ROOT, "SweepLogs", "LogGroupName", "/aws/lambda/sweep")),
    (metrics.what_only_a_person_can_judge_raises_an_alarm, "no alarm", remove(ALARMS, "Parked")),
    (metrics.what_only_a_person_can_judge_raises_an_alarm, "nobody hears that something waits", remove(ALARMS, "AwaitingConfirmation")),
    (metrics.what_only_a_person_can_judge_raises_an_alarm, "nobody hears of a suspension", put(ALARMS, "ConnectionSuspended", "AlarmActions", [])),
    (metrics.what_only_a_person_can_judge_raises_an_alarm, "a word not counted", text("shared/runtime/src/metrics.rs", '"sweep_failed", ', "")),
    (operation.the_length_of_a_stacks_name_is_stated, "a longer name", put(QUEUES, "Content", "QueueName", {"Fn::Sub": "${Prefix}-content-that-somebody-waits-for.fifo"})),
    (operation.sam_knows_one_architecture, "another one for deploying",
     text("samconfig.toml", "[default.deploy.parameters]", '[default.deploy.parameters]\nparameter_overrides = "Architecture=x86_64"')),
    (operation.a_container_reaches_this_machine, "a table in the container", text("events/env.json", "http://host.docker.internal:3002", "http://127.0.0.1:3002")),
    (operation.a_container_reaches_this_machine, "the host's network",
     text("samconfig.toml", "[default.local_invoke.parameters]", '[default.local_invoke.parameters]\ndocker_network = "host"')),
    (operation.saved_queries_look_everywhere, "a log left out", drop(DASHBOARD, "OneCause", "LogGroupNames", 0)),
    (operation.a_first_deployment_that_fails_leaves_little, "a bucket that is left", top(CONTENT, "Bucket", "DeletionPolicy", "Retain")),
    (operation.a_first_deployment_that_fails_leaves_little, "a table that can't be deleted", top(DATA, "Table", "DeletionPolicy", "RetainExceptOnCreate")),
    (recovery.backups_are_kept_as_stated, "weeks for months", put(BACKUP, "Plan", "BackupPlan", "BackupPlanRule", 2, "Lifecycle", "DeleteAfterDays", 84)),
    (recovery.backups_are_kept_as_stated, "no yearly backup", drop(BACKUP, "Plan", "BackupPlan", "BackupPlanRule", 3)),
    (recovery.backups_are_kept_as_stated, "a copy that stays here",
     put(BACKUP, "Plan", "BackupPlan", "BackupPlanRule", 0, "CopyActions", {"Ref": "AWS::NoValue"})),
    (recovery.backups_are_kept_as_stated, "another resource", put(BACKUP, "Selection", "BackupSelection", "Resources", ["*"])),
    (recovery.backups_are_kept_as_stated, "a vault that goes with the stack", top(BACKUP, "Vault", "DeletionPolicy", "Delete")),
    (recovery.backups_are_kept_as_stated, "a secret of one region", drop(ROOT, "WebhookKey", "ReplicaRegions")),
    (recovery.backups_are_kept_as_stated, "copies of nothing", lambda sources, _: sources[ROOT]["Rules"].pop("ACopyNeedsABackup")),
    (recovery.a_restored_table_takes_the_place_of_the_stacks_own, "a second table", lambda sources, _: resource(sources, "Table", DATA).pop("Condition")),
    (recovery.a_restored_table_takes_the_place_of_the_stacks_own, "a table without its stream",
     lambda sources, _: sources[ROOT]["Rules"].pop("ARestoredTableNeedsItsStream")),
    (recovery.a_restored_table_takes_the_place_of_the_stacks_own, "a right on the old one",
     lambda sources, _: sources[DATA]["Outputs"].update(TableArn={"Value": {"Fn::GetAtt": ["Table", "Arn"]}})),
    (recovery.a_restored_table_takes_the_place_of_the_stacks_own, "the old stream",
     lambda sources, _: sources[DATA]["Outputs"].update(StreamArn={"Value": {"Fn::GetAtt": ["Table", "StreamArn"]}})),
    (recovery.the_commands_of_a_restore_exist, "a command that nobody has", text("infra/restore.md", "restore-table-to-point-in-time", "restore-table-to-the-moment")),
    (recovery.the_commands_of_a_restore_exist, "an option that nobody has", text("infra/restore.md", "--restore-date-time", "--restore-time")),
    (recovery.the_commands_of_a_restore_exist, "another TTL", text("infra/restore.md", "AttributeName=expires", "AttributeName=ttl")),
    (recovery.the_commands_of_a_restore_exist, "an output that is not there", text("infra/restore.md", "OutputKey=='AuditBucket'", "OutputKey=='Audit'")),
    (rules.failures_raise_an_alarm, "an index unwatched", drop(ALARMS, "TableThrottled", "Metrics", 2)),
    (events.every_function_has_events, "an altered body", text("events/push-intents/one-wake.json", "acme", "acne")),
    (events.every_function_has_events, "a stream in disorder",
     text("events/publish-events/corrupt-between-changes.json", "\"SequenceNumber\": \"1111", "\"SequenceNumber\": \"-1111")),
    (events.every_function_has_events, "cut-off JSON", text("events/sweep/by-hand.json", "{}", "{")),
    (events.every_function_has_events, "no events", lambda _, root: shutil.rmtree(root / "events/sweep")),
    (events.sam_local_knows_the_environment, "a variable less", text("events/env.json", "HISTORY_DAYS", "DAYS")),
    (rollout.everything_invokes_the_alias, "sockets that invoke the newest code", put(ROOT, "LivePermission", "FunctionName", {"Ref": "Live"})),
    (rollout.everything_invokes_the_alias, "no alias", lambda sources, _: sources[ROOT]["Globals"]["Function"].pop("AutoPublishAlias")),
    (rollout.none_is_without_codedeploy, "a deployment in any case",
     lambda sources, _: sources[ROOT]["Mappings"]["Rollouts"]["none"].__setitem__("Enabled", "true")),
    (rollout.none_is_without_codedeploy, "alarms in any case", lambda sources, _: resource(sources, "ApiRollout").pop("Condition")),
    (rollout.new_versions_are_checked_and_watched, "no check",
     lambda sources, _: sources[ROOT]["Globals"]["Function"]["DeploymentPreference"].pop("Hooks")),
    (rollout.new_versions_are_checked_and_watched, "a hook that CodeDeploy may not invoke", put(ROOT, "DeployCheck", "FunctionName", "deploy-check")),
    (rollout.new_versions_are_checked_and_watched, "all requests at once", drop(ROOT, "Api", "DeploymentPreference", "Type")),
    (rollout.new_versions_are_checked_and_watched, "no alarm", drop(ROOT, "Live", "DeploymentPreference", "Alarms")),
    (rollout.new_versions_are_checked_and_watched, "alarms over another function", put(ROOT, "LiveRollout", "Parameters", "Function", {"Ref": "Api"})),
    (rollout.versions_lose_their_traffic_at_the_gates, "more errors", put(ROLLOUT, "Errors", "Threshold", 50)),
    (rollout.versions_lose_their_traffic_at_the_gates, "slower answers",
     lambda sources, _: sources[ROOT]["Parameters"]["RolloutApiMilliseconds"].__setitem__("Default", 20000)),
    (rollout.versions_lose_their_traffic_at_the_gates, "alarms over both versions", drop(ROLLOUT, "Slow", "Dimensions", 2)),
    (rollout.one_deployment_at_a_time, "two at once", lambda sources, _: resource(sources, "PushIntents").pop("DependsOn")),
    (rollout.one_deployment_at_a_time, "a sweep before the others", top(ROOT, "Sweep", "DependsOn", "ApiAliaslive")),
    (rollout.one_deployment_at_a_time, "a circle", top(ROOT, "Api", "DependsOn", "SweepAliaslive")),
    # Any rule: the model itself refuses stacks that do not fit together.
    (rules.the_table_is_safe, "an output that is not there", lambda sources, _: sources[DATA]["Outputs"].pop("TableArn")),
    (rules.the_table_is_safe, "a parameter that is not given", lambda sources, _: resource(sources, "Queues")["Properties"].pop("Parameters")),
    (rules.the_table_is_safe, "a parameter that is not declared", put(ROOT, "Data", "Parameters", "Tenant", "x")),
]
