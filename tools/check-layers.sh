#!/bin/sh
# tools/check-layers.sh [HEADER]: checks that aiocosmos.h is layered as it says. Each layer is a test; so is the map.
#
# - The map in the head comment (lines that begin with a tag: ">>json ...") and the banners ("MARK: - JSON  >>json")
#   name the same layers in the order of the design.
# - What a layer defines is public or has the prefix of the layer: aioc_json_, AIOC_JSON_. An operation is an op,
#   memory mem, what resolves names dns, a position pos, and where a layer's name is of many, its prefix is of one: a
#   val, a row, a range, a page, a query, a change. AIOC_COLD and AIOC_NOINLINE say how anything is compiled.
# - A layer uses none but those that its banner names ("May call: memory, json." or "May call: all above."), and these
#   are above it. What is not a layer, such as libc, may be named too.
# - No layer calls a public function.
set -u

exec awk '
BEGIN {
    design = " platform reactor memory text json auth resolve tls http stream pool " \
             "protocol account request operation plan values rows position keys ranges " \
             "pages queries changes many batch bulk offers client"
    count = split(design, layers, " ")
    for (i = 1; i <= count; i++) position[layers[i]] = i
    prefix["operation"] = "op"
    prefix["memory"] = "mem"
    prefix["resolve"] = "dns"
    prefix["keys"] = "key"
    prefix["ranges"] = "range"
    prefix["pages"] = "page"
    prefix["queries"] = "query"
    prefix["changes"] = "change"
    prefix["values"] = "val"
    prefix["rows"] = "row"
    prefix["position"] = "pos"
    prefix["offers"] = "offer"
}

function complain(about, text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad[about] = 1
}

# The line without comments, and with nothing in its strings.
function code_of(line,    code, found) {
    while (line != "") {
        if (in_comment) {
            if (!index(line, "*/")) break
            line = substr(line, index(line, "*/") + 2)
            in_comment = 0
        } else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) {
            code = code substr(line, 1, RSTART - 1)
            found = substr(line, RSTART, 2)
            line = substr(line, RSTART + RLENGTH)
            if (found == "//") break
            if (found == "/*") in_comment = 1
            else code = code "\"\""
        } else {
            code = code line
            break
        }
    }
    return code
}

function tag_in(line) {
    match(line, />>[a-z]+/)
    return substr(line, RSTART + 2, RLENGTH - 2)
}

# What the banner allows.
function read_banner(text,    words, n, i) {
    if (!match(text, /May call: [^.]*\./)) {
        complain(layer, "the banner does not say what " layer " may call")
        return
    }
    text = substr(text, RSTART + 10, RLENGTH - 11)
    if (text ~ /all above/) {
        for (i = 1; i < position[layer]; i++) allowed[layer, layers[i]] = 1
    }
    n = split(text, words, /[ *,;]+/)
    for (i = 1; i <= n; i++) {
        if (!(words[i] in position)) continue
        allowed[layer, words[i]] = 1
        if (position[words[i]] >= position[layer]) complain(layer, words[i] " is not above " layer)
    }
}

# The name that a line at the margin defines, if it does.
function defined_in(code) {
    if (code ~ /^#[ ]*define /) sub(/^#[ ]*define +/, "", code)
    else if (match(code, /^(typedef )?(struct|union|enum) [A-Za-z0-9_]+ *\{/)) sub(/^(typedef )?[a-z]+ /, "", code)
    else if (code !~ /^[A-Za-z_]/ || code ~ /^(typedef|extern)/ || !match(code, /[A-Za-z0-9_]+(\(|\[| =)/)) return ""
    else code = substr(code, RSTART)
    match(code, /^[A-Za-z0-9_]+/)
    return substr(code, 1, RLENGTH)
}

function check_definition(name) {
    if (name == "" || name ~ /^(aiocosmos_|AIOCOSMOS_|__|AIOC_(COLD|NOINLINE)$)/ ||
        name ~ /^[A-Z_]+$/ && name !~ /^AIOC_/) return
    if (tolower(name) !~ "^aioc_" (layer in prefix ? prefix[layer] : layer) "(_|$)")
        complain(layer, name " is defined in " layer)
}

function check_uses(code,    used) {
    while (match(code, /(aioc|AIOC)_[A-Za-z0-9]+/)) {
        used = tolower(substr(code, RSTART + 5, RLENGTH - 5))
        for (long in prefix) if (used == prefix[long]) used = long
        if (used != layer && used in position && !((layer, used) in allowed)) {
            complain(layer, layer " uses " used ": " substr(code, RSTART))
        }
        code = substr(code, RSTART + RLENGTH)
    }
}

/^#[ ]*ifdef AIOCOSMOS_IMPLEMENTATION/ { implementation = 1 }
!implementation && /^[ *]*>>[a-z]+/ { map = map " " tag_in($0) }
implementation && /MARK: - .*>>[a-z]+/ {
    layer = tag_in($0)
    banners = banners " " layer
    if (!(layer in position)) complain("map", "the design has no layer " layer)
    banner = " "
}
{ code = code_of($0) }
layer == "" { next }
banner != "" {
    banner = banner $0 " "
    if (in_comment) next
    read_banner(banner)
    banner = ""
}
{
    name = defined_in(code)
    check_definition(name)
    check_uses(code)
    if (name !~ /^aiocosmos_/ && match(code, /aiocosmos_[a-z0-9_]+\(/)) {
        complain(layer, layer " calls " substr(code, RSTART, RLENGTH - 1))
    }
}

END {
    if (map != design) complain("map", "the map is" map ", not" design)
    if (banners != design) complain("map", "the banners are" banners ", not" design)
    total = split("map" banners, tested, " ")
    for (i = 1; i <= total; i++) failed += bad[tested[i]]
    printf "layers: %d passed, %d failed\n", total - failed, failed
    exit failed > 0
}
' "${1:-aiocosmos.h}"
