"""The caller: an app by bearer token, a user by an OAuth 1 signature, or an address without either.

Signatures are not verified. Bearer tokens are those that `oauth2/token` issues for any key and secret; they contain
their own proof, so that they survive a restart of the emulator with the same seed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from services.emulator.api.http_messages import CallRefused
from services.emulator.worlds.hashing import digest64

_PREFIX = "AAAAAAAAAAAAAAAAAAAAA"
_PROOF_DIGITS = 16
_CREDENTIAL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """The caller for whom a request is counted. `app` is whether the limits of apps apply."""

    who: str
    app: bool = False


def bearer_token(seed: int, key: str) -> str:
    """The token of a consumer key."""
    name = f"{digest64('consumer', key):0{_PROOF_DIGITS}x}"
    return f"{_PREFIX}{name}{_proof(seed, name)}"


def _proof(seed: int, name: str) -> str:
    return f"{digest64('bearer', seed, name):0{_PROOF_DIGITS}x}"


def identify(header: str, params: Mapping[str, str], address: str, seed: int) -> ApiCaller:
    """The caller of a request. Raises `CallRefused` for malformed or unknown credentials."""
    if not header and "oauth_consumer_key" not in params:
        return ApiCaller(f"address:{address}")
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer":
        return ApiCaller(f"bearer:{_checked(seed, credentials.strip())}", app=True)
    if scheme.lower() == "basic":
        raise CallRefused(401, 32, "Could not authenticate you.")
    if header and scheme.lower() != "oauth":
        raise CallRefused(400, 215, "Bad Authentication data.")
    fields = _oauth_fields(credentials) if header else params
    if not fields.get("oauth_consumer_key"):
        raise CallRefused(400, 215, "Bad Authentication data.")
    if not fields.get("oauth_signature"):
        raise CallRefused(401, 32, "Could not authenticate you.")
    token = fields.get("oauth_token")
    return ApiCaller(f"oauth:{token}" if token else f"oauth:consumer:{fields['oauth_consumer_key']}")


def _checked(seed: int, token: str) -> str:
    name, proof = token[len(_PREFIX) : -_PROOF_DIGITS], token[-_PROOF_DIGITS:]
    if token[: len(_PREFIX)] != _PREFIX or len(name) != _PROOF_DIGITS or proof != _proof(seed, name):
        raise CallRefused(401, 89, "Invalid or expired token.")
    return token


def _oauth_fields(text: str) -> dict[str, str]:
    fields = {}
    for item in text[:_CREDENTIAL_BYTES].split(","):
        name, _, value = item.strip().partition("=")
        fields[name] = unquote(value.strip('"'))
    return fields


def consumer_key(header: str) -> str:
    """The key in the Basic header of a token request. Raises `CallRefused` if there is none."""
    scheme, _, credentials = header.partition(" ")
    try:
        key, colon, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        key = colon = secret = ""
    if scheme.lower() != "basic" or not (key and colon and secret):
        raise CallRefused(403, 99, "Unable to verify your credentials")
    return key
