#!/bin/sh
# Installs what `make test` needs and this machine does not have: a C compiler for the race detector, and the real servers of
# the integration tests. It needs Debian's apt-get, as root or with sudo. Without that it says what is not installed, and
# that tests are skipped.
set -eu

missing=""
need() { # need COMMAND PACKAGE...
	command=$1
	shift
	command -v "$command" >/dev/null 2>&1 || missing="$missing $*"
}
PATH=$PATH:/usr/sbin:/usr/local/sbin
need gcc gcc libc6-dev
need redis-server redis-server
need mariadbd mariadb-server
if ! command -v initdb >/dev/null 2>&1 && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
	missing="$missing postgresql"
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "not installed:$missing; there is no apt-get here, so tests that need them are skipped"
	exit 0
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
		echo "not installed:$missing; apt-get needs root or sudo, so tests that need them are skipped"
		exit 0
	fi
	sudo="sudo"
fi
echo "installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
