"""The set-ups that are measured: real limiters, how each is started, and what d522d46 made of it."""

from __future__ import annotations

import dataclasses
from typing import Final


@dataclasses.dataclass(frozen=True, slots=True)
class SetUp:
    """One limiter in front of a tenant.

    Attributes:
        name: As in the table.
        program: What starts it: a server's name, `node` or `python`.
        what: Its configuration in `set-ups/`, or the word that the app takes.
        per_s: What its configuration lets through a second.
        fixed: A rate above that.
        before: What d522d46 made of it with `auto` and with the fixed rate (used; refused), from second 10 on.
        latency_s: How long the tenant takes.
        rows: How many there are; enough for a minute.
        edit: What is replaced in the configuration.
    """

    name: str
    program: str
    what: str
    per_s: float
    fixed: str
    before: tuple[str, str] = ("-", "-")
    latency_s: float = 0.002
    rows: int = 3000
    edit: tuple[tuple[str, str], ...] = ()


_BURST_NODELAY: Final = "nginx-req-nodelay-503.conf"
_PLAIN: Final = "nginx-req-plain-429.conf"

SET_UPS: Final = (
    SetUp(
        "nginx `limit_req` burst=40 nodelay, 503",
        "nginx",
        _BURST_NODELAY,
        50,
        "80/s",
        ("91%; 49.0%", "100%; 22.6%"),
    ),
    SetUp("the same, 429", "nginx", "nginx-req-nodelay-429.conf", 50, "80/s", ("100%; 0.1%", "100%; 0.2%")),
    SetUp("the same, 444 (closed)", "nginx", "nginx-req-444.conf", 50, "80/s", ("95%; 47.0%", "100%; 22.5%")),
    SetUp(
        "nginx `limit_conn` 4, 503, tenant 0.2 s",
        "nginx",
        "nginx-conn.conf",
        20,
        "50/s",
        ("88%; 33.2%", "92%; 37.0%"),
        0.2,
        1200,
    ),
    SetUp("Varnish vsthrottle 50 in 1 s", "varnishd", "varnish.vcl", 50, "80/s", ("37%; 0.1%", "34%; 0.2%")),
    SetUp(
        "express-rate-limit 50 per 1 s, legacy headers",
        "node",
        "express-legacy-second",
        50,
        "80/s",
        ("58%; 0.0%", "70%; 0.0%"),
    ),
    SetUp(
        "express-rate-limit 500 per 10 s, legacy headers",
        "node",
        "express-legacy",
        50,
        "80/s",
        ("88%; 0.0%", "-"),
    ),
    SetUp(
        "ASP.NET Core stand-in, 500 per 10 s, 503",
        "node",
        "aspnet-10s",
        50,
        "80/s",
        ("76%; 47.7%", "94%; 23.7%"),
    ),
    SetUp("ASP.NET Core stand-in, 50 per 1 s, 503", "node", "aspnet-second", 50, "80/s", ("98%; 43.8%", "-")),
    SetUp(
        "nginx `limit_req` 2r/s burst=40, delaying",
        "nginx",
        "nginx-slow-delay.conf",
        2,
        "10/s",
        ("39%; 54.4%", "41%; 59.7%"),
        0.002,
        120,
    ),
    SetUp("nginx `limit_req` without burst, 429", "nginx", _PLAIN, 50, "80/s", ("45%; 0.2%", "53%; 0.2%")),
    SetUp(
        "HAProxy 500 in sliding 10 s, 429",
        "haproxy",
        "haproxy-window-429.cfg",
        50,
        "80/s",
        ("98%; 0.5%", "99%; 0.5%"),
    ),
    SetUp(
        "HAProxy 500 in sliding 10 s, 403",
        "haproxy",
        "haproxy-window-default.cfg",
        50,
        "80/s",
        ("halted after 3 s", "-"),
    ),
    SetUp("Envoy local rate limit 50/s", "envoy", "envoy.yaml", 50, "80/s", ("100%; 0.2%", "100%; 0.1%")),
    SetUp(
        "Envoy circuit breaker of 4, tenant 0.2 s",
        "envoy",
        "envoy-breaker.yaml",
        20,
        "50/s",
        ("98%; 29.9%", "100%; 35.4%"),
        0.2,
        1200,
    ),
    SetUp(
        "express-rate-limit 500 per 10 s, no headers",
        "node",
        "express-bare",
        50,
        "80/s",
        ("91%; 1.4%", "91%; 0.7%"),
    ),
    SetUp(
        "express-rate-limit, two policies", "node", "express-two", 20, "50/s", ("99%; 0.2%", "-"), 0.002, 1400
    ),
    SetUp("@fastify/rate-limit 500 per 10 s", "node", "fastify", 50, "80/s", ("96%; 0.0%", "96%; 0.0%")),
    SetUp("@fastify/rate-limit 50 per 1 s", "node", "fastify-second", 50, "80/s", ("94%; 0.0%", "-")),
    SetUp("the same with `ban: 5`, no headers (429, then 403)", "node", "fastify-ban-bare", 50, "80/s"),
    SetUp("rate-limiter-flexible 50 in 1 s", "node", "flex-second", 50, "80/s", ("96%; 0.1%", "-")),
    SetUp("the same, `blockDuration: 10`", "node", "flex-block", 50, "80/s", ("58%; 0.1%", "67%; 0.1%")),
    SetUp("RateLimiterQueue 50/s, 20 waiting", "node", "flex-queue", 50, "80/s", ("98%; 0.1%", "-")),
    SetUp("slowapi 50/s, headers", "uvicorn", "slowapi-headers", 50, "80/s", ("49%; 0.0%", "-")),
    SetUp("slowapi moving window 50/s", "uvicorn", "slowapi-moving", 50, "80/s", ("95%; 0.1%", "94%; 0.1%")),
    SetUp("flask-limiter 500 per 10 s, headers", "gunicorn", "flask-headers", 50, "80/s", ("91%; 0.0%", "-")),
    SetUp(
        "flask-limiter moving window 500 per 10 s", "gunicorn", "flask-moving", 50, "80/s", ("68%; 2.4%", "-")
    ),
    # Ten of our own choosing.
    SetUp(
        "nginx `limit_req` 200r/s burst=20 nodelay, 503",
        "nginx",
        _BURST_NODELAY,
        200,
        "400/s",
        rows=12000,
        edit=(("50r/s", "200r/s"), ("burst=40", "burst=20")),
    ),
    SetUp(
        "nginx `limit_req` burst=5 nodelay, 502",
        "nginx",
        _BURST_NODELAY,
        50,
        "80/s",
        edit=(("burst=40 nodelay;", "burst=5 nodelay; limit_req_status 502;"),),
    ),
    SetUp(
        "nginx `limit_req` burst=40 nodelay, 403",
        "nginx",
        _BURST_NODELAY,
        50,
        "80/s",
        edit=(("nodelay;", "nodelay; limit_req_status 403;"),),
    ),
    SetUp(
        "nginx `limit_req` 600r/m burst=20 nodelay, 503",
        "nginx",
        _BURST_NODELAY,
        10,
        "30/s",
        ("98%; 50.4%", "-"),
        rows=700,
        edit=(("50r/s", "600r/m"), ("burst=40", "burst=20")),
    ),
    SetUp(
        "nginx `limit_req` burst=20, delaying, 503",
        "nginx",
        "nginx-slow-delay.conf",
        50,
        "80/s",
        ("99%; 37.4%", "-"),
        edit=(("2r/s", "50r/s"), ("burst=40", "burst=20")),
    ),
    SetUp(
        "nginx `limit_conn` 4, 444, tenant 0.2 s",
        "nginx",
        "nginx-conn.conf",
        20,
        "50/s",
        latency_s=0.2,
        rows=1200,
        edit=(("limit_conn c 4;", "limit_conn c 4; limit_conn_status 444;"),),
    ),
    SetUp(
        "HAProxy 50 in sliding 1 s, 503",
        "haproxy",
        "haproxy-window-429.cfg",
        50,
        "80/s",
        edit=(("10s)", "1s)"), ("gt 500", "gt 50"), ("429", "503")),
    ),
    SetUp(
        "HAProxy 50 in sliding 1 s, reject",
        "haproxy",
        "haproxy-window-429.cfg",
        50,
        "80/s",
        edit=(("10s)", "1s)"), ("gt 500", "gt 50"), ("deny deny_status 429", "reject")),
    ),
    SetUp(
        "HAProxy server `maxconn 4`, `timeout queue 1s`, tenant 0.2 s",
        "haproxy",
        "haproxy-window-429.cfg",
        20,
        "50/s",
        ("98%; 29.9%", "99%; 29.4%"),
        0.2,
        1200,
        (
            ("  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 500 }\n", ""),
            ("timeout server 30s", "timeout server 30s\n  timeout queue 1s"),
            ("maxconn 200", "maxconn 4"),
        ),
    ),
    SetUp(
        "Varnish vsthrottle 50 in 1 s, 503",
        "varnishd",
        "varnish.vcl",
        50,
        "80/s",
        edit=(("synth(429", "synth(503"),),
    ),
    SetUp(
        "Envoy local rate limit 50/s, 503",
        "envoy",
        "envoy.yaml",
        50,
        "80/s",
        edit=(
            (
                "stat_prefix: limit\n",
                "stat_prefix: limit\n              status: {code: ServiceUnavailable}\n",
            ),
        ),
    ),
)
