#!/usr/bin/env bash
# `make container-test`: builds the light and the CPU image, and runs a complete pipeline in them,
# every step in its own container.
#
# Uses a running Docker engine, or starts one (as root, with Debian's docker.io) that keeps its data
# in a temporary folder. Exit status 75, which pytest does not use: no engine can be started here.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Debian's client has BuildKit; others may lack it.
docker=$(command -v /usr/bin/docker docker | head -n 1 || true)
if [ -z "$docker" ]; then
    echo "container-test: no docker command found: apt-get install docker.io" >&2
    exit 75
fi
export DOCKER=$docker

engine="" folder="" planted=(planted.env components/.planted.env components/planted.json trainer/planted.pem)
finish() {
    rm -f "${planted[@]}"
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
        # The engine leaves the network namespace of its last container mounted.
        umount "$folder"/exec/netns/* 2>/dev/null || true
        rm -rf "$folder" || true
    fi
}
trap finish EXIT

if ! "$docker" info >/dev/null 2>&1; then
    folder=$(mktemp -d)
    dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "unix://$folder/socket" \
        --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs >"$folder/log" 2>&1 &
    engine=$!
    export DOCKER_HOST="unix://$folder/socket"
    for _ in $(seq 100); do
        if "$docker" info >/dev/null 2>&1; then break; fi
        if ! kill -0 "$engine" 2>/dev/null; then break; fi
        sleep 0.2
    done
    if ! "$docker" info >/dev/null 2>&1; then
        echo "container-test: no Docker engine answers, and none can be started here:" >&2
        tail -n 5 "$folder/log" >&2
        exit 75
    fi
fi

if [ -z "${BASE_IMAGE:-}" ] && ! timeout 60 "$docker" pull --quiet python:3.11-slim >/dev/null 2>&1; then
    export BASE_IMAGE=foldline-stand-in:3.11
    echo "cannot pull images: building a stand-in for python:3.11-slim from Debian's packages"
    infra/images/base.sh "$BASE_IMAGE"
fi

# Packages are downloaded over this machine's own network.
export DOCKER_BUILD_OPTIONS="--network=host --quiet ${DOCKER_BUILD_OPTIONS:-}"
# Plant secrets in the environment and next to the sources: they must not get into an image.
echo planted-secret | tee "${planted[@]}" >/dev/null
FOLDLINE_KFP_TOKEN=planted-secret KAGGLE_API_TOKEN=planted-secret infra/images/build.sh light
FOLDLINE_KFP_TOKEN=planted-secret KAGGLE_API_TOKEN=planted-secret infra/images/build.sh cpu
rm -f "${planted[@]}"
FOLDLINE_CONTAINER_TEST=1 "${PYTHON:-.venv/bin/python}" -m pytest -m acceptance tests/e2e/test_containers.py
