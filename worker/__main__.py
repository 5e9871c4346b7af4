"""`bulk-unverify` and `python -m worker`."""

from __future__ import annotations

from worker.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="bulk-unverify")


if __name__ == "__main__":
    main()
