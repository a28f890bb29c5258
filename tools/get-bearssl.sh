#!/bin/sh
# tools/get-bearssl.sh COMPILER [FLAG...]: makes sure that a program that uses BearSSL compiles and links, such as
#
#     tools/get-bearssl.sh cc -I/opt/bearssl/include -L/opt/bearssl/lib -lbearssl
#
# Where it does not, and BEARSSL_PREFIX is not set, the system's package is installed; so is libc's, which a minimal
# system's compiler lacks.
set -eu

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

works() {
    printf '%s\n' "$1" 'int main(void) { return 0; }' >"$directory/try.c"
    shift
    # The compiler may be several words: "ccache gcc".
    $compiler "$directory/try.c" -o "$directory/try" "$@" 2>/dev/null
}

give_up() {
    echo "aiocosmos: $*" >&2
    exit 1
}

compiler=$1
install=$(dirname "$0")/apt-install.sh
shift
works '#include <stdlib.h>' ||
    { command -v "${compiler%% *}" >/dev/null && "$install" libc6-dev && works '#include <stdlib.h>'; } ||
    give_up "no working C compiler: \"$compiler\" (set CC, or install gcc and libc6-dev)"
works '#include <bearssl.h>' "$@" && exit
[ -z "${BEARSSL_PREFIX:-}" ] ||
    give_up "no BearSSL in $BEARSSL_PREFIX: it needs include/bearssl.h and lib/libbearssl.a (or .so)"
"$install" libbearssl-dev && works '#include <bearssl.h>' "$@" ||
    give_up "BearSSL is missing: install libbearssl-dev, or build https://bearssl.org and set BEARSSL_PREFIX"
