#!/usr/bin/env bash
# Writes a folder of wheels from which Foldline installs without a network, as in a notebook of a
# competition:
#
#   infra/wheels.sh FOLDER [cpu|gpu|tpu|none] [PYTHON]
#
# `none` leaves out what only networks need. PYTHON is a Python, with pip, of the notebook's version;
# by default this environment's. Reads BIN, the folder with python and uv, from the environment.
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")/.."
kind=${2:-cpu}
bin=${BIN:-.venv/bin}
python=${3:-$bin/python}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
extras=()
if [ "$kind" != none ]; then extras=(--extra "$kind"); fi

# A build leaves files next to the sources, and takes files of an earlier build.
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
cp -r foldline pipelines components trainer pyproject.toml README.md "$sources"
rm -rf "$folder"
mkdir -p "$folder"
"$bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$folder" "$sources"

UV_SYSTEM_CERTS=1 "$bin/uv" pip compile --quiet --python-version "$version" --python-platform x86_64-manylinux_2_31 \
    "${extras[@]}" --constraints requirements.lock --generate-hashes --no-header --no-annotate --no-emit-index-url \
    --no-emit-find-links --output-file "$folder/requirements.txt" pyproject.toml
# A few packages have no wheel: it is built here, because a notebook may lack what that needs.
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --require-hashes --wheel-dir "$folder" \
    --requirement "$folder/requirements.txt"
echo "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels for Python $version, $(du -sm "$folder" | cut -f 1) MB"
