#!/bin/sh
# Installs what `make test` needs and this machine does not have: a C compiler for the race detector, the real servers of the
# integration tests, Chromium for those of the page, and node, npm packages and PyJWT for the interoperability tests. It needs Debian's apt-get, as root or with
# sudo. Without that it says what is not installed, and that tests are skipped.
set -eu
cd "$(dirname "$0")/.."

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
need rsync rsync
need ss iproute2
ls /usr/lib*/galera*/libgalera_smm.so >/dev/null 2>&1 || missing="$missing galera-4"
if ! command -v initdb >/dev/null 2>&1 && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
	missing="$missing postgresql"
fi
need curl curl
need node nodejs
need npm npm
need chromium chromium
has_pyjwt() { # the first python3 on the PATH need not be the one that apt-get installs packages for
	(
		IFS=:
		for dir in $PATH; do
			if [ -x "$dir/python3" ] && "$dir/python3" -c 'import jwt, cryptography' >/dev/null 2>&1; then
				exit 0
			fi
		done
		exit 1
	)
}
has_pyjwt || missing="$missing python3 python3-jwt python3-cryptography"

install_packages() {
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "not installed:$missing; there is no apt-get here, so tests that need them are skipped"
		return
	fi
	sudo=""
	if [ "$(id -u)" != 0 ]; then
		if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
			echo "not installed:$missing; apt-get needs root or sudo, so tests that need them are skipped"
			return
		fi
		sudo="sudo"
	fi
	echo "installing:$missing"
	$sudo apt-get update -qq
	# shellcheck disable=SC2086 # a list of packages
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
if [ -n "$missing" ]; then
	install_packages
fi

install_npm_packages() {
	if ! command -v npm >/dev/null 2>&1; then
		echo "npm is not installed, so tests that need its packages are skipped"
		return
	fi
	if [ node_modules/.package-lock.json -nt package-lock.json ]; then
		return # they are installed
	fi
	echo "installing: npm packages"
	npm ci --ignore-scripts --no-audit --no-fund --silent ||
		echo "npm cannot install its packages, so tests that need them are skipped"
}
(cd integration/interop/node && install_npm_packages)
(cd integration/npm && install_npm_packages)
