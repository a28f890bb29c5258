# embed.awk: a text as C: an array of its lines, none longer than a string may be in C99. "??=" is a trigraph.
BEGIN { print "static const char *const emu_explorer_page[] = {" }
{
    gsub(/\\/, "&&")
    gsub(/["?]/, "\\\\&")
    print "\"" $0 "\\n\","
}
END { print "};" }
