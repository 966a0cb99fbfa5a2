#!/usr/bin/env bash
# Installs the JavaScript consumers of our files (llama.cpp through node-llama-cpp, transformers.js, …) of npm/package.json, for
# the conformance suite only. Kept per lock file, so a second run is instant. Prints the folder that holds node_modules.
# Install scripts stay off: the packages bring their builds for the CPU along. HALFBYTE_NPM_PEERS names another folder.
set -euo pipefail
cd "$(dirname "$0")/npm"
key=$(cat package.json package-lock.json | sha256sum | cut -c1-12)
home=${HALFBYTE_NPM_PEERS:-$HOME/.cache/halfbyte/npm-peers-$key}
mkdir -p "$(dirname "$home")"
if command -v flock > /dev/null; then exec 9> "$home.lock" && flock 9; fi
# A folder with modules but without our mark was made by somebody else: taken as it is.
if [ ! -e "$home/ready" ] && ! { [ -n "${HALFBYTE_NPM_PEERS:-}" ] && [ -d "$home/node_modules" ]; }; then
  rm -rf "$home" && mkdir -p "$home"
  cp -r package.json package-lock.json nothing "$home"
  (cd "$home" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) 1>&2
  touch "$home/ready"
fi
echo "$home"
