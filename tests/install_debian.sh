#!/bin/sh
# Installs what some integration tests use and no Python package carries: PgBouncer.
# Those tests are skipped, visibly, where it is missing. Debian or Ubuntu, as root.
set -eu
command -v pgbouncer >/dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends pgbouncer
