#!/usr/bin/env bash
# Makes the Python environment that holds the real consumers of our files (transformers, GPTQModel, safetensors …), for the
# conformance suite only; nobody who uses halfbyte needs it. Kept per requirements file, so a second run is instant.
set -euo pipefail
cd "$(dirname "$0")"
home=${HALFBYTE_PEERS:-$HOME/.cache/halfbyte/peers-$(sha256sum requirements.txt | cut -c1-12)}
if [ ! -e "$home/ready" ]; then
  rm -rf "$home"
  python3 -m venv "$home"
  "$home/bin/pip" install -q --disable-pip-version-check -r requirements.txt
  touch "$home/ready"
fi
echo "$home"
