"""The rules that the stacks keep. Each is a function of the `System` that returns what is wrong, as
lines of text; its first docstring line is its name in the output. `broken.py` breaks each."""

import json
import re
import tomllib

from .access import (
    functions_may_do_what_they_do,
    requests_make_no_clients,
    nothing_is_granted_by_a_wildcard,
    roles_belong_to_one_function,
)
from .model import NO_VALUE, System
from .trail import bucket_is_kept_and_closed, exported_acts_are_locked, no_function_changes_an_act

FUNCTIONS = {
    "receive-notification": {"timeout": 5, "memory": 256, "own": set()},
    "fetch-changes": {"timeout": 60, "memory": 512, "own": set()},
    "apply-snapshots": {"timeout": 15, "memory": 256, "own": {"HISTORY_DAYS"}},
    "push-intents": {"timeout": 30, "memory": 512, "own": set()},
    "mirror-content": {"timeout": 900, "memory": 1024, "own": set()},
    "publish-events": {"timeout": 60, "memory": 256, "own": set()},
    "run-operations": {"timeout": 60, "memory": 512, "own": {"WEBHOOK_URL", "REPLICA_BUCKET", "REPLICA_REGION"}},
    "live": {"timeout": 30, "memory": 256, "own": {"LIVE_ENDPOINT", "OWN_HOSTS", "WEBHOOK_KEY_SECRET"}},
    "sweep": {"timeout": 60, "memory": 256, "own": {"AUDIT_BUCKET", "DEAD_LETTER_QUEUE_URLS", "WEBHOOK_URL"}},
    "api": {"timeout": 29, "memory": 512, "own": {"TENANT_CLAIM", "ROLE_CLAIM", "GROUPS_CLAIM", "EVENT_WAITS_MAX", "LIVE_URL", "OWN_HOSTS", "WEBHOOK_KEY_SECRET", "CONTENT_DOMAIN", "CONTENT_KEY_SECRET", "HISTORY_DAYS"}},
    "deploy-check": {"timeout": 60, "memory": 128, "own": set()},
    "console": {"timeout": 5, "memory": 256, "own": {"ISSUER", "CLIENT_ID", "SIGN_IN_ORIGINS", "ROLE_CLAIM", "LIVE_URL", "CONTENT_URL"}},
}
COMMON_ENVIRONMENT = {
    "TABLE_NAME",
    "TABLE_STREAM_ARN",
    "ENDED_RETENTION_DAYS",
    "AUDIT_DAYS",
    "EVENT_DAYS",
    "LOG_WAKES_QUEUE_URL",
    "PUSH_WAKES_QUEUE_URL",
    "OPERATIONS_QUEUE_URL",
    "LIVE_QUEUE_URL",
    "DELIVER_QUEUE_URL",
    "SNAPSHOTS_QUEUE_URL",
    "SNAPSHOTS_BULK_QUEUE_URL",
    "CONTENT_QUEUE_URL",
    "CONTENT_BULK_QUEUE_URL",
    "CONTENT_BUCKET",
    "DRIVE_URL",
    "SECRETS_PREFIX",
    "TENANT_LIMITS",
    "RUST_LOG",
}
STREAM_SORT_KEYS = ["HEAD", "CONTENT", *({"prefix": f"{kind}#"} for kind in ("CONFLICT", "OP", "PARKED", "CONN"))]
STREAM_PATTERN = {
    "eventName": ["INSERT", "MODIFY"],
    "dynamodb": {"Keys": {"SK": {"S": STREAM_SORT_KEYS}}},
}
FEEDS = {
    "Queues/LogWakes": "FetchChanges",
    "Queues/Snapshots": "ApplySnapshots",
    "Queues/SnapshotsBulk": "ApplySnapshots",
    "Queues/PushWakes": "PushIntents",
    "Queues/Operations": "RunOperations",
    "Queues/Live": "Live",
    "Queues/Deliver": "Live",
    "Queues/Content": "MirrorContent",
    "Queues/ContentBulk": "MirrorContent",
}
# The queues that take what has failed, are not FIFO, and are drained by nobody.
FAILED = {"Queues/ScheduleDead", "Queues/StreamFailed"}
# Bulk work has no higher concurrency than what somebody waits for.
BULK = {"Queues/SnapshotsBulk": "Queues/Snapshots", "Queues/ContentBulk": "Queues/Content"}
DELAYED = {"Queues/LogWakes", "Queues/PushWakes", "Queues/Deliver"}
CONSOLE_ROUTES = {"GET /", "GET /console", "GET /console/{proxy+}"}
OPEN_ROUTES = {"POST /webhooks/drive", "GET /health", "GET /openapi.json"} | CONSOLE_ROUTES
INDEXES = {"files", "children", "attention", "due"}
RECEIVE_COUNT_MAX = 200
# The key of what is encrypted with one where the operator gives one.
UNDER_KEY = {"If": ["HasKey", "<param KmsKeyArn>", NO_VALUE]}
RETENTION_SECONDS_MAX = 1209600
VISIBILITY_FACTOR = 6
# Six times would silence a file for an hour and a half after each crash, and live readers for three minutes; AWS
# asks for once.
VISIBILITY_FACTORS = {"MirrorContent": 1, "Live": 3}


