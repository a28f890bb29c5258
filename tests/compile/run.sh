#!/bin/sh
# Checks what aiocosmos.h promises about compilers: it compiles without a warning as each standard of C and C++, can be
# included twice and in many units, and shows the linker nothing but aiocosmos_*. And the README's programs compile.
# BEARSSL_CFLAGS and BEARSSL_LIBS (-lbearssl) say where BearSSL is. OPTIMISED: an object of the implementation that this
# compiler has optimised already, with the same warnings, which are in OPTIMISED.says; none: it is compiled here.
set -u

warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wundef -Werror'
libraries=${BEARSSL_LIBS:--lbearssl}
jobs=$(nproc)
count=0 skipped=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# check NAME COMMAND...: starts a check, of which $jobs run at a time.
check() {
    count=$((count + 1))
    run_check "$count" "$@" &
    [ $((count % jobs)) -ne 0 ] || wait
}

run_check() {
    number=$1 name=$2
    shift 2
    "$@" >"$out/$number.log" 2>&1 ||
        { head -n 20 "$out/$number.log"; echo "compile: failed: $name"; } >"$out/$number.failed"
}

skip() {
    skipped=$((skipped + 1))
    echo "compile: skipped: $1"
}

has() {
    command -v "$1" >/dev/null
}

language() {
    case $1 in
    *++*) echo c++ ;;
    *) echo c ;;
    esac
}

# supports COMPILER STANDARD [FLAG...]
supports() {
    compiler=$1 standard=$2
    shift 2
    # A compiler for 32 bits may lack the system's headers for them.
    printf '#include <%s>\n' stdint.h errno.h sys/socket.h |
        $compiler -x "$(language "$standard")" -std="$standard" "$@" -fsyntax-only - 2>/dev/null
}

# compile COMPILER STANDARD OBJECT [FLAG...]: header.c
compile() {
    compiler=$1 standard=$2 object=$3
    shift 3
    $compiler -x "$(language "$standard")" -std="$standard" $warnings -I. ${BEARSSL_CFLAGS:-} "$@" \
        -c tests/compile/header.c -o "$out/$object"
}

# How a compiler only checks, where it says all that it finds before it makes an object: clang always does.
checking() {
    case $1 in
    clang*) echo -fsyntax-only ;;
    esac
}

# check_standards COMPILER STANDARD...: both halves of the header. Of gcc's first standard an object stays, to be
# linked; what the others find wrong the compiler says before it makes one.
check_standards() {
    tool=$1 only=$(checking "$1")
    shift
    if ! has "$tool"; then
        skip "$tool: not installed"
        return
    fi
    for each; do
        if supports "$tool" "$each"; then
            check "$tool $each: declarations" compile "$tool" "$each" "$tool-$each-user.o"
            check "$tool $each: implementation" compile "$tool" "$each" "$tool-$each.o" -DAIOCOSMOS_IMPLEMENTATION $only
            only=-fsyntax-only
        else
            skip "$tool $each: not supported"
        fi
    done
}

# check_variants COMPILER: what is the same for each standard.
check_variants() {
    tool=$1 only=$(checking "$1")
    has "$tool" || return 0
    check "$tool: poll" compile "$tool" c99 "$tool-poll.o" -DAIOCOSMOS_IMPLEMENTATION -DAIOCOSMOS_NO_EPOLL $only
    check "$tool: declarations, then implementation" \
        compile "$tool" gnu99 "$tool-late.o" -DDECLARATIONS_FIRST -fno-pie $only
    check "$tool: static" compile "$tool" c99 "$tool-static.o" -DAIOCOSMOS_IMPLEMENTATION -DAIOCOSMOS_STATIC $only
    check "$tool: static, with main" \
        compile "$tool" c99 "$tool-static-main.o" -DAIOCOSMOS_IMPLEMENTATION -DAIOCOSMOS_STATIC -DWITH_MAIN $only
    if supports "$tool" c99 -m32; then
        check "$tool: 32 bits" compile "$tool" c99 "$tool-32.o" -DAIOCOSMOS_IMPLEMENTATION -m32 $only
    else
        skip "$tool: 32 bits: not supported"
    fi
}

