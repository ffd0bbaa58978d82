#!/usr/bin/env bash
# Puts Debian's victoria-metrics into target/victoria-metrics, for the tests of what is pushed. That of Debian 12 cannot take OpenTelemetry
# yet, so it is trixie's, from wherever this machine has its packages, and unpacked rather than installed: nothing else of trixie comes with it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-victoria-metrics: $*" >&2; }

target=target/victoria-metrics
[ -x "$target/usr/bin/victoria-metrics" ] && exit 0
command -v apt-get >/dev/null || { say "no apt-get here; put a victoria-metrics of 1.112 or later into $target/usr/bin"; exit 1; }

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n1 || true)
[ -n "$mirror" ] || { say "apt-get knows no place with packages"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
apt=(apt-get -qq -o APT::Sandbox::User=root -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o Acquire::Languages=none)
say "fetching victoria-metrics of trixie"
"${apt[@]}" update
(cd "$work" && "${apt[@]}" download victoria-metrics)
mkdir -p "$target"
dpkg -x "$work"/victoria-metrics_*.deb "$target"
# The other programs of the package are large, and not needed.
find "$target/usr/bin" -type f ! -name victoria-metrics -delete
