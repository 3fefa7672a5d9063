#!/usr/bin/env bash
# Builds one image, and checks that it contains all that its steps import:
#
#   infra/images/build.sh light|cpu|gpu|tpu [NAME]     (default: the name in the compiled pipeline)
#
# Reads BASE_IMAGE, DOCKER, DOCKER_BUILD_OPTIONS, IMAGE_USER and PYTHON from the environment. Prints
# the image's name and size.
set -euo pipefail
cd "$(dirname "$0")/../.."
lock=$1
python=${PYTHON:-.venv/bin/python}
docker=${DOCKER:-docker}
digest=$("$python" -c 'from pipelines.definitions import fingerprint; print(fingerprint.version(fingerprint.IN_IMAGES))')
case $lock in
    light) default=$("$python" -c 'import components; print(components.LIGHT_IMAGE)') ;;
    *) default=$("$python" -c 'import components; print(components.TRAINING_IMAGE)') ;;
esac
name=${2:-$default}
user=${IMAGE_USER:-1000}
gpus=$([ "$lock" = gpu ] && echo all || true)
# shellcheck disable=SC2086  # must be split into words
DOCKER_BUILDKIT=1 "$docker" build ${DOCKER_BUILD_OPTIONS:-} --file infra/images/Dockerfile --build-arg "LOCK=$lock" \
    --build-arg "SOURCE_DIGEST=$digest" --build-arg "IMAGE_USER=$user" --build-arg "NVIDIA_DEVICES=$gpus" ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} --tag "$name" .
check=(python3 /opt/foldline/smoke.py)
if [ "$user" = 0 ]; then check+=(--root); fi
"$docker" run --rm "$name" "${check[@]}"
echo "$name: $("$docker" image inspect --format '{{.Size}}' "$name" | awk '{ printf "%.0f MB", $1 / 1e6 }')"
