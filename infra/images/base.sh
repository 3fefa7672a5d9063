#!/usr/bin/env bash
# Builds a stand-in for the image python:3.11-slim from Debian's packages, for a machine whose
# Docker engine cannot reach an image registry. It trusts the same certificate authorities as this
# machine. Never push it.
#
#   infra/images/base.sh NAME     (requires root, mmdebstrap and a Docker engine)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' bookworm "$folder/root.tar"
"${DOCKER:-docker}" import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8' "$folder/root.tar" "$1" >/dev/null