def logical_id(folder: str) -> str:
    """The function's name in the template: `fetch-changes` is `FetchChanges`."""
    return "".join(word.capitalize() for word in folder.split("-"))


def functions(system: System) -> dict[str, dict]:
    """The Lambda functions' resolved properties, by logical id."""
    return {n: system.properties(n) for n in system.of_type("AWS::Lambda::Function")}


def invoked(mapping: dict) -> str:
    """The function whose alias an event source invokes."""
    return mapping["Properties"]["FunctionName"].strip("<>").removesuffix("Aliaslive")


# ------------------------------------------------------------------ building


def folder_is_package_is_binary(system: System) -> list[str]:
    """folder = package = binary = SAM function, and each is in the list of this check"""
    wrong = []
    folders = {path.parent.name for path in system.root.glob("functions/*/Cargo.toml")}
    wrong += [f"functions/{f} is not known to this check" for f in sorted(folders - set(FUNCTIONS))]
    wrong += [f"functions/{f} does not exist" for f in sorted(set(FUNCTIONS) - folders)]
    for folder in sorted(folders):
        home = system.root / "functions" / folder
        manifest = tomllib.loads((home / "Cargo.toml").read_text())
        package = manifest["package"]["name"]
        bins = [b.get("name", package) for b in manifest.get("bin", [])]
        if not bins and (home / "src/main.rs").exists():
            bins = [package]
        if package != folder or bins != [folder]:
            wrong.append(f"functions/{folder} has package {package} and binaries {bins}")
    binaries = {}
    for name, resource in system.of_type("AWS::Lambda::Function").items():
        binary = resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
        binaries[name] = binary
    expected = {logical_id(folder): folder for folder in folders}
    if binaries != expected:
        wrong.append(f"the template's binaries are {binaries}, not {expected}")
    return wrong


def code_is_the_workspace_root(system: System) -> list[str]:
    """every function is built by cargo lambda from the workspace root, as bootstrap"""
    wrong = []
    template = system.sources["template.yaml"]
    shared = template["Globals"]["Function"].get("CodeUri")
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        code = resource["Properties"].get("CodeUri", shared)
        if code != ".":
            wrong.append(f"{name} has CodeUri {code}")
        if resource.get("Metadata", {}).get("BuildMethod") != "rust-cargolambda":
            wrong.append(f"{name} is not built by rust-cargolambda")
    for name, properties in functions(system).items():
        if (properties.get("Runtime"), properties.get("Handler")) != ("provided.al2023", "bootstrap"):
            wrong.append(f"{name} is not a bootstrap on provided.al2023")
        if properties.get("Architectures") != ["<param Architecture>"]:
            wrong.append(f"{name} does not follow the parameter Architecture")
    if system.parameters["Architecture"].get("Default") != "arm64":
        wrong.append("the default of Architecture is not arm64")
    return wrong


def builds_are_neither_cached_nor_parallel(system: System) -> list[str]:
    """samconfig.toml builds neither cached nor in parallel, and grants what nested stacks need"""
    config = tomllib.loads((system.root / "samconfig.toml").read_text())["default"]
    wrong = []
    for key in ("cached", "parallel"):
        if config["build"]["parameters"].get(key) is not False:
            wrong.append(f"build.{key} is not false")
    capabilities = set(config["deploy"]["parameters"]["capabilities"].split())
    if capabilities != {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}:
        wrong.append(f"deploy.capabilities is {sorted(capabilities)}")
    return wrong


# ------------------------------------------------------------------ functions


def sizes_are_the_designs(system: System) -> list[str]:
    """timeouts and memory are those of the design"""
    wrong = []
    for folder, want in FUNCTIONS.items():
        have = functions(system).get(logical_id(folder), {})
        for key, unit in (("Timeout", "timeout"), ("MemorySize", "memory")):
            if have.get(key) != want[unit]:
                wrong.append(f"{folder} has {key} {have.get(key)}, not {want[unit]}")
    return wrong


def functions_are_traced(system: System) -> list[str]:
    """every function is traced"""
    return [
        f"{name} is not traced"
        for name, properties in functions(system).items()
        if properties.get("TracingConfig", {}).get("Mode") != "Active"
    ]


