"""Files that an address names for TLS, read before anything is connected: a wrong one is a mistake of the address."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from worker.brokers.address import AMQP_TLS, REDIS_TLS, QueueAddress
from worker.errors import ConfigurationError

_WORDS = {"rediss": REDIS_TLS, "amqps": AMQP_TLS}
_VARIABLES = {"tls": "SSL_CERT_FILE", "sqs": "AWS_CA_BUNDLE"}


def check_tls_files(address: QueueAddress) -> None:
    """Read the files.

    Raises:
        ConfigurationError: One cannot be read, or is not what it is named as.
    """
    if variable := _VARIABLES.get(address.scheme):
        if path := os.environ.get(variable):
            _read(variable, path, lambda: _context().load_verify_locations(path))
        return
    if address.scheme not in _WORDS:
        return
    options = {word: values[-1] for word, values in parse_qs(urlsplit(address.server).query).items()}
    authority, certificate, key = (options.get(word) for word in _WORDS[address.scheme])
    authority_word, certificate_word, key_word = _WORDS[address.scheme]
    if authority is not None:
        _read(authority_word, authority, lambda: _context().load_verify_locations(authority))
    if certificate is not None:
        named = f"{certificate_word} (with {key_word} {key})" if key else certificate_word
        _read(named, certificate, lambda: _context().load_cert_chain(certificate, key, password=_no_password))


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _no_password() -> str:
    raise ValueError("its key is encrypted: give one without a password")


def _read(word: str, path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        reason = (error.reason or "it is no PEM").replace("_", " ").lower()
        raise ConfigurationError(f"{word} {path} is no such file in PEM form ({reason}).") from None
    except OSError as error:
        raise ConfigurationError(f"{word} {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"{word} {path} cannot be used: {error}.") from None
