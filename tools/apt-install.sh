#!/bin/sh
# tools/apt-install.sh PACKAGE...: installs Debian or Ubuntu packages, as root or through sudo. Where there is no way to
# do that it fails without a word: the caller knows what to say.
set -eu

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
command -v apt-get >/dev/null && command -v ${as_root:-env} >/dev/null || exit 1

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >/dev/null
}

echo "installing $*" >&2
apt update || true # One source out of reach must not stop what the others have.
apt install -y --no-install-recommends "$@"
