#!/usr/bin/env bash
# A stand-in for the image python:3.11-slim, from Debian's own packages: for a machine whose Docker engine reaches no registry of
# images. It trusts whom this machine trusts. Not the real one, and never to be pushed.
#
#   infra/images/base.sh NAME     (needs root, mmdebstrap and a Docker engine)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' bookworm "$folder/root.tar"
"${DOCKER:-docker}" import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8' "$folder/root.tar" "$1" >/dev/null
