"""Verifies a signed message (its JSON on standard input) with the `standardwebhooks` of PyPI."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

message = json.load(sys.stdin)
for secret in message["secrets"]:
    assert Webhook(secret).verify(message["body"], message["headers"])
    try:
        Webhook(secret).verify(message["body"] + " ", message["headers"])
    except WebhookVerificationError:
        continue
    raise AssertionError("a changed body was accepted")
print(f"{len(message['secrets'])} signatures verified in Python")
