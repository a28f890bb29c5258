#!/bin/sh
# tools/check-includes.sh: checks that the files of the emulator and of the tool call in one direction. Each directory
# has an order, written here, and each file is a test: it may include only headers of those before it, and its own.
set -u
cd "$(dirname "$0")/.."

awk '
function order(directory, names,    list, n, i) {
    n = split(names, list, / +/)
    for (i = 1; i <= n; i++) if (list[i] != "") place[directory list[i]] = ++places
}
function complain(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad = 1
}
function finish() {
    if (file != "") tests++
    failed += bad
    bad = 0
}
BEGIN {
    order("tools/emulator/", "aiocosmos_emulator base")
    order("tools/emulator/sql/", "sql value regex geometry functions parse bind shape run plan")
    order("tools/emulator/", "text clock model list resource journal changes range index store kind request exchange " \
          "keep auth fault patch policy bill metrics plan scope lookup page held query listing script feed item " \
          "batch definition users meta explorer control answer routes restore head http network core unit pages tls " \
          "data server main program")
    order("tools/cli/", "tool interrupt io blocks input values csv flight selected columns state explain request " \
          "same rows scan transfer profile account throughput databases resources describe items batch query export " \
          "remove copy processor changes import editor shell help completion main")
}
FNR == 1 {
    finish()
    file = FILENAME
    sub(/\.[ch]$/, "", file)
    directory = file
    sub(/[^\/]*$/, "", directory)
    if (!(file in place)) complain("the order has no such file")
}
/^#include "/ {
    split($0, part, "\"")
    if (part[2] == "aiocosmos.h" || part[2] ~ /^(examples|build)\//) next
    other = directory part[2]
    while (sub(/[^\/]+\/\.\.\//, "", other)) continue
    if (other ~ /\.c$/ && file !~ /^tools\/emulator\/(unit|program)$/) complain("a .c file is included")
    sub(/\.[ch]$/, "", other)
    if (!(other in place)) complain(other " is in no order")
    else if (place[other] > place[file]) complain(other " is not below " file)
}
END {
    finish()
    printf "includes: %d passed, %d failed\n", tests - failed, failed
    exit failed > 0
}
' tools/emulator/*.[ch] tools/emulator/sql/*.[ch] tools/cli/*.[ch]
