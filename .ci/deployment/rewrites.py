"""What the emulator makes necessary to change in the templates. Each function changes one thing, and says why.

Everything else is deployed as committed. `SOURCE` is applied to the templates as they stand in the repository,
`TRANSFORMED` to the root as the transformation AWS::Serverless leaves it.
"""

import copy

HOSTS = ".execute-api.${AWS::Region}.${AWS::URLSuffix}"


def addresses_of_apis(sources: dict, emulator_url: str) -> None:
    """The functions reach the APIs under the emulator's address: the names that AWS gives them are nowhere resolved."""

    def changed(value):
        if isinstance(value, dict):
            return {key: changed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [changed(one) for one in value]
        if isinstance(value, str) and value.startswith("https://${") and HOSTS in value:
            api, path = value.removeprefix("https://").split(HOSTS)
            # The WebSocket's stage is part of its address; an HTTP API's is `$default`.
            stage = "" if path == "/${Stage}" else "/$default"
            return f"{emulator_url}/_aws/execute-api/{api}{stage}{path}"
        return value

    root = sources["template.yaml"]
    for function in ("Sweep", "RunOperations"):
        variables = root["Resources"][function]["Properties"]["Environment"]["Variables"]
        variables["WEBHOOK_URL"] = changed(variables["WEBHOOK_URL"])
    outputs = sources["infra/live.yaml"]["Outputs"]
    outputs["Endpoint"] = changed(outputs["Endpoint"])


def drive_over_http(sources: dict, _: str) -> None:
    """DriveUrl may be plain HTTP: the simulated Drive has no certificate."""
    sources["template.yaml"]["Parameters"]["DriveUrl"]["AllowedPattern"] = "https?://.+[^/]"


def alarms_of_one_metric(sources: dict, _: str) -> None:
    """An alarm over several metrics watches the first of them: the emulator refuses metric math, and with it the stack."""
    for resource in sources["infra/alarms.yaml"]["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] != "AWS::CloudWatch::Alarm" or "Metrics" not in properties:
            continue
        stat = next(m["MetricStat"] for m in properties.pop("Metrics") if "MetricStat" in m)
        properties |= stat["Metric"]
        properties |= {"Period": stat["Period"], "Statistic": stat["Stat"]}


def alarms_over_alarms(sources: dict, _: str) -> None:
    """The alarm over other alarms is left out: the emulator does not know it, and refuses the stack."""
    resources = sources["infra/alarms.yaml"]["Resources"]
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::CloudWatch::CompositeAlarm":
            del resources[name]


def plain_http_of_buckets_and_queues(sources: dict, _: str) -> None:
    """The policies that refuse calls without TLS are left out: the emulator speaks HTTP, and would enforce them."""
    for template in sources.values():
        for name, resource in list(template["Resources"].items()):
            if resource["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
                del template["Resources"][name]


def answers_of_the_websocket(sources: dict, _: str) -> None:
    """The WebSocket's answer to a ping is left out: the emulator knows no response of a route."""
    resources = sources["infra/live.yaml"]["Resources"]
    for name in ("PingAnswer", "PongAnswer"):
        del resources[name]
        resources["Stage"]["DependsOn"].remove(name)


def saved_queries(sources: dict, _: str) -> None:
    """The saved queries over the logs are left out: the emulator does not know them, and refuses the stack."""
    resources = sources["infra/dashboard.yaml"]["Resources"]
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::Logs::QueryDefinition":
            del resources[name]


def names_of_secrets(sources: dict, _: str) -> None:
    """A policy names the ARN of the secret that signs webhooks: to the emulator, a Ref of a secret is its name."""
    arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${WebhookKey}-*"
    resources = sources["template.yaml"]["Resources"]
    for role in ("ApiRole", "LiveRole"):
        for statement in resources[role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
            if statement.get("Resource") == {"Ref": "WebhookKey"}:
                statement["Resource"] = {"Fn::Sub": arn}


def routes_of_the_http_api(template: dict) -> None:
    """The HTTP API's description becomes an authorizer, integrations and routes: the emulator does not read a Body."""
    resources = template["Resources"]
    body = resources["HttpApi"]["Properties"].pop("Body")
    properties = resources["HttpApi"]["Properties"]
    properties |= {"Name": body["info"]["title"], "ProtocolType": "HTTP"}
    properties.pop("FailOnWarnings", None)
    api = {"Ref": "HttpApi"}
    for name, scheme in body["components"]["securitySchemes"].items():
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        source = authorizer["identitySource"]
        resources[f"HttpApi{name}"] = {
            "Type": "AWS::ApiGatewayV2::Authorizer",
            "Properties": {
                "ApiId": api,
                "Name": name,
                "AuthorizerType": authorizer["type"].upper(),
                "IdentitySource": source if isinstance(source, list) else [source],
                "JwtConfiguration": {
                    "Issuer": authorizer["jwtConfiguration"]["issuer"],
                    "Audience": authorizer["jwtConfiguration"]["audience"],
                },
            },
        }
    number = 0
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            number += 1
            integration = operation["x-amazon-apigateway-integration"]
            resources[f"HttpApiIntegration{number}"] = {
                "Type": "AWS::ApiGatewayV2::Integration",
                "Properties": {
                    "ApiId": api,
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": integration["uri"],
                    "IntegrationMethod": "POST",
                    "PayloadFormatVersion": integration["payloadFormatVersion"],
                    "TimeoutInMillis": integration["timeoutInMillis"],
                },
            }
            verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            route = {
                "ApiId": api,
                "RouteKey": f"{verb} {path}",
                "Target": {"Fn::Sub": f"integrations/${{HttpApiIntegration{number}}}"},
            }
            for requirement in operation.get("security", []):
                for name in requirement:
                    if name != "NONE":
                        route |= {"AuthorizationType": "JWT", "AuthorizerId": {"Ref": f"HttpApi{name}"}}
            resources[f"HttpApiRoute{number}"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": route}


def changed_by(rewrites: list, target: dict, *more) -> None:
    """Applies rewrites in their order. One that changes nothing is not needed any more, which is an error."""
    for rewrite in rewrites:
        before = copy.deepcopy(target)
        rewrite(target, *more)
        if target == before:
            raise AssertionError(f"{rewrite.__name__} changes nothing: leave it out")


SOURCE = [
    addresses_of_apis,
    drive_over_http,
    alarms_of_one_metric,
    alarms_over_alarms,
    plain_http_of_buckets_and_queues,
    answers_of_the_websocket,
    names_of_secrets,
    saved_queries,
]
TRANSFORMED = [routes_of_the_http_api]