# link_and_run LINKER OBJECT OBJECT
link_and_run() {
    $1 "$out/$2" "$out/$3" $libraries -o "$out/$2-$3" && "$out/$2-$3"
}

# only PATTERN OBJECT [FLAG]: no symbol that nm finds, as "type name", is another.
only() {
    ! nm ${3:-} --defined-only "$out/$2" | cut -d ' ' -f 2- | grep -v "$1"
}

# says_nothing FILE
says_nothing() {
    cat "$1" && [ ! -s "$1" ]
}

# The headers that the declarations include: those on the second level of the compiler's list.
check_includes() {
    found=$($1 -std=c99 -I. -H -fsyntax-only tests/compile/header.c 2>&1 | sed -n 's|^\.\. .*/||p' | sort | xargs)
    echo "$found"
    [ "$found" = 'stdbool.h stddef.h stdint.h' ]
}

# is_end_of PART FILE
is_end_of() {
    tail -n "$(wc -l <"$1")" "$2" | diff "$1" -
}

cc=$(has gcc && echo gcc || echo cc)
check_standards $cc c99 c11 c17 c2x
check_standards g++ c++11 c++17 c++20 c++2b
check_standards clang c99 c11 c17 c2x
check_standards clang++ c++11 c++17 c++20 c++2b
check_variants $cc
if [ -n "${OPTIMISED:-}" ]; then
    cp "$OPTIMISED" "$out/$cc-optimised.o"
    check "$cc: optimised" says_nothing "$OPTIMISED.says"
else
    check "$cc: optimised" compile $cc c99 $cc-optimised.o -DAIOCOSMOS_IMPLEMENTATION -O2
fi
check_variants clang
wait

check 'a C unit uses a C unit' link_and_run $cc $cc-c99-user.o $cc-c99.o
check 'two static units' link_and_run $cc $cc-static-main.o $cc-static.o
if has g++; then
    check 'g++: {0}' compile g++ c++11 g++-zero.o -DWITH_ZERO -Wno-missing-field-initializers
    check 'a C++ unit uses a C unit' link_and_run g++ g++-c++11-user.o $cc-c99.o
    check 'a C unit uses a C++ unit' link_and_run g++ $cc-c99-user.o g++-c++11.o
fi
check 'every external symbol begins with aiocosmos_' only '^. aiocosmos_' $cc-optimised.o -g
check 'no external symbol in a static unit' only '^$' $cc-static.o -g
check 'no variable that can change' only '^[^bBcCdD] ' $cc-late.o
check 'the declarations include three headers' check_includes $cc
library=${BUILD:-build}/libaiocosmos-emulator.a
if [ -f "$library" ]; then
    cp "$library" "$out/emulator.a"
    check 'the emulator shows aiocosmos_emulator_* alone' only '^$\|:$\|^. aiocosmos_emulator_' emulator.a -g
fi
! has g++ || check 'g++: the emulator'\''s header' \
    g++ -std=c++11 $warnings -I. -fsyntax-only -x c++ tools/emulator/aiocosmos_emulator.h

# The C blocks of the README that have a main() are programs, and the first block is the end of examples/hello.c, which
# is built with the implementation inside; here it is linked.
if [ -f README.md ]; then
    awk -v out="$out" '/^```/ { inside = /^```c$/; if (inside) file = out "/readme" ++n ".c"; next }
        inside { print >file }' README.md
    for program in $(grep -l 'int main' "$out"/readme*.c); do
        check "README: $(basename "$program")" \
            $cc -std=c99 $warnings -I. ${BEARSSL_CFLAGS:-} -DAIOCOSMOS_IMPLEMENTED "$program" "$out/$cc-c99.o" \
            $libraries -o "$program.program"
    done
    check "README: the first program is examples/hello.c" is_end_of "$out/readme1.c" examples/hello.c
fi
wait

cat "$out"/*.failed 2>/dev/null
failed=$(ls "$out" | grep -c '\.failed$')
[ $skipped -eq 0 ] && skipped= || skipped=", $skipped skipped"
echo "compile: $((count - failed)) passed, $failed failed$skipped"
[ "$failed" -eq 0 ]