def logs_are_kept_for_a_while(system: System) -> list[str]:
    """every function and the API have a log group of their own, with a retention"""
    wrong = []
    groups = system.of_type("AWS::Logs::LogGroup")
    for name, group in groups.items():
        if not system.number(group["Properties"].get("RetentionInDays")):
            wrong.append(f"{name} has no retention")
    used = [p.get("LoggingConfig", {}).get("LogGroup") for p in functions(system).values()]
    for stage in system.of_type("AWS::ApiGatewayV2::Stage").values():
        settings = stage["Properties"].get("AccessLogSettings", {})
        used.append(settings.get("DestinationArn", "").replace(".Arn>", ">"))
        if re.search(r"header|querystring|\bbody\b|authorizer\.claims|context\.path", settings.get("Format", "")):
            wrong.append("the access log holds headers, a path, a query, a body or claims")
    if sorted(map(str, used)) != sorted(f"<{name}>" for name in groups):
        wrong.append(f"log groups {sorted(groups)} are used as {used}")
    for name, properties in functions(system).items():
        if properties.get("LoggingConfig", {}).get("LogFormat") != "Text":
            wrong.append(f"{name} has its JSON log lines wrapped once more")
    return wrong


def environments_are_exact(system: System) -> list[str]:
    """every function has exactly the environment that runtime::env reads"""
    wrong = []
    for folder, want in FUNCTIONS.items():
        properties = functions(system).get(logical_id(folder), {})
        have = dict(properties.get("Environment", {}).get("Variables", {}))
        expected = COMMON_ENVIRONMENT | want["own"]
        if set(have) != expected:
            wrong.append(f"{folder} lacks or has too much of {sorted(set(have) ^ expected)}")
        for key, queue in (
            ("LOG_WAKES_QUEUE_URL", "LogWakes"),
            ("PUSH_WAKES_QUEUE_URL", "PushWakes"),
            ("OPERATIONS_QUEUE_URL", "Operations"),
            ("LIVE_QUEUE_URL", "Live"),
            ("DELIVER_QUEUE_URL", "Deliver"),
            ("SNAPSHOTS_QUEUE_URL", "Snapshots"),
            ("SNAPSHOTS_BULK_QUEUE_URL", "SnapshotsBulk"),
            ("CONTENT_QUEUE_URL", "Content"),
            ("CONTENT_BULK_QUEUE_URL", "ContentBulk"),
        ):
            if have.get(key) != f"<Queues/{queue}>":
                wrong.append(f"{folder} has the {key} {have.get(key)}")
        if have.get("CONTENT_BUCKET") != "<Content/Bucket>":
            wrong.append(f"{folder} has the CONTENT_BUCKET {have.get('CONTENT_BUCKET')}")
    return wrong


def sweep_runs_every_minute(system: System) -> list[str]:
    """sweep is scheduled each minute, with a retry policy and a dead-letter queue"""
    schedules = system.of_type("AWS::Scheduler::Schedule")
    if len(schedules) != 1:
        return [f"there are {len(schedules)} schedules"]
    properties = next(iter(schedules.values()))["Properties"]
    target = properties["Target"]
    wrong = []
    if properties.get("ScheduleExpression") != "rate(1 minute)" or target["Arn"] != "<SweepAliaslive>":
        wrong.append(f"{properties.get('ScheduleExpression')} starts {target['Arn']}")
    if properties.get("State", "ENABLED") != "ENABLED":
        wrong.append("the schedule is off")
    if "RetryPolicy" not in target or "DeadLetterConfig" not in target:
        wrong.append("the schedule has no retry policy or no dead-letter queue")
    return wrong


# ------------------------------------------------------------------ queues


def queue_name(reference: str) -> str:
    """The queue in `<Queues/LogWakes.Arn>`."""
    return reference.strip("<>").removesuffix(".Arn")


def source_queues_are_fast_fifo(system: System) -> list[str]:
    """every queue but those of what failed is FIFO with high throughput, and all are encrypted"""
    wrong = []
    for name, queue in system.of_type("AWS::SQS::Queue").items():
        properties = queue["Properties"]
        managed, key = properties.get("SqsManagedSseEnabled"), properties.get("KmsMasterKeyId")
        if (managed, key) != (True, None) and not (managed == {"If": ["HasKey", False, True]} and key == UNDER_KEY):
            wrong.append(f"{name} is not encrypted")
        if name in FAILED:
            continue
        if properties.get("FifoQueue") is not True or not properties["QueueName"].endswith(".fifo"):
            wrong.append(f"{name} is not FIFO")
        if properties.get("DeduplicationScope") != "messageGroup":
            wrong.append(f"{name} does not deduplicate within a message group")
        if properties.get("FifoThroughputLimit") != "perMessageGroupId":
            wrong.append(f"{name} has no high throughput")
        if properties.get("ContentBasedDeduplication"):
            wrong.append(f"{name} deduplicates by content: the functions say what is the same")
    for name in FEEDS:
        want = 1 if name in DELAYED else 0
        if system.properties(name).get("DelaySeconds", 0) != want:
            wrong.append(f"{name} has not the delay {want} s")
    return wrong


