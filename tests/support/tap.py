# SPDX-License-Identifier: BSD-2-Clause
"""Test Anything Protocol for the checks that are scripts."""

import sys

_results = []


def case(sentence, problems=(), skip=None):
    """One case: ok when there are no problems, each of which is printed."""
    problems = list(problems)
    _results.append(not problems)
    for problem in problems:
        for line in problem.rstrip().splitlines():
            print("#", line)
    verdict = "not ok" if problems else "ok"
    reason = f" # SKIP {skip}" if skip else ""
    print(f"{verdict} {len(_results)} - {sentence}{reason}", flush=True)


def note(text):
    print("#", text, flush=True)


def done(last=None):
    print(f"1..{len(_results)}")
    if last:
        note(last)
    sys.exit(0 if _results and all(_results) else 1)
