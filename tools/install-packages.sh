#!/usr/bin/env bash
# Installs what the tests need of Debian's packages, if it is not there. Services that a package would start are not started.
set -euo pipefail

say() { echo "install-packages: $*" >&2; }

# Command or file that must be there, and the package that has it. The last five are for real pods.
wanted=(ip:iproute2 nft:nftables promtool:prometheus unshare:util-linux python3:python3 pip3:python3-pip kill:procps
    curl:curl openssl:openssl
    containerd:containerd ctr:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins /bin/busybox:busybox-static)
missing=()
for entry in "${wanted[@]}"; do
    command -v "${entry%%:*}" >/dev/null || [ -x "/usr/sbin/${entry%%:*}" ] || missing+=("${entry#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    say "the tests need ${missing[*]}; as root: apt-get install --no-install-recommends ${missing[*]}"
    exit 1
fi
command -v apt-get >/dev/null || { say "no apt-get here; install by hand: ${missing[*]}"; exit 1; }

# Debian asks this script whether a package may start its service; it goes away again, whatever happens.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
say "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
