"""Verifies tokens with PyJWT.

It reads one request a line from standard input, as JSON, and writes one answer a line. It ends when the input ends. Requests and
answers are those of node/verify.mjs.
"""

import base64
import json
import platform
import sys

import cryptography
import jwt


def pyjwt(request):
    secret = request.get("secret")
    client = None if secret else jwt.PyJWKClient(request["jwks"])

    def verify(token):
        key = base64.b64decode(secret) if secret else client.get_signing_key_from_jwt(token).key
        return jwt.decode(
            token,
            key,
            algorithms=request["algorithms"],
            issuer=request["issuer"],
            audience=request["audience"],
            options={"require": ["iss", "aud", "exp"]},
        )

    return verify


libraries = {"PyJWT": pyjwt}
verifiers = {}


def answer(request):
    name = request["verifier"]
    if name not in verifiers:
        verifiers[name] = libraries[request["library"]](request)
    try:
        return {"claims": verifiers[name](request["token"])}
    except jwt.PyJWTError as err:
        return {"refused": f"{type(err).__name__}: {err}"}


def write(value):
    print(json.dumps(value), flush=True)


def main():
    write({"versions": {"python": platform.python_version(), "PyJWT": jwt.__version__, "cryptography": cryptography.__version__}})
    for line in sys.stdin:
        try:
            write(answer(json.loads(line)))
        except Exception as err:  # a mistake of the test, which the test reports
            write({"broken": f"{type(err).__name__}: {err}"})


if __name__ == "__main__":
    main()
