#!/usr/bin/env bash
# Every crate that goes into the agent or a probe has a licence that fits Apache-2.0. Works offline: cargo knows the licences.
set -euo pipefail

allowed='^(Apache-2\.0|Apache-2\.0 WITH LLVM-exception|MIT|MIT-0|BSD-2-Clause|BSD-3-Clause|BSL-1\.0|CC0-1\.0|ISC|Unicode-3\.0|Unlicense|Zlib|0BSD)$'

# One of an OR is enough, all of an AND are needed; `/` is the old spelling of OR. Parentheses only group ORs under an AND here.
fits() {
    local all=${1//\// OR } part one ok
    while IFS= read -r part; do
        ok=''
        while IFS= read -r one; do
            one=$(sed 's/^[( ]*//; s/[) ]*$//' <<<"$one")
            [[ ! $one =~ $allowed ]] || ok=1
        done <<<"${part// OR /$'\n'}"
        [ -n "$ok" ] || return 1
    done <<<"${all// AND /$'\n'}"
}

crates=$(cargo tree --locked --workspace --edges normal,build --prefix none --format '{p}|{l}' | sed 's/ (\*)$//; /^$/d' | sort -u)
bad=0 count=0
while IFS='|' read -r crate licence; do
    count=$((count + 1))
    fits "$licence" && continue
    echo "licences: $crate: ${licence:-no licence given} is not on the list in $0" >&2
    bad=1
done <<<"$crates"
[ "$bad" = 0 ] || exit 1
echo "licences: $count crates, all fit"
