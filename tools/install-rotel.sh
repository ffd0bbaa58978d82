#!/usr/bin/env bash
# Installs rotel, a real receiver of OTLP, for the tests: from PyPI, into a folder under target/. Nothing to do if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-rotel: $*" >&2; }

version=0.0.1a15
folder=target/rotel-$version
[ ! -x "$folder/rotel/rotel-agent" ] || exit 0

python3 -m pip --version >/dev/null 2>&1 || { say "python3 has no pip; install Debian's python3-pip"; exit 1; }
new=$folder.new.$$
trap 'rm -rf "$new"' EXIT
say "installing rotel $version in $folder"
# Of the package only its binary is used: what its Python part depends on is not needed.
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --target "$new" "rotel==$version"
# One rename puts it in place: no half-filled folder after an interruption.
mv -T "$new" "$folder" 2>/dev/null || say "$folder is there already"
[ -x "$folder/rotel/rotel-agent" ] || { say "rotel $version has no rotel-agent for this machine"; exit 1; }
