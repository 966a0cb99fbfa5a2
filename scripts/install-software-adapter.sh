#!/usr/bin/env bash
# Installs a software WebGPU adapter (Mesa lavapipe) on Debian or Ubuntu; needs root. For tests, never for real work.
# Debian bookworm's own Mesa 22.3 is refused by Dawn; its backports suite has one that works. The mirror is read from
# this machine's own apt sources.   With --browser also Chromium, which brings SwiftShader.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
. /etc/os-release
target=()
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
  list=/etc/apt/sources.list.d/halfbyte-backports.sources
  if ! grep -rqs bookworm-backports /etc/apt/sources.list /etc/apt/sources.list.d; then
    mirror=$( (awk '/^URIs:/{uri=$2} /^Suites:.*bookworm( |$)/{print uri; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null;
      awk '/^deb /{for (i=2;i<=NF;i++) if ($i ~ /^https?:/) {print $i; exit}}' /etc/apt/sources.list 2>/dev/null) | head -n 1)
    [ -n "$mirror" ] || { echo "no Debian mirror found in the apt sources" >&2; exit 1; }
    printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" > "$list"
  fi
  target=(-t bookworm-backports)
fi
apt-get -qq update
apt-get -qq install -y "${target[@]}" mesa-vulkan-drivers libvulkan1
if [ "${1:-}" = --browser ]; then apt-get -qq install -y chromium; fi
