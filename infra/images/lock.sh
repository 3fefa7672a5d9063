#!/usr/bin/env bash
# Writes the images' lock files from pyproject.toml, with the versions of requirements.lock.
# `make lock` calls it. Requires uv.
#
# Inside a step kfp only reads and writes files, so the packages with which it compiles pipelines
# and connects to a cluster are excluded (kfp-needs.txt). The light image also lacks the packages
# that only the launcher needs (launcher-needs.txt). A step of it starts JobSets on a cluster, which
# no training image does (jobset-needs.txt).
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
lock cpu.lock 2_28 --excludes jobset-needs.txt --extra cpu
lock gpu.lock 2_28 --excludes jobset-needs.txt --extra cpu --excludes without-tensorflow-cpu.txt gpu.in
# libtpu requires a newer C library.
lock tpu.lock 2_31 --excludes jobset-needs.txt --extra cpu --excludes without-tensorflow-cpu.txt tpu.in
