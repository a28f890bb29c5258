#!/bin/sh
# tools/get-yyjson.sh FOLDER COMPILER: writes to FOLDER/flags what a program needs to be compiled and linked with yyjson,
# the yardstick of `make bench` for JSON: the system's, or Debian's package, or the copy in the source of a package of
# PyPI. Where none can be had the file is empty, and the bench goes on without.
set -eu

here=$(dirname "$0")
folder=$1
compiler=$2

system() {
    printf '#include <yyjson.h>\nint main(void) { return !yyjson_version(); }\n' >"$folder/try.c"
    $compiler "$folder/try.c" -o "$folder/try" -lyyjson 2>/dev/null &&
        echo "-DBENCH_YYJSON -lyyjson" >"$folder/flags"
}

pypi() {
    pip3 download -q --no-deps --no-binary :all: -d "$folder" yyjson==4.0.6 >"$folder/log" 2>&1 &&
        tar -xzf "$folder/yyjson-4.0.6.tar.gz" -C "$folder" --strip-components=2 yyjson-4.0.6/yyjson &&
        $compiler -O2 -c "$folder/yyjson.c" -o "$folder/yyjson.o" &&
        echo "-DBENCH_YYJSON -I$folder $folder/yyjson.o" >"$folder/flags"
}

mkdir -p "$folder"
: >"$folder/flags"
system || { "$here/apt-install.sh" libyyjson-dev 2>/dev/null && system; } || pypi || echo "going on without yyjson"
