#!/usr/bin/env python3
"""Makes one HTML page of the public half of aiocosmos.h: tools/docs.py HEADER >PAGE

The header is the reference; this shows it with anchors, links, a search field and a cheat sheet, which is what prints.
Nothing is written twice: each text is a comment of the header, each heading one of its MARKs. A public name that this
does not find is an error, so that the page has them all."""
import html
import re
import sys
import textwrap

NAME = re.compile(r"\b(aiocosmos_\w+|AIOCOSMOS_\w+)\b")


class Declaration:
    """A run of code without an empty line, with the comment before it."""

    def __init__(self, comment, code):
        self.comment, self.code = comment, code
        self.names = names_of(code)


def strip_comments(code):
    return re.sub(r"/\*.*?\*/", "", code, flags=re.S)


def names_of(code):
    """What the code declares: macros, functions, types, enumerators."""
    bare = strip_comments(code)
    found = re.findall(r"^#define (AIOCOSMOS_\w+|aiocosmos_\w+(?=\())", bare, re.M)
    bare = re.sub(r"^#define (?:[^\n]*\\\n)*[^\n]*", "", bare, flags=re.M)
    found += re.findall(r"^AIOCOSMOS_API[^;]*?\b(aiocosmos_\w+)\(", bare, re.M)
    found += re.findall(r"^typedef[^;{]*\(\*(aiocosmos_\w+)\)", bare, re.M)
    found += re.findall(r"(?:^|\n)\} (aiocosmos_\w+);", bare)
    found += re.findall(r"^typedef (?:struct|enum) \w+ (?:\{[^\n]*\} )?(aiocosmos_\w+);", bare, re.M)
    found += re.findall(r"^struct (aiocosmos_\w+) \{", bare, re.M)
    for body in re.findall(r"enum(?: \w+)? \{(.*?)\}", bare, re.S):
        found += re.findall(r"\b(AIOCOSMOS_\w+)\b(?=\s*(?:=[^,]*)?(?:,|$))", body.strip())
    places = [re.search(rf"\b{name}\b", strip_comments(code)).start() for name in found]
    return [name for _, name in sorted(dict.fromkeys(zip(places, found)))]


def sections_of(text):
    """[(heading, [Declaration or str])] of the public half, and the head comment."""
    head, rest = text.split("#ifndef AIOCOSMOS_H\n", 1)
    rest = rest.split("#endif /* AIOCOSMOS_H */", 1)[0]
    sections, comment, code, in_comment = [], [], [], False

    def flush():
        nonlocal comment, code
        if not sections:
            pass
        elif code:
            sections[-1][1].append(Declaration("\n".join(comment), "\n".join(code)))
        elif comment:
            sections[-1][1].append("\n".join(comment))
        comment, code = [], []

    for line in rest.splitlines():
        if "MARK: - " in line:
            comment, code = [], []
            sections.append((line.split("MARK: - ", 1)[1].strip(), []))
        elif line.startswith(("/*----", " *----", "#if", "#endif", "#else", "#  ", "extern", "#include")) or line == "}":
            continue
        elif in_comment or (line.startswith("/*") and not depth(code)):
            if not in_comment and code:
                flush()
            comment.append(line)
            in_comment = "*/" not in line
        elif line.strip():
            code.append(line)
        elif not depth(code):
            flush()
        else:
            code.append("")
    flush()
    return head, sections


def depth(code):
    bare = strip_comments("\n".join(code))
    return bare.count("{") - bare.count("}")


def prose(comment, link):
    """A comment as paragraphs; what is indented stands as it is."""
    return "\n".join(f"<pre>{link(html.escape(text))}</pre>" if is_code else f"<p>{link(html.escape(text))}</p>"
                     for is_code, text in runs_of(comment))


def runs_of(comment):
    """[(is_code, text)]: code is what is indented, with the empty lines in it."""
    lines = [re.sub(r"^\s?(/\*|\*/| ?\*) ?", "", line).replace("*/", "").rstrip() for line in comment.splitlines()]
    runs, is_behind_empty = [], True
    for line in lines:
        is_code = line.startswith("    ")
        if line and runs and runs[-1][0] == is_code and (is_code or not is_behind_empty):
            runs[-1][1].extend([""] * is_behind_empty + [line])
        elif line:
            runs.append((is_code, [line]))
        is_behind_empty = not line
    return [(is_code, textwrap.dedent("\n".join(run))) for is_code, run in runs]


def introduction(head):
    """The parts of the head comment that are for all readers. The contract stands on the cheat sheet."""
    parts = re.split(r"\n \*\n(?= \* [A-Z][A-Z ]{2})|\n \*=+\*/", head)
    return [part.split("===\n")[-1] for part in parts if not re.match(r" \* THE (CONTRACT|LAYERS)", part) and part.strip()]


