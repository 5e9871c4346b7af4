"""What a queue's URL means, broker by broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trustme

from worker.brokers import QueueAddress, open_fleet_store, open_queue
from worker.errors import ConfigurationError, UsageError


@pytest.mark.parametrize(
    ("url", "server", "name"),
    [
        ("amqp://host/work", "amqp://host/", "work"),
        ("amqp://host", "amqp://host/", "bulk-unverify"),
        ("amqp://host/", "amqp://host/", "bulk-unverify"),
        ("amqp://u:p@host:5672/tenants/work", "amqp://u:p@host:5672/tenants", "work"),
        ("amqp://host/%2F/work", "amqp://host/%2F", "work"),
        ("amqps://host/work?cafile=ca.pem", "amqps://host/?cafile=ca.pem", "work"),
        ("redis://host:6379/0?stream=work", "redis://host:6379/0", "work"),
    ],
)
def test_the_queue_is_taken_out_of_the_brokers_url(url: str, server: str, name: str) -> None:
    address = QueueAddress.parse(url)
    assert (address.server, address.name) == (server, name)


def test_a_login_is_known_and_not_shown() -> None:
    address = QueueAddress.parse("amqp://u:hunter22@host:5672/tenants/work")
    assert address.has_password
    assert str(address) == "amqp://host:5672/tenants work"
    assert "hunter22" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "amqp:///work",
        "amqp://host/vhost/a b",
        "http://host/work",
        "redis://host/work",
        "redis://host/0?stream=",
        "redis://host/0?password=hunter22",
        "rediss://host/0?ssl_cert_reqs=none",
        "amqps://host/work?no_verify_ssl=1",
        "redis://:hunter22/5@host/0",
        "redis://:hunter22\u2100@host/0",
        "redis://user?hunter22@host/0",
        "redis://user#hunter22@host/0",
        "redis://[host/0",
    ],
)
def test_what_is_no_queue_is_refused_and_nothing_of_a_login_is_shown(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        QueueAddress.parse(url)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("amqp://host/work", "rabbitmq", "rabbitmq"),
        ("rediss://host", "redis_streams", "redis"),
        ("tls://host", "nats_jetstream", "nats"),
        ("sqs://eu-west-1", "sqs", "sqs"),
    ],
)
def test_a_library_that_is_missing_is_named_by_what_installs_it(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"worker.brokers.{module}", None)
    with pytest.raises(UsageError, match=rf"bulk-unverify\[{extra}\]"):
        open_queue(QueueAddress.parse(url), "test")


@pytest.mark.parametrize(
    ("url", "server", "name"),
    [
        ("nats://broker:4222/work", "nats://broker:4222", "work"),
        ("nats://broker", "nats://broker", "bulk-unverify"),
        ("tls://me:secret@broker/work_1", "tls://me:secret@broker", "work_1"),
        ("sqs://eu-west-1/work", "sqs://eu-west-1", "work"),
        ("sqs://us-gov-east-1", "sqs://us-gov-east-1", "bulk-unverify"),
        (
            "sqs://127.0.0.1:9324/work?region=eu-west-1&insecure=1",
            "sqs://127.0.0.1:9324?region=eu-west-1&insecure=1",
            "work",
        ),
    ],
)
def test_nats_and_sqs_name_the_queue_by_the_path(url: str, server: str, name: str) -> None:
    address = QueueAddress.parse(url)
    assert (address.server, address.name) == (server, name)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "nats://broker/a.b",
            "nats://broker/a/b",
            "nats://broker/*",
            "nats://broker/a?stream=b",
            "nats:///a",
        ),
        *(f"nats://broker/{'a' * 81}", f"sqs://eu-west-1/{'a' * 41}", "sqs://eu-west-1/a.fifo"),
        *("sqs://broker/a", "sqs://broker:9324/a", "sqs://eu-west-1/a?insecure=1", "sqs:///a"),
        "sqs://broker/a?region=eu-west-1&insecure=no",
        "sqs://AKIA:hunter22@eu-west-1/a",
        "sqs://eu-west-1/a?secret=hunter22",
    ],
)
def test_what_nats_and_sqs_do_not_take_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--queue") as refused:
        QueueAddress.parse(url)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("nats://broker/a", False),
        ("nats://me:secret@broker/a", True),
        ("tls://token@broker/a", True),
        ("redis://me@broker/0", False),
        ("redis://:secret@broker/0", True),
        ("sqs://eu-west-1/a", False),
    ],
)
def test_a_secret_is_known_and_not_shown(url: str, holds: bool) -> None:
    address = QueueAddress.parse(url)
    assert address.has_password is holds
    for shown in (str(address), repr(address)):
        assert "secret" not in shown
        assert "token" not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:hunter22@host/0?stream=work", "redis://host work"),
        ("redis://host?stream=work", "redis://host work"),
        ("redis://host/1?stream=work", "redis://host/1 work"),
        ("amqp://host/work", "amqp://host work"),
        ("amqp://host/0/work", "amqp://host/0 work"),
        ("nats://token@host/work", "nats://host work"),
    ],
)
def test_two_queues_of_one_broker_are_not_shown_alike(url: str, shown: str) -> None:
    assert str(QueueAddress.parse(url)) == shown


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://host/0?ssl_ca_certs=/ca", "ssl_ca_certs goes with rediss://"),
        (
            "redis://host/0?stream=a&ssl_certfile=/c&ssl_keyfile=/k",
            "ssl_certfile and ssl_keyfile go with rediss://",
        ),
        ("amqp://host/a?cafile=/ca", "cafile goes with amqps://, as amqp:// encrypts nothing"),
        ("amqp://host/a?keyfile=/ca", "keyfile goes with amqps://"),
        ("amqps://host/a?keyfile=/ca", "keyfile goes with certfile"),
        ("amqp://host/a?heartbeat=abc", "heartbeat is a whole number of seconds"),
        ("amqp://host/a?heartbeat=-5", "heartbeat is a whole number of seconds"),
        ("amqps://host/a?heartbeat=65535", "heartbeat is a whole number of seconds"),
        ("amqps://host/a?heartbeat=", "heartbeat is a whole number of seconds"),
        ("amqps://host/a?heartbeat=²", "heartbeat is a whole number of seconds"),
        ("sqs://eu-west-1/a.fifo", "a FIFO queue of SQS"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"^--queue: ") as refused:
        QueueAddress.parse(url)
    assert says in str(refused.value)


@pytest.mark.parametrize("heartbeat", [0, 30, 65_534])
def test_a_heartbeat_in_seconds_is_taken(heartbeat: int) -> None:
    url = f"amqp://host/a?heartbeat={heartbeat}"
    assert QueueAddress.parse(url).server.endswith(f"heartbeat={heartbeat}")


@pytest.mark.parametrize(
    "url",
    [
        "rediss://127.0.0.1:1/0?ssl_ca_certs={}",
        "amqps://127.0.0.1:1/q?cafile={}",
        "amqps://127.0.0.1:1/q?certfile={}",
    ],
)
def test_files_for_tls_are_read_before_anything_is_connected(url: str, tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty.pem", tmp_path / "missing.pem"
    empty.write_text("no certificate\n")
    for path, says in (
        (empty, "in PEM form"),
        (missing, "No such file"),
        (tmp_path, "cannot be read|in PEM form"),
    ):
        address = QueueAddress.parse(url.format(path))
        for what in (open_queue, open_fleet_store) if address.is_redis else (open_queue,):
            with pytest.raises(ConfigurationError, match=says) as refused:
                what(address, "test")
            assert str(path) in str(refused.value)


def test_files_for_tls_that_are_good_are_taken(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    url = f"amqps://127.0.0.1:1/q?cafile={tmp_path}/ca.pem&certfile={tmp_path}/own.pem"
    open_queue(QueueAddress.parse(url), "test")
    with pytest.raises(ConfigurationError, match=r"certfile \(with keyfile .*ca\.pem\)"):
        open_queue(QueueAddress.parse(f"{url}&keyfile={tmp_path}/ca.pem"), "test")


@pytest.mark.parametrize(
    ("url", "variable"), [("tls://h/q", "SSL_CERT_FILE"), ("sqs://eu-west-1/q", "AWS_CA_BUNDLE")]
)
def test_the_authority_of_a_variable_is_read_too(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigurationError, match=f"^{variable} .*missing.pem cannot be read"):
        open_queue(QueueAddress.parse(url), "test")
