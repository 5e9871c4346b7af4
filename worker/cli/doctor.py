"""`doctor`: what is wrong with the settings, the key, the tenant, the clock or the disk, and what to do."""

from __future__ import annotations

from worker.cli import flags
from worker.hints import DEFAULT_RUNS


def doctor(
    *,
    tenant: flags.Tenant = None,
    timeout: flags.Timeout = None,
    ca_bundle: flags.CaBundle = None,
    runs: flags.Runs = DEFAULT_RUNS,
    as_json: flags.Json = False,
) -> None:
    """Check settings, key, tenant, clock and disk; reads one page of users, changes nothing."""
    import asyncio

    from worker.cli import show
    from worker.compose.checkup import check_up
    from worker.units import parse_duration_s

    findings = asyncio.run(
        check_up(
            tenant_text=tenant,
            timeout_s=None if timeout is None else parse_duration_s(timeout),
            ca_bundle=ca_bundle,
            runs_dir=runs,
        )
    )
    tell = show.say if as_json else show.answer
    for finding in findings:
        tell(f"{'ok  ' if finding.ok else 'BAD '} {finding.subject}: {finding.text}")
    exit_code = 0 if all(finding.ok for finding in findings) else 2
    if as_json:
        told: dict[str, object] = {
            "checks": [{"subject": each.subject, "ok": each.ok, "text": each.text} for each in findings],
            "exit_code": exit_code,
        }
        wrong = " ".join(f"{each.subject}: {each.text}" for each in findings if not each.ok)
        show.say_json(told | ({"error": wrong} if wrong else {}))
    raise SystemExit(exit_code)
