#!/bin/sh
# Installs what some integration tests use and no Python package carries: PgBouncer and the MariaDB
# server. Those tests are skipped, visibly, where one is missing. Debian or Ubuntu, as root.
set -eu
PATH="$PATH:/usr/sbin"
missing=""
command -v pgbouncer >/dev/null || missing="pgbouncer"
command -v mariadbd >/dev/null || missing="$missing mariadb-server"
[ -z "$missing" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages, not one
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
