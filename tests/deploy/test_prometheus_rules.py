"""The alerts ask for metrics that there are, and for outcomes that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.model import Depth
from worker.web import Meter, Moment
from worker.web.metrics import Metrics

_RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((Path(__file__).parents[2] / "deploy" / "prometheus-rules.yaml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
]
_MOMENT = Moment(
    rows={},
    unrecorded=0,
    buried=0,
    given_back=0,
    meter=Meter(),
    in_flight=0,
    rate_per_s=1.0,
    depth=Depth(0, 0),
    trouble="",
)
_METRICS = Metrics(lambda: _MOMENT).render().decode()


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["annotations"]["summary"]
    asked = re.findall(r"(bulk_unverify_\w+)(?:\{(\w+)(!?[=~]+)\"([^\"]+)\"\})?", rule["expr"])
    assert asked
    for name, label, _, values in asked:
        lines = [line for line in _METRICS.splitlines() if re.match(rf"{name}[{{ ]", line)]
        assert lines, name
        for value in values.split("|") if label else ():
            assert any(f'{label}="{value}"' in line for line in lines), value


def test_what_must_be_noticed_is() -> None:
    assert [rule["alert"].removeprefix("BulkUnverify") for rule in _RULES] == [
        "NotReady",
        "Stuck",
        "OnlyFailures",
        "DeadLetters",
    ]
