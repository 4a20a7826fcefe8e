#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The outside project next to this script, with every compiler that has ThreadSanitizer."""

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TESTS / "support"))
sys.path.insert(0, str(TESTS / "compile"))

import tap
from compilers import C, present

HERE = Path(__file__).parent


def has_tsan(compiler, folder):
    program = Path(folder) / "probe"
    run = subprocess.run([compiler, "-fsanitize=thread", "-x", "c", "-o", str(program), "-"],
                         input="int main(void) { return 0; }\n", capture_output=True, text=True)
    return run.returncode == 0


def main():
    for compiler in C:
        sentence = f"with {compiler}, nothing is reported but the races that were planted"
        with tempfile.TemporaryDirectory() as folder:
            if not present([compiler]) or not has_tsan(compiler, folder):
                tap.case(sentence, skip=f"no {compiler} with ThreadSanitizer here")
                continue
            run = subprocess.run(["make", "-C", str(HERE), f"CC={compiler}", f"OUT={folder}"],
                                 capture_output=True, text=True)
            problems = [] if run.returncode == 0 else [run.stdout + run.stderr]
            problems += [f"race {race} was not looked for" for race in (1, 2, 3, 4)
                         if f"race {race} was reported" not in run.stdout]
        tap.case(sentence, problems)
    tap.done()


main()
