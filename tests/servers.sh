#!/usr/bin/env bash
# Sees to it that what tests start is on this machine: as root on Debian or Ubuntu it installs what is missing, elsewhere it
# says by which command that is done. `make test` begins with it.
set -euo pipefail

new_python() {
    local candidate
    # shellcheck disable=SC2086 # several names, one a word
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return 0
    done
    return 1
}

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
{ command -v epmd >/dev/null && [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]]; } || missing+=(rabbitmq-server)
new_python || missing+=(python3 python3-venv)
# Root on Debian looks at the units of deploy/ with systemd's own eyes as well; elsewhere tests have rules of their own.
if ((EUID == 0)) && command -v apt-get >/dev/null && ! command -v systemd-analyze >/dev/null; then
    missing+=(systemd)
fi
if ((${#missing[@]} == 0)); then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "The tests need what this machine lacks: ${missing[*]} (Debian's names). Install them with its package manager." >&2
    exit 1
fi
if ((EUID != 0)); then
    echo "The tests need what this machine lacks. Run this, then the same command again:" >&2
    echo "sudo sh -c 'apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}'" >&2
    exit 1
fi
echo "Installing ${missing[*]}."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends "${missing[@]}"
