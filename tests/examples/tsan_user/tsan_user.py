#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The outside project next to this script, with every compiler that has ThreadSanitizer."""

import re
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
MISTAKES = 39  # with locks, semaphores and barriers
WAYS = [f"{kind}-{how}" for how in ("poll", "wait")
        for kind in ("robust-one", "robust-batch", "robust-take", "plain-one", "plain-batch")]
RACES = ["1", "2", "3", "4"]
RACES += [f"writes_{when}/{way}" for way in WAYS
          for when in ("after_push", "after_pop", "beside_producer", "beside_consumer")]
RACES += [f"writes_after_{word}/{way}" for way in WAYS if "take" in way for word in ("ack", "nack")]


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
            said = run.stdout.splitlines()
            problems += [f"race {race} was not looked for" for race in RACES
                         if f"race {race} was reported" not in said]
            problems += [f"{way} was not gone" for way in WAYS if way not in said]
            mistakes = len([line for line in said if re.match("mistake .* was reported", line)])
            if mistakes != MISTAKES:
                problems.append(f"{mistakes} mistakes with them were reported")
        tap.case(sentence, problems)
    tap.done()


main()