def source_queues_have_dead_letters(system: System) -> list[str]:
    """every source queue has a FIFO dead-letter queue of its own, that keeps 14 days"""
    wrong = []
    used = []
    for name in FEEDS:
        redrive = system.properties(name).get("RedrivePolicy", {})
        dead = queue_name(redrive.get("deadLetterTargetArn", ""))
        used.append(dead)
        if redrive.get("maxReceiveCount") != RECEIVE_COUNT_MAX:
            wrong.append(f"{name} gives up after {redrive.get('maxReceiveCount')} receives")
        if dead not in system.resources:
            wrong.append(f"{name} has no dead-letter queue")
            continue
        properties = system.properties(dead)
        if properties.get("FifoQueue") is not True:
            wrong.append(f"{dead} is not FIFO")
        if properties.get("MessageRetentionPeriod") != RETENTION_SECONDS_MAX:
            wrong.append(f"{dead} does not keep 14 days")
        allowed = properties.get("RedriveAllowPolicy", {}).get("sourceQueueArns", [])
        source = system.properties(name)["QueueName"]
        if len(allowed) != 1 or not allowed[0].endswith(f":{source}"):
            wrong.append(f"{dead} takes messages from {allowed}")
    if len(set(used)) != len(used):
        wrong.append(f"dead-letter queues are shared: {used}")
    return wrong


def sweep_drains_every_dead_letter(system: System) -> list[str]:
    """sweep is told every dead-letter queue"""
    variables = functions(system).get("Sweep", {}).get("Environment", {}).get("Variables", {})
    told = set(variables.get("DEAD_LETTER_QUEUE_URLS", "").split(","))
    dead = set()
    for name in FEEDS:
        arn = system.properties(name).get("RedrivePolicy", {}).get("deadLetterTargetArn", "")
        dead.add(f"<{queue_name(arn)}>")
    return [] if told == dead else [f"sweep drains {sorted(told)}, of {sorted(dead)}"]


def queue_mappings(system: System) -> dict[str, dict]:
    """The event sources that read a queue."""
    every = system.of_type("AWS::Lambda::EventSourceMapping")
    return {n: m for n, m in every.items() if str(m["Properties"]["EventSourceArn"]).startswith("<Queues/")}


def the_stream_is_read_whole(system: System) -> list[str]:
    """the table's stream feeds publish-events alone, from its beginning, and nothing of it is dropped unseen"""
    wrong = []
    every = system.of_type("AWS::Lambda::EventSourceMapping")
    streams = {n: m["Properties"] for n, m in every.items() if n not in queue_mappings(system)}
    if [p["EventSourceArn"] for p in streams.values()] != ["<Data/Table.StreamArn>"]:
        return [f"the event sources that are no queues are {sorted(streams)}"]
    properties = next(iter(streams.values()))
    for key, want in (
        ("FunctionName", "<PublishEventsAliaslive>"),
        ("StartingPosition", "TRIM_HORIZON"),
        ("BisectBatchOnFunctionError", True),
        ("FunctionResponseTypes", ["ReportBatchItemFailures"]),
        ("MaximumRetryAttempts", -1),
        ("DestinationConfig", {"OnFailure": {"Destination": "<Queues/StreamFailed.Arn>"}}),
    ):
        if properties.get(key) != want:
            wrong.append(f"{key} is {properties.get(key)}")
    if properties.get("Enabled", True) is not True:
        wrong.append("it is off")
    # The stream keeps a day: what is stepped over must still be there for a while.
    if not 3600 <= (system.number(properties.get("MaximumRecordAgeInSeconds")) or 0) <= 43200:
        wrong.append(f"it gives up after {properties.get('MaximumRecordAgeInSeconds')} s")
    patterns = [json.loads(f["Pattern"]) for f in properties.get("FilterCriteria", {}).get("Filters", [])]
    # tests/tests/all compares it with what the code tells of.
    if patterns not in ([], [STREAM_PATTERN]):
        wrong.append(f"it passes over what events tell of: {patterns}")
    return wrong


def visibility_covers_the_retries(system: System) -> list[str]:
    """every source queue's visibility is at least six times its function's timeout; of live, three times; of content, longer"""
    wrong = []
    for mapping in queue_mappings(system).values():
        queue = queue_name(mapping["Properties"]["EventSourceArn"])
        function = invoked(mapping)
        visibility = system.number(system.properties(queue).get("VisibilityTimeout", 30))
        timeout = system.number(system.properties(function).get("Timeout", 3))
        factor = VISIBILITY_FACTORS.get(function, VISIBILITY_FACTOR)
        if visibility is None or timeout is None or visibility < factor * timeout or visibility == timeout:
            wrong.append(f"{queue}: visibility {visibility} s, {function}: timeout {timeout} s")
    return wrong


