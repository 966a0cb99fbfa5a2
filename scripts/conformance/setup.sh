#!/usr/bin/env bash
# Makes the Python environment that holds the real consumers of our files (transformers, GPTQModel, mlx, onnxruntime …), for
# the conformance suite only; nobody who uses halfbyte needs it. Kept per requirements files, so a second run is instant.
# Prints its folder. What cannot be installed is listed on stderr and in FOLDER/missing.txt; a second run tries it again,
# --use takes the environment as it is. HALFBYTE_PEERS names another folder.
set -euo pipefail
cd "$(dirname "$0")"
key=$(cat requirements.txt requirements-unisolated.txt | sha256sum | cut -c1-12)
home=${HALFBYTE_PEERS:-$HOME/.cache/halfbyte/peers-$key}
mkdir -p "$(dirname "$home")"
if command -v flock > /dev/null; then exec 9> "$home.lock" && flock 9; fi

pip_install() { "$home/bin/pip" install -q --disable-pip-version-check "$@" 1>&2; }

# install FILE FLAGS…: all lines at once; if that fails one by one, so that one package does not take the others along.
install() {
  local file=$1 line; shift
  if pip_install "$@" -r "$file"; then return; fi
  echo "conformance: $file does not install as a whole; trying line by line" >&2
  while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    pip_install "$@" "$line" || echo "$line" >> "$home/missing.txt"
  done < "$file"
}

if [ ! -e "$home/ready" ] || { [ -s "$home/missing.txt" ] && [ "${1:-}" != --use ]; }; then
  # A folder without "ready" is half made; one with it only lacks packages.
  [ -e "$home/ready" ] || { rm -rf "$home"; python3 -m venv "$home"; }
  rm -f "$home/missing.txt"
  install requirements.txt
  pip_install setuptools wheel
  install requirements-unisolated.txt --no-build-isolation --no-deps
  touch "$home/ready"
fi
if [ -s "$home/missing.txt" ]; then
  echo "conformance: NOT INSTALLED, checks that need these fail unless exceptions.txt names them:" >&2
  sed 's/^/  /' "$home/missing.txt" >&2
fi
echo "$home"
