#!/usr/bin/env bash
# Runs the unit tests on every supported Python that is found, each in an environment of its own, and names those that
# were not found. Fails if a test fails on any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

supported=(3.11 3.12 3.13 3.14)

find_python() {
    local version=$1 candidate
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if "$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null
        then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

environment() {
    local python=$1 folder=$2
    local -a pip=("$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
    if [[ $folder/.stamp -nt requirements.lock && $folder/.stamp -nt pyproject.toml ]]; then
        return 0
    fi
    "$python" -m venv --clear "$folder"
    "${pip[@]}" --require-hashes --requirement requirements.lock
    "${pip[@]}" --no-deps --no-build-isolation --editable .
    touch "$folder/.stamp"
}

good=() bad=() missing=()
for version in "${supported[@]}"; do
    if ! python=$(find_python "$version"); then
        missing+=("$version")
        continue
    fi
    echo "Python $version ($python):"
    folder=.venv-versions/$version
    environment "$python" "$folder"
    if "$folder/bin/pytest" -p no:cacheprovider -q -n 2 --dist worksteal tests/unit; then
        good+=("$version")
    else
        bad+=("$version")
    fi
done

echo "Unit tests passed on Python: ${good[*]:-none}. Failed on: ${bad[*]:-none}. Not found: ${missing[*]:-none}."
((${#bad[@]} == 0 && ${#good[@]} > 0))
