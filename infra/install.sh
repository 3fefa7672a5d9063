#!/usr/bin/env bash
# Installs the packages of lock files into an environment that has pip, by hash:
#
#   infra/install.sh FOLDER LOCK...
#
# uv needs a quarter of pip's time. It compiles modules here, because not every process may write
# next to them. It does not read pip's configuration, so where it cannot reach a registry, pip
# installs instead.
set -euo pipefail
here=$(dirname "$0")
folder=$1
python=$folder/bin/python
shift
locks=()
for lock in "$@"; do locks+=(--requirement "$lock"); done
pip=("$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes)
"${pip[@]}" --requirement "$here/uv.lock"
if ! UV_SYSTEM_CERTS=1 "$folder/bin/uv" pip install --quiet --compile-bytecode --python "$python" --no-deps --require-hashes "${locks[@]}"; then
    echo "uv cannot install (see above): pip installs instead, in a few minutes"
    "${pip[@]}" "${locks[@]}"
fi