def table_of(item, link):
    """A comment that has a table, for the cheat sheet: (whether it is wide, HTML); or None."""
    comment = item if isinstance(item, str) else item.comment
    widths = [len(line) for is_code, text in runs_of(comment) if is_code for line in text.splitlines()]
    if len(widths) < 10:
        return None
    named = re.match(r"/\* (THE [A-Z ]+)[.:,]", comment)
    heading = named[1].capitalize() if named else item.names[0]
    text = prose(comment.replace(named[0], "/*", 1) if named else comment, link)
    is_wide = max(widths) > 70
    return is_wide, f'<section class="{"wide " * is_wide}table"><h3>{link(heading)}</h3>{text}</section>'


def code_html(code, link):
    code = html.escape(code.replace("AIOCOSMOS_API ", ""), quote=False)
    return link(re.sub(r"(/\*.*?\*/)", r"<i>\1</i>", code, flags=re.S))


def slug(text):
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def members_of(body):
    members = []
    for statement in body.split(";"):
        hook = re.search(r"\(\*(\w+)\)", statement)
        if hook:
            members.append(hook[1] + "()")
        else:
            members += re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", statement.strip())
    return members


def summary(declaration):
    """The cheat sheet's lines of a declaration: functions as they are, structs and enums by their members' names."""
    bare = strip_comments(declaration.code)
    constants = re.findall(r"^#define (AIOCOSMOS_\w+) ", bare, re.M)
    if constants:
        yield ", ".join(constants)
    for macro in re.findall(r"^#define (aiocosmos_\w+\([^)]*\))", bare, re.M):
        yield macro
    for head, body, tail in re.findall(r"^(?:typedef )?(struct \w+|enum(?: \w+)?) \{(.*?)\}([^;]*);", bare, re.M | re.S):
        name = tail.strip() or head.split()[-1]
        members = re.findall(r"\b(AIOCOSMOS_\w+)", body) if head.startswith("enum") else members_of(body)
        yield f"{name}: {', '.join(members)}"
    for part in re.findall(r"^AIOCOSMOS_API ([^;]*);", bare, re.M):
        yield re.sub(r"\s+", " ", part).strip()


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    head, sections = sections_of(text)
    declarations = [item for _, items in sections for item in items if isinstance(item, Declaration)]
    owner = {}
    for item in declarations:
        for name in item.names:  # a struct may be named before it is defined
            if name not in owner or f"struct {name} {{" in item.code:
                owner[name] = item
    for item in declarations:
        item.names = [name for name in item.names if owner[name] is item]
    where = {name: item.names[0] for item in declarations for name in item.names}
    public = text.split("#ifndef AIOCOSMOS_H\n", 1)[1].split("#endif /* AIOCOSMOS_H */", 1)[0]
    known = set(where) | {"AIOCOSMOS_API", "AIOCOSMOS_STATIC", "AIOCOSMOS_IMPLEMENTATION", "AIOCOSMOS_H"}
    missing = sorted(set(re.findall(r"\baiocosmos_\w+(?=\()", strip_comments(public))) - known)
    missing += sorted(set(re.findall(r"^#define (AIOCOSMOS_\w+)", public, re.M)) - known)
    if missing:
        sys.exit("docs: found no declaration of " + ", ".join(missing))

    def link(escaped):
        return NAME.sub(lambda m: f'<a href="#{where[m[1]]}">{m[1]}</a>' if m[1] in where else m[1], escaped)

    version = re.search(r"aiocosmos\.h (\d[\d.]*\d)", head)[1]
    menu, body, sheet, tables = [], [], [], {False: [], True: []}
    menu.append('<a href="#start">Start here</a>')
    body.append('<h2 id="start">Start here</h2>')
    body += [f'<div class="text">{prose(part, link)}</div>' for part in introduction(head)]
    for heading, items in sections:
        at = slug(heading)
        menu.append(f'<a href="#{at}">{html.escape(heading.split(":")[0])}</a>')
        body.append(f'<h2 id="{at}">{html.escape(heading)}</h2>')
        lines = []
        for item in items:
            table = table_of(item, link)
            if table:
                tables[table[0]].append(table[1])
            if isinstance(item, str):
                body.append(f'<div class="text">{prose(item, link)}</div>')
                continue
            anchors = "".join(f'<span id="{name}"></span>' for name in item.names[1:])
            title = item.names[0] if item.names else at
            shown = [name for name in item.names if name.islower()] or item.names[:1]
            body.append(f'<article id="{title}" data-names="{" ".join(item.names)}">{anchors}'
                        f'<h3>{", ".join(f"<a href=#{name}>{name}</a>" for name in shown)}</h3>{prose(item.comment, link)}'
                        f"<pre>{code_html(item.code, link)}</pre></article>")
            lines += [f"<li>{link(html.escape(line))}</li>" for line in summary(item)]
        if lines:
            sheet.append(f"<section><h3>{html.escape(heading)}</h3><ul>{''.join(lines)}</ul></section>")
    contract = head.split(" * THE CONTRACT\n", 1)[1].split(" *\n", 1)[0]
    rules = re.split(r"\n \*  \d\. ", "\n" + contract)[1:]
    rules = [link(html.escape(re.sub(r"\s+\*?\s*", " ", rule.replace("\n *", "\n")).strip())) for rule in rules]
    print(PAGE.format(version=version, menu="\n".join(menu), body="\n".join(body), sheet="\n".join(sheet + tables[False] + tables[True]),
                      contract="".join(f"<li>{rule}</li>" for rule in rules), style=STYLE, script=SCRIPT))


STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --dim: #5c6670; --paper: #fff; --box: #f4f5f7; --line: #d9dde2;
        --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
    :root { --ink: #e4e7ea; --dim: #9aa5b0; --paper: #15181b; --box: #1f2327; --line: #343a40; --link: #7db8f0; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
nav { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .3em 1em; height: 5.6em; padding: .6em 1.2em; align-items: center;
      background: var(--paper); border-bottom: 1px solid var(--line); z-index: 1; }
nav b { margin-right: .5em; }
nav input { flex: 1 1 12em; max-width: 26em; font: inherit; padding: .25em .6em; color: inherit;
            background: var(--box); border: 1px solid var(--line); border-radius: .4em; }
nav div { flex-basis: 100%; display: flex; gap: 0 1em; font-size: .9em; white-space: nowrap; overflow-x: auto; }
main { max-width: 62em; margin: 0 auto; padding: 0 1.2em 4em; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
h2 { margin: 2em 0 .5em; border-bottom: 1px solid var(--line); }
h3 { font: 600 1em ui-monospace, monospace; margin: 0 0 .4em; overflow-wrap: anywhere; }
article, .text { margin: 1.2em 0; }
[id] { scroll-margin-top: 6.5rem; }
p { margin: .4em 0; max-width: 44em; }
pre { margin: .5em 0; padding: .7em .9em; overflow-x: auto; font: 13px/1.45 ui-monospace, monospace;
      background: var(--box); border: 1px solid var(--line); border-radius: .4em; }
pre i { color: var(--dim); font-style: normal; }
article:target { outline: 2px solid var(--link); outline-offset: .5em; border-radius: .2em; }
#sheet ul { list-style: none; padding: 0; margin: 0 0 1em; font: 12px/1.45 ui-monospace, monospace; }
#sheet h3 { font-family: inherit; }
#sheet ul li { padding-left: 2em; text-indent: -2em; overflow-wrap: anywhere; }
.gone { display: none; }
@media (max-width: 40em) { nav b { display: none; } }
@media print {
    @page { margin: 10mm; }
    body { font-size: 7pt; color: #000; background: #fff; }
    nav, #reference { display: none; }
    main { max-width: none; padding: 0; }
    a { color: inherit; }
    #sheet { columns: 2; column-gap: 6mm; }
    #sheet h2 { margin: 0 0 1mm; font-size: 10pt; }
    #sheet h3 { margin: 1.5mm 0 .5mm; font: 600 8pt sans-serif; break-after: avoid; }
    #sheet ul, #sheet ol { margin: 0; font-size: 6pt; line-height: 1.3; }
    #sheet li { break-inside: avoid; }
    #sheet .table { break-inside: avoid; }
    #sheet .wide { column-span: all; }
    #sheet .table p { max-width: none; margin: 0; font-size: 6pt; }
    #sheet pre { border: 0; padding: 0; margin: 1mm 0; font-size: 6pt; line-height: 1.25; background: none; }
}
"""

SCRIPT = """
const field = document.getElementById('find'), all = [...document.querySelectorAll('#reference > *')];
const texts = all.map(e => e.textContent.toLowerCase());
function find() {
    const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let heading = null, shown = false;
    const close = () => heading && heading.classList.toggle('gone', words.length > 0 && !shown);
    all.forEach((e, i) => {
        if (e.tagName === 'H2') { close(); heading = e; shown = false; return; }
        const hit = words.every(w => texts[i].includes(w));
        e.classList.toggle('gone', !hit);
        shown = shown || hit;
    });
    close();
    document.getElementById('none').classList.toggle('gone', all.some(e => !e.classList.contains('gone')));
    document.getElementById('sheet').classList.toggle('gone', words.length > 0);
}
field.addEventListener('input', find);
addEventListener('hashchange', () => { if (field.value) { field.value = ''; find(); location.replace(location.hash); } });
addEventListener('keydown', e => {
    if (e.key === '/' && document.activeElement !== field) { e.preventDefault(); field.focus(); }
    if (e.key === 'Escape') { field.value = ''; find(); field.blur(); }
});
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>aiocosmos {version}</title>
<style>{style}</style>
</head>
<body>
<nav><b>aiocosmos {version}</b><input id="find" type="search" placeholder="Search: a name or any words (press /)"
aria-label="Search"><div><a href="#sheet">Cheat sheet</a>
{menu}</div></nav>
<main>
<div id="sheet"><h2>aiocosmos {version}: cheat sheet</h2>
<section><h3>The contract</h3><ol>{contract}</ol></section>
{sheet}</div>
<p id="none" class="gone">Nothing has all these words.</p>
<div id="reference">
{body}
</div>
</main>
<script>{script}</script>
</body>
</html>"""

if __name__ == "__main__":
    main()