def batches_fail_in_part(system: System) -> list[str]:
    """every queue's source reports item failures, has a batch of at most 10 and a maximum concurrency"""
    wrong = []
    concurrency = {}
    fed = []
    for name, mapping in queue_mappings(system).items():
        properties = mapping["Properties"]
        queue = queue_name(properties["EventSourceArn"])
        fed.append((queue, invoked(mapping)))
        if properties.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            wrong.append(f"{name} fails whole batches")
        if not 1 <= (system.number(properties.get("BatchSize")) or 0) <= 10:
            wrong.append(f"{name} has batches of {properties.get('BatchSize')}")
        if properties.get("Enabled", True) is not True:
            wrong.append(f"{name} is off")
        limit = system.number(properties.get("ScalingConfig", {}).get("MaximumConcurrency"))
        concurrency[queue] = limit or 0
        if not 2 <= (limit or 0) <= 1000:
            wrong.append(f"{name} has the maximum concurrency {limit}")
    if sorted(fed) != sorted(FEEDS.items()):
        wrong.append(f"one queue has one consumer, but it is {sorted(fed)}")
    for bulk, live in BULK.items():
        if concurrency.get(bulk, 0) > concurrency.get(live, 0):
            wrong.append(f"{bulk} may take more functions than {live}")
    return wrong


# ------------------------------------------------------------------ the edge


def http_apis(system: System) -> list[dict]:
    """The APIs that are no WebSockets."""
    apis = system.of_type("AWS::ApiGatewayV2::Api").values()
    return [api for api in apis if api["Properties"].get("ProtocolType") != "WEBSOCKET"]


def routes(system: System) -> dict[str, list]:
    """The security requirements of each route, by route key."""
    found = {}
    for api in http_apis(system):
        body = api["Properties"]["Body"]
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                verb = "ANY" if method.endswith("any-method") else method.upper()
                found[f"{verb} {path}"] = operation.get("security", body.get("security", []))
    return found


def only_public_routes_are_open(system: System) -> list[str]:
    """only the webhook, health, the description of the API and the pages of the console need no token; the rest a JWT"""
    wrong = []
    schemes = {}
    for api in http_apis(system):
        schemes |= api["Properties"]["Body"].get("components", {}).get("securitySchemes", {})
    jwt = set()
    for name, scheme in schemes.items():
        authorizer = scheme.get("x-amazon-apigateway-authorizer", {})
        configuration = authorizer.get("jwtConfiguration", {})
        if authorizer.get("type") == "jwt" and configuration.get("issuer"):
            if configuration.get("audience"):
                jwt.add(name)
    found = routes(system)
    closed = {
        route
        for route, security in found.items()
        if security and all(set(requirement) & jwt for requirement in security)
    }
    if set(found) - closed != OPEN_ROUTES:
        wrong.append(f"open routes: {sorted(set(found) - closed)}")
    if closed != {"ANY /v1/{proxy+}"}:
        wrong.append(f"closed routes: {sorted(closed)}")
    if system.of_type("AWS::Lambda::Url"):
        wrong.append("a function has a URL of its own")
    return wrong


def routes_are_throttled(system: System) -> list[str]:
    """the webhook is throttled by settings of its own, all other routes by the default"""
    wrong = []
    for name, stage in system.of_type("AWS::ApiGatewayV2::Stage").items():
        properties = stage["Properties"]
        settings_of = [("the default", properties.get("DefaultRouteSettings", {}))]
        if name != "LiveSockets/Stage":
            webhook = properties.get("RouteSettings", {}).get("POST /webhooks/drive", {})
            settings_of.append(("the webhook", webhook))
        for where, settings in settings_of:
            for key in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
                if not system.number(settings.get(key)):
                    wrong.append(f"{name}: {where} has no {key}")
    return wrong


def the_websocket_has_its_routes(system: System) -> list[str]:
    """the WebSocket routes messages to live by their action, and answers pings without it"""
    stack = "LiveSockets/"
    wrong = []
    if system.properties(f"{stack}Api").get("RouteSelectionExpression") != "$request.body.action":
        wrong.append("messages are not routed by their action")
    found = {}
    for name, route in system.of_type("AWS::ApiGatewayV2::Route").items():
        properties = route["Properties"]
        target = properties["Target"].removeprefix("integrations/<").removesuffix(">")
        found[properties["RouteKey"]] = system.properties(target)
        if properties["ApiId"] != f"<{stack}Api>":
            wrong.append(f"{name} is of another API")
        if properties["RouteKey"] == "ping" and properties.get("RouteResponseSelectionExpression") != "$default":
            wrong.append("a ping has no answer")
    if set(found) != {"$connect", "$disconnect", "subscribe", "unsubscribe", "ping", "$default"}:
        wrong.append(f"its routes are {sorted(found)}")
    function = system.properties("Live").get("FunctionName", "no name")
    for route, integration in found.items():
        kind, uri = integration.get("IntegrationType"), str(integration.get("IntegrationUri"))
        if route == "ping":
            if kind != "MOCK":
                wrong.append("a ping invokes a function")
        elif kind != "AWS_PROXY" or not uri.endswith(f":function:{function}:live/invocations"):
            wrong.append(f"{route} invokes {uri}")
    permission = system.properties("LivePermission")
    if permission.get("FunctionName") != "<LiveAliaslive>" or not str(permission.get("SourceArn")).endswith(f":<{stack}Api>/live/*"):
        wrong.append("the API may not invoke live, or others may")
    return wrong


