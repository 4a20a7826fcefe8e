#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Counts the cases in meson's testlog.json: prints programs, passed, failed, skipped.

A program that fails without a failed case (it crashed, ran out of time, or broke off before its
plan) counts as one failed case, and so does one without cases. An example has none and counts as
one case itself. What failed is explained on stderr, with the notes before it.
"""

import json
import re
import sys

CASE = re.compile(r"^(not ok|ok)\b.*$")


def explain(test, bad):
    result = f"{test['result'].lower()}, {test['duration']:.0f} s"
    print(f"\n-- {test['name']}: {result}", file=sys.stderr)
    notes = []
    for line in test.get("stdout", "").splitlines():
        verdict = CASE.match(line)
        if verdict and verdict[1] == "not ok":
            print(*notes[-20:], line, sep="\n", file=sys.stderr)
        notes = [] if verdict else [*notes, line]
    if notes and not bad:
        print(*notes[-20:], sep="\n", file=sys.stderr)
    print(*test.get("stderr", "").splitlines()[:60], sep="\n", file=sys.stderr)


def main():
    programs = passed = failed = skipped = 0
    with open(sys.argv[1]) as log:
        for line in log:
            test = json.loads(line)
            cases = [m for m in map(CASE.match, test.get("stdout", "").splitlines()) if m]
            bad = sum(case[1] == "not ok" for case in cases)
            skips = sum(case[1] == "ok" and "# SKIP" in case[0] for case in cases)
            example = ":examples / " in test["name"] and test["result"] == "OK"
            wrong = test["result"] not in ("OK", "SKIP")
            wrong |= test["result"] == "OK" and not cases and not example
            programs += 1
            passed += len(cases) - bad - skips + example
            skipped += skips + (test["result"] == "SKIP" and not cases)
            failed += bad or wrong
            if bad or wrong:
                explain(test, bad)
    print(programs, passed, failed, skipped)


main()
