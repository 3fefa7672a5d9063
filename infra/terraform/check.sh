#!/usr/bin/env bash
# What a scanner finds in the Terraform files; a check that is skipped says there why. It looks at resources only that are made, so
# it is run twice: with the defaults, and with every option on.
#
# checkov lives in an environment of its own: it brings another parser of the same name as the tests'.
set -euo pipefail
cd "$(dirname "$0")"
root=../..
checkov=$root/.venv/checkov
if [ ! -e "$checkov/.installed" ] || [ checkov.lock -nt "$checkov/.installed" ]; then
    "$root/.venv/bin/python" -m venv --clear "$checkov"
    ../install.sh "$checkov" checkov.lock
    touch "$checkov/.installed"
fi
for variables in "" everything.tfvars; do
    "$checkov/bin/checkov" --skip-download --framework terraform --directory . --quiet --compact ${variables:+--var-file "$variables"}
done