def users_cannot_choose_their_tenant(system: System) -> list[str]:
    """the stack's own user pool admits nobody by himself, and its users can't write their tenant or role"""
    wrong = []
    if system.resources["Identity"].get("Condition") != "MakesUserPool":
        wrong.append("the user pool is made even where an issuer is given")
    pool = system.properties("Identity/UserPool")
    if pool.get("MfaConfiguration") != "<param UserPoolMfa>":
        wrong.append("nobody can ask for a second factor")
    if pool.get("AdminCreateUserConfig", {}).get("AllowAdminCreateUserOnly") is not True:
        wrong.append("anyone may sign up")
    if [attribute["Name"] for attribute in pool.get("Schema", [])] != ["tenant", "role"]:
        wrong.append("the attribute tenant or role is missing, or there are others")
    clients = system.of_type("AWS::Cognito::UserPoolClient")
    for name, client in clients.items():
        properties = client["Properties"]
        writable = properties.get("WriteAttributes")
        protected = {"custom:tenant", "custom:role"}
        if not writable or protected & set(writable):
            wrong.append(f"users of {name} may write {writable}")
        for claim in sorted(protected - set(properties.get("ReadAttributes", []))):
            wrong.append(f"{name} can't read {claim}, so that it is in no token")
        if properties.get("GenerateSecret") is not False:
            wrong.append(f"{name} has a secret")
    if not clients:
        wrong.append("there is no client")
    rule = system.transformed.get("Rules", {}).get("OurOwnPoolKnowsOneTenantClaim", {})
    asserted = str(rule.get("Assertions"))
    for parameter in ("TenantClaim", "RoleClaim", "GroupsClaim"):
        if parameter not in asserted:
            wrong.append(f"{parameter} may name a claim that the users write")
    return wrong


# ------------------------------------------------------------------ the table


def the_table_is_safe(system: System) -> list[str]:
    """the table outlives the stack, with stream, TTL, point-in-time recovery, encryption, on demand"""
    wrong = []
    tables = system.of_type("AWS::DynamoDB::Table")
    if set(tables) != {"Data/Table"}:
        return [f"the tables are {sorted(tables)}"]
    table = tables["Data/Table"]
    properties = table["Properties"]
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        if table.get(policy) != "Retain":
            wrong.append(f"{policy} is {table.get(policy)}")
    for path, want in (
        (("StreamSpecification", "StreamViewType"), "NEW_AND_OLD_IMAGES"),
        (("TimeToLiveSpecification", "AttributeName"), "expires"),
        (("TimeToLiveSpecification", "Enabled"), True),
        (("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"), True),
        (("SSESpecification", "SSEEnabled"), True),
        (("BillingMode",), "PAY_PER_REQUEST"),
        (("DeletionProtectionEnabled",), "<param TableDeletionProtection>"),
    ):
        have = properties
        for key in path:
            have = have.get(key, {})
        if have != want:
            wrong.append(f"{'.'.join(path)} is {have or 'missing'}")
    if system.parameters["TableDeletionProtection"].get("Default") != "true":
        wrong.append("deletion protection is off by default")
    return wrong


def the_table_has_its_indexes(system: System) -> list[str]:
    """the table has PK and SK and the four sparse, keys-only indexes"""
    wrong = []
    properties = system.properties("Data/Table")

    def keys(schema: list[dict]) -> dict[str, str]:
        return {k["KeyType"]: k["AttributeName"] for k in schema}

    if keys(properties["KeySchema"]) != {"HASH": "PK", "RANGE": "SK"}:
        wrong.append("the keys are not PK and SK")
    indexes = {i["IndexName"]: i for i in properties.get("GlobalSecondaryIndexes", [])}
    if set(indexes) != INDEXES:
        wrong.append(f"the indexes are {sorted(indexes)}")
    for name, index in indexes.items():
        if keys(index["KeySchema"]) != {"HASH": f"{name}_pk", "RANGE": f"{name}_sk"}:
            wrong.append(f"{name} has the keys {keys(index['KeySchema'])}")
        if index["Projection"]["ProjectionType"] != "KEYS_ONLY":
            wrong.append(f"{name} projects more than keys")
    if any(a["AttributeType"] != "S" for a in properties["AttributeDefinitions"]):
        wrong.append("a key is not a string")
    return wrong


# ------------------------------------------------------------------ the bucket


