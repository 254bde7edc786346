"""Verifies links of a CloudFront distribution, signed by `signed_link`, with botocore's signer and `cryptography`.

    links.py SIGNED_LINK
"""

import base64
import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ID = "K2JCJMDEHXQW5F"
RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
expires = int(time.time()) + 900


def signed_link(private_key: str) -> subprocess.CompletedProcess:
    """What the program under test makes of a secret."""
    secret = json.dumps({"key_pair_id": ID, "private_key": private_key})
    return subprocess.run([sys.argv[1], str(expires)], input=secret, capture_output=True, text=True)


def pem(key, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def rsa_signature(policy: bytes) -> bytes:
    return RSA.sign(policy, padding.PKCS1v15(), hashes.SHA256())


verified = 0
for key in (RSA, EC):
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        made = signed_link(pem(key, form))
        assert made.returncode == 0, made.stderr
        link = made.stdout.strip()
        resource = link.split("&Expires=")[0]
        signer = CloudFrontSigner(ID, rsa_signature)
        at = datetime.fromtimestamp(expires, timezone.utc)
        if key is RSA:  # The same key and text have one signature.
            assert link == signer.generate_presigned_url(resource, at) + "&Hash-Algorithm=SHA256", link
        else:
            (signature,) = parse_qs(urlsplit(link).query)["Signature"]
            signature = base64.b64decode(signature.replace("-", "+").replace("_", "=").replace("~", "/"), validate=True)
            policy = signer.build_policy(resource, at).encode()
            key.public_key().verify(signature, policy, ec.ECDSA(hashes.SHA256()))
        query = parse_qs(urlsplit(link).query)
        assert query["response-content-type"] == ["text/plain; charset=utf-8"], query
        assert "1%2B1%3D2" in query["response-content-disposition"][0], query
        verified += 1
for other in (rsa.generate_private_key(65537, 3072), ec.generate_private_key(ec.SECP384R1())):
    refused = signed_link(pem(other, PrivateFormat.PKCS8))
    assert refused.returncode != 0 and "PRIVATE" not in refused.stderr, refused
print(f"{verified} links of a distribution verified in Python")
