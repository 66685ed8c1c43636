#!/bin/sh
# Make the work pool if it is missing, then deploy all of prefect.yaml. Safe to repeat; `make deploy` runs it.
set -eu
cd "$(dirname "$0")/.."
pool=local-process

if ! prefect work-pool inspect "$pool" >/dev/null 2>&1; then
  prefect work-pool create "$pool" --type process --base-job-template deployments/pools/process.json
fi
prefect --no-prompt deploy --prefect-file deployments/prefect.yaml --all