def the_bucket_is_safe(system: System) -> list[str]:
    """the bucket of content outlives the stack, with versions, encryption, no public access and TLS alone"""
    buckets = system.of_type("AWS::S3::Bucket")
    if set(buckets) != {"Content/Bucket", "Trail/Bucket"}:
        return [f"the buckets are {sorted(buckets)}"]
    wrong = bucket_is_kept_and_closed(system, "Content/Bucket")
    properties = buckets["Content/Bucket"]["Properties"]
    rules = [r for r in properties.get("LifecycleConfiguration", {}).get("Rules", []) if "If" not in r]
    aborted = [r["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for r in rules if "AbortIncompleteMultipartUpload" in r]
    expired = [r["NoncurrentVersionExpiration"]["NoncurrentDays"] for r in rules if "NoncurrentVersionExpiration" in r]
    if (aborted, expired) != ([2], [30]):
        wrong.append(f"uploads are aborted after {aborted} days, versions expire after {expired}")
    if any("ExpirationInDays" in r for r in rules):
        wrong.append("content expires that is referred to")
    return wrong


def a_key_of_the_operators_encrypts_everything(system: System) -> list[str]:
    """with KmsKeyArn, table, bucket, queues, logs and the alarms' topic are encrypted with it"""
    wrong = []
    bucket = system.properties("Content/Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    acts = system.properties("Trail/Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    for name, key in (
        ("Trail/Bucket", acts["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")),
        ("Data/Table", system.properties("Data/Table").get("SSESpecification", {}).get("KMSMasterKeyId")),
        ("Content/Bucket", bucket["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")),
        ("Alarms/Topic", system.properties("Alarms/Topic").get("KmsMasterKeyId")),
        *((n, g["Properties"].get("KmsKeyId")) for n, g in system.of_type("AWS::Logs::LogGroup").items()),
        # What is empty is in the one that stays: see there.
        *((n, q["Properties"].get("KmsMasterKeyId")) for n, q in system.of_type("AWS::SQS::Queue").items() if n != "Queues/ScheduleDead"),
    ):
        if key != UNDER_KEY:
            wrong.append(f"{name} has the key {key}")
    if "ACopyUnderAKeyNeedsAKey" not in system.transformed.get("Rules", {}):
        wrong.append("a copy of encrypted content may be asked for without a key")
    return wrong


def queues_are_reached_over_tls(system: System) -> list[str]:
    """no queue is reached without TLS"""
    denied = set()
    for policy in system.of_type("AWS::SQS::QueuePolicy").values():
        for s in policy["Properties"]["PolicyDocument"]["Statement"]:
            if (s["Effect"], s["Principal"], s["Action"]) != ("Deny", "*", "sqs:*"):
                return [f"a policy says {s}"]
            if s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}:
                denied |= {queue.strip("<>") for queue in policy["Properties"]["Queues"]}
    return [f"{queue} is" for queue in sorted(set(system.of_type("AWS::SQS::Queue")) - denied)]


def no_service_acts_for_strangers(system: System) -> list[str]:
    """a role that a service but Lambda or the scheduler assumes is assumed for this account alone"""
    wrong = []
    for name, role in system.of_type("AWS::IAM::Role").items():
        for s in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            service = s["Principal"]["Service"]
            own = s.get("Condition") == {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}}
            # These two are told the role by whoever may pass it, and it is for the stack alone.
            if not own and service not in ("lambda.amazonaws.com", ["scheduler.amazonaws.com"]):
                wrong.append(f"{name} is assumed by {service} for anybody")
    return wrong


def google_is_reached_over_tls(system: System) -> list[str]:
    """DriveUrl is https, since bearer tokens are sent there"""
    pattern = system.parameters["DriveUrl"].get("AllowedPattern", "")
    return [] if pattern.startswith("https://") else [f"DriveUrl may be {pattern}"]


# S3's parameters that `shared/objects` puts into a link.
LINK_PARAMETERS = {"response-content-disposition", "response-content-type"}


def the_distribution_serves_signed_urls(system: System) -> list[str]:
    """where there is a distribution, it alone reads the bucket, over TLS, for signed URLs"""
    wrong = []
    for name, distribution in system.of_type("AWS::CloudFront::Distribution").items():
        config = distribution["Properties"]["DistributionConfig"]
        behaviours = [config["DefaultCacheBehavior"], *config.get("CacheBehaviors", [])]
        for behaviour in behaviours:
            if not behaviour.get("TrustedKeyGroups"):
                wrong.append(f"{name} serves anybody")
            if behaviour.get("ViewerProtocolPolicy") not in ("https-only", "redirect-to-https"):
                wrong.append(f"{name} serves without TLS")
            headers = system.resources.get(str(behaviour.get("ResponseHeadersPolicyId")).strip("<>"), {})
            headers = headers.get("Properties", {}).get("ResponseHeadersPolicyConfig", {})
            secured = headers.get("SecurityHeadersConfig", {})
            custom = {h["Header"]: h["Value"] for h in headers.get("CustomHeadersConfig", {}).get("Items", [])}
            if custom.get("Content-Disposition") != "attachment":
                wrong.append(f"{name} serves content that a browser opens")
            if "sandbox" not in secured.get("ContentSecurityPolicy", {}).get("ContentSecurityPolicy", ""):
                wrong.append(f"{name} serves content that a browser runs")
            cache = system.resources.get(str(behaviour.get("CachePolicyId")).strip("<>"), {}).get("Properties", {})
            cache = cache.get("CachePolicyConfig", {})
            parameters = cache.get("ParametersInCacheKeyAndForwardedToOrigin", {}).get("QueryStringsConfig", {})
            if set(parameters.get("QueryStrings", [])) != LINK_PARAMETERS:
                wrong.append(f"{name} serves one link's name and type with another's")
            if not 0 < int(cache.get("MaxTTL", 0)) <= 86_400:
                wrong.append(f"{name} keeps what is erased for longer than a day")
            if "ContentTypeOptions" not in secured or "StrictTransportSecurity" not in secured:
                wrong.append(f"{name} lacks a security header")
        if config.get("ViewerCertificate", {}).get("MinimumProtocolVersion") != "TLSv1.2_2021":
            wrong.append(f"{name} accepts an old TLS")
        for origin in config["Origins"]:
            if not origin.get("OriginAccessControlId"):
                wrong.append(f"{name} reads the bucket as anybody would")
        if distribution.get("Condition") != "HasCloudFront":
            wrong.append(f"{name} is made unasked")
    if "ADistributionNeedsAKeyGroup" not in system.transformed.get("Rules", {}):
        wrong.append("a distribution may be asked for without a key group")
    if "ADistributionNeedsACertificate" not in system.transformed.get("Rules", {}):
        wrong.append("a distribution may be asked for without a certificate")
    return wrong


# ------------------------------------------------------------------ alarms


def watched(system: System) -> set[tuple[str, str, str]]:
    """(namespace, metric, dimension value) of all that an alarm with an action looks at."""
    found = set()
    for alarm in system.of_type("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        if properties.get("AlarmActions") != ["<Alarms/Topic>"]:
            continue
        if properties.get("ActionsEnabled", True) is not True:
            continue
        metrics = [m["MetricStat"]["Metric"] for m in properties.get("Metrics", []) if "MetricStat" in m]
        for metric in metrics or [properties]:
            for dimension in metric.get("Dimensions", []):
                value = dimension["Value"].strip("<>").removesuffix(".QueueName")
                found.add((metric["Namespace"], metric["MetricName"], value))
    return found


def failures_raise_an_alarm(system: System) -> list[str]:
    """alarms watch every dead letter, oldest message, function, the API, the table and its indexes"""
    wanted = set()
    for name in system.of_type("AWS::SQS::Queue"):
        dead = name not in FEEDS
        metric = "ApproximateNumberOfMessagesVisible" if dead else "ApproximateAgeOfOldestMessage"
        wanted.add(("AWS/SQS", metric, name))
        if dead and name not in FAILED:
            wanted.add(("AWS/SQS", "NumberOfMessagesReceived", name))
    # The failure of deploy-check is that of a deployment.
    for name in set(functions(system)) - {"DeployCheck"}:
        wanted |= {("AWS/Lambda", "Errors", name), ("AWS/Lambda", "Throttles", name)}
    wanted.add(("AWS/Lambda", "Invocations", "Sweep"))
    wanted.add(("AWS/Lambda", "IteratorAge", "PublishEvents"))
    wanted.add(("AWS/ApiGateway", "5xx", "HttpApi"))
    wanted.add(("AWS/ApiGateway", "IntegrationError", "LiveSockets/Api"))
    wanted.add(("AWS/DynamoDB", "SystemErrors", "Data/Table"))
    wanted |= {("AWS/DynamoDB", "WriteThrottleEvents", index) for index in {"Data/Table"} | INDEXES}
    return [f"no alarm on {' '.join(w)}" for w in sorted(wanted - watched(system))]


RULES = [
    folder_is_package_is_binary,
    code_is_the_workspace_root,
    builds_are_neither_cached_nor_parallel,
    sizes_are_the_designs,
    functions_are_traced,
    logs_are_kept_for_a_while,
    environments_are_exact,
    sweep_runs_every_minute,
    roles_belong_to_one_function,
    nothing_is_granted_by_a_wildcard,
    functions_may_do_what_they_do,
    requests_make_no_clients,
    source_queues_are_fast_fifo,
    source_queues_have_dead_letters,
    sweep_drains_every_dead_letter,
    visibility_covers_the_retries,
    the_stream_is_read_whole,
    batches_fail_in_part,
    only_public_routes_are_open,
    routes_are_throttled,
    the_websocket_has_its_routes,
    users_cannot_choose_their_tenant,
    the_table_is_safe,
    the_table_has_its_indexes,
    the_bucket_is_safe,
    a_key_of_the_operators_encrypts_everything,
    queues_are_reached_over_tls,
    no_service_acts_for_strangers,
    google_is_reached_over_tls,
    the_distribution_serves_signed_urls,
    exported_acts_are_locked,
    no_function_changes_an_act,
    failures_raise_an_alarm,
]
