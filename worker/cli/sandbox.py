"""`bulk-unverify sandbox`: the stand-in tenant, for rehearsals and as the other side of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sandbox(
    *,
    port: Annotated[int, typer.Option("--port", help="0 takes any free port.")] = 0,
    host: Annotated[str, typer.Option("--host", help="A loopback address; nothing else.")] = "127.0.0.1",
    users: Annotated[int, typer.Option("--users", help="How many users the tenant has.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same tenant.")] = 1,
    trouble: Annotated[
        list[str] | None,
        typer.Option(
            "--trouble", help="name[=value], for example server-error=5% or outage=503,from=100,for=5; again."
        ),
    ] = None,
    trouble_file: Annotated[
        Path | None, typer.Option("--trouble-file", help="A JSON file of trouble; flags go over it.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit", help="A hidden limit: 40/s[,kind=…][,burst=N][,headers=…]; may be given again."
        ),
    ] = None,
    pro: Annotated[bool, typer.Option("--pro", help="The tenant's plan has sessions.")] = False,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="PEM certificate: serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="The certificate's PEM key.")] = None,
    write_csv: Annotated[
        Path | None, typer.Option("--write-csv", help="Write a batch that matches the tenant.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Rows of the batch, the staged ones included.")] = 1000,
    bad: Annotated[int, typer.Option("--bad", help="Rows among them that are invalid.")] = 0,
    duplicates: Annotated[int, typer.Option("--duplicates", help="Rows that repeat another.")] = 0,
    vanished: Annotated[int, typer.Option("--vanished", help="Rows of users that are gone (404).")] = 0,
    write_only: Annotated[bool, typer.Option("--write-only", help="Write the batch and end.")] = False,
) -> None:
    """Serve a made-up tenant on loopback: same API, generated users, trouble on demand.

    Prints one line of JSON with its address, then serves until it is interrupted. What it received is at
    `/_sandbox/record`. Its key is made up, or that of the variable BULK_UNVERIFY_SANDBOX_KEY.
    """
    # Imported here, as `--help` must not wait for aiohttp.
    from worker.sandbox.batch import BatchPlan
    from worker.sandbox.command import key_from, serve, write
    from worker.sandbox.flags import make_options, parse_trouble

    options = make_options(
        host=host,
        port=port,
        users=users,
        seed=seed,
        api_key=key_from(),
        plan="pro" if pro else "free",
        tls_cert=tls_cert,
        tls_key=tls_key,
        trouble=parse_trouble(trouble or (), limit or (), trouble_file),
    )
    if write_only or write_csv is not None:
        write(options, write_csv, BatchPlan(rows, bad, duplicates, vanished))
    if not write_only:
        serve(options)
