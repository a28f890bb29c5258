#!/usr/bin/env python3
"""tests/coverage.py BUILD [NAME...]: what tests that ran in BUILD, which was compiled with --coverage, have reached.

Prints lines and branches of each layer of aiocosmos.h and of each file of tools/; of those named (a layer or a file),
also every line that was not reached, or not in all ways. Fails if a layer's branches are reached to less than 95 in 100,
or if a function of a layer is never called. What cannot be reached stands with its reason in tests/coverage.txt:

    FUNCTION | PART OF A LINE | why no test gets there

takes such lines of the function out of the count, and their branches; without a part, the whole function. An entry that
takes out nothing that is not reached fails, too. Assertions are not counted: they fail only where we are wrong."""
import collections
import glob
import json
import os
import re
import subprocess
import sys

HEADER, LIST, LEAST = "aiocosmos.h", "tests/coverage.txt", 95.0


class File:
    def __init__(self):
        self.functions = {}                                 # name: [first line, last line, calls]
        self.lines = collections.Counter()                  # line: times
        self.branches = collections.defaultdict(dict)       # line: {how many branches: their times}

    def add(self, data):
        for f in data["functions"]:
            self.functions.setdefault(f["name"], [f["start_line"], f["end_line"], 0])[2] += f["execution_count"]
        here = collections.defaultdict(list)
        for line in data["lines"]:
            self.lines[line["line_number"]] += line["count"]
            here[line["line_number"]] += [b["count"] for b in line["branches"]]
        for at, counts in here.items():
            if counts:
                old = self.branches[at].get(len(counts), [0] * len(counts))
                self.branches[at][len(counts)] = [a + b for a, b in zip(old, counts)]

    def reached(self, at):
        """Branches of a line: taken, all. Builds differ in their assertions; that in which most are taken counts."""
        ways = self.branches.get(at, {})
        return max(((sum(n > 0 for n in w), len(w)) for w in ways.values()), key=lambda p: p[0] / p[1], default=(0, 0))


def read_all(build):
    files = collections.defaultdict(File)
    notes = [os.path.relpath(p, build) for p in glob.glob(build + "/**/*.gcno", recursive=True)]
    for note in notes:                                      # of what never ran there is no .gcda, and all counts are 0
        at = os.path.join(build, note)
        data = at[:-4] + "gcda"
        out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                              data if os.path.exists(data) else at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for text in out.stdout.splitlines():
            for f in json.loads(text)["files"]:
                name = os.path.relpath(f["file"])
                if name == HEADER or name.startswith("tools/"):
                    files[name].add(f)
    return files


def layers_of(source):
    """Name, first and last line of each layer."""
    starts = [(m.group(1), i) for i, line in enumerate(source, 1) if (m := re.search(r"MARK: - .*>>([a-z]+)", line))]
    ends = [i for _, i in starts[1:]] + [len(source) + 1]
    return [(name, start, end - 1) for (name, start), end in zip(starts, ends)]


class Report:
    def __init__(self, shown):
        self.files, self.entries, self.wrong, self.shown = {}, [], [], shown
        for number, line in enumerate(open(LIST), 1):
            if line.strip() and not line.startswith("#"):
                function, part, why = (p.strip() for p in line.split(" | ", 2))
                self.entries.append([function, part, number, 0])

    def left_out(self, function, text):
        for entry in self.entries:
            if entry[0] == function and entry[1] in text:
                return entry
        return None

    def part(self, name, file, source, first, last, gate):
        owner = {}
        for function, (start, end, calls) in file.functions.items():
            for at in range(start, end + 1):
                if first <= at <= last:
                    owner[at] = function
            if gate and first <= start <= last and calls == 0:
                entry = self.left_out(function, "")
                if not entry or entry[1]:
                    self.wrong.append(f"{HEADER}:{start}: no test calls {function}()")
        lines = ran = branches = taken = 0
        for at in sorted(file.lines):
            if not first <= at <= last or "AIOCOSMOS_ASSERT(" in source[at - 1]:
                continue
            text, (hit, all_) = source[at - 1], file.reached(at)
            missed = file.lines[at] == 0 or hit < all_
            entry = self.left_out(owner.get(at), text) if missed else None
            if entry:
                entry[3] += 1
                continue
            lines, ran = lines + 1, ran + (file.lines[at] > 0)
            branches, taken = branches + all_, taken + hit
            if missed and name in self.shown:
                print(f"    {at}: {hit}/{all_} {'' if file.lines[at] else 'never '}| {text.strip()}")
        if lines:
            share = 100.0 * taken / branches if branches else 100.0
            print(f"{name:34} {ran:6} of {lines:6} {100.0 * ran / lines:6.1f} {taken:7} of {branches:6} {share:6.1f}")
            if gate and share < LEAST:
                self.wrong.append(f"{name}: {share:.1f} % of the branches: at least {LEAST:.0f} are asked for")


def main():
    build, files = sys.argv[1], read_all(sys.argv[1])
    report = Report(sys.argv[2:])
    print(f"{'':34} {'lines':>16} {'%':>6} {'branches':>17} {'%':>6}")
    source = open(HEADER).read().split("\n")
    for name, first, last in layers_of(source):
        report.part(name, files[HEADER], source, first, last, True)
    report.part(HEADER, files[HEADER], source, 1, len(source), False)
    for name in sorted(files):
        if name != HEADER:
            report.part(name, files[name], open(name).read().split("\n"), 1, 1 << 30, False)
    for function, part, number, count in report.entries:
        if not count:
            report.wrong.append(f"{LIST}:{number}: {function} | {part}: all of it is reached, or it is not there")
    print("\n".join(report.wrong))
    sys.exit(1 if report.wrong else 0)


main()
