#!/usr/bin/env bash
# The images' lock files, from pyproject.toml and at the versions of requirements.lock: `make lock` calls it. Needs uv.
#
# Inside a task kfp reads and writes files only, so what it needs to talk to a cluster stays out (kfp-needs.txt); so does what only the launcher needs.
set -euo pipefail
cd "$(dirname "$0")"
lock() {
    local out=$1 platform=$2
    shift 2
    uv pip compile --quiet --python-version 3.11 --python-platform "x86_64-manylinux_$platform" --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --constraints ../../requirements.lock --excludes kfp-needs.txt \
        --output-file "$out" ../../pyproject.toml "$@"
}
lock light.lock 2_28 --excludes launcher-needs.txt
lock cpu.lock 2_28 --extra train
lock gpu.lock 2_28 --extra train --excludes without-tensorflow-cpu.txt gpu.in
# libtpu asks for a newer C library.
lock tpu.lock 2_31 --extra train --excludes without-tensorflow-cpu.txt tpu.in
