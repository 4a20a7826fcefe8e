#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each header compiles alone, and again after itself, in every language version, by every compiler.

That also keeps the includes pointing one way: a header that leans on another one without
including it does not compile alone.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import tap
from compilers import C, CROSS_C, CROSS_CXX, CXX, WARNINGS, compile_text, headers, in_parallel
from compilers import present

GNU = ["-D_GNU_SOURCE"]
CHECK = ["-fsyntax-only"]
# To the end, and with every function kept, so that warnings that come late come at all: what the
# optimizer finds out about values, and g++'s refusal of fences under ThreadSanitizer.
WHOLE = ["-O2", "-S", "-o", "/dev/null"]
KEEP = ["-fkeep-static-functions", "-fkeep-inline-functions"]  # gcc only

C_STANDARDS = ["c11", "c17", "c2x", "gnu11"]
CXX_STANDARDS = ["c++11", "c++14", "c++17", "c++20", "c++2b", "gnu++17"]

# These make system calls whose types a strict -std=c11 hides; they say so in an #error.
NEEDS_FEATURE_MACRO = {"tandem.h", "tandem/shm/segment.h"}


def whole(compiler):
    return WHOLE + ([] if "clang" in compiler else KEEP)


def combinations():
    """(compiler, arguments) under which every header must compile."""
    for compiler in present(C):
        for standard in C_STANDARDS:
            yield compiler, [f"-std={standard}", *GNU, *CHECK]
        yield compiler, ["-std=gnu11", *GNU, *whole(compiler)]
        yield compiler, ["-std=gnu11", *GNU, *whole(compiler), "-fsanitize=thread"]
    for compiler in present(CXX):
        for standard in CXX_STANDARDS:
            yield compiler, [f"-std={standard}", *GNU, *CHECK]
        yield compiler, ["-std=c++11", *GNU, *whole(compiler)]
        yield compiler, ["-std=c++11", *GNU, *whole(compiler), "-fsanitize=thread"]
    for compiler in present(CROSS_C):
        yield compiler, ["-std=c11", *GNU, *CHECK]
        yield compiler, ["-std=c2x", *GNU, *whole(compiler)]
    for compiler in present(CROSS_CXX):
        yield compiler, ["-std=c++11", *GNU, *CHECK]
        yield compiler, ["-std=c++2b", *GNU, *whole(compiler)]


def bare_combinations():
    """Strict C without any feature macro."""
    for compiler in present(C + CROSS_C):
        for standard in ("c11", "c17", "c2x"):
            yield compiler, [f"-std={standard}", *CHECK]


def attempt(compiler, arguments, text):
    warnings = WARNINGS + (["-Wold-style-cast"] if compiler.endswith("++") else [])
    compiled, said = compile_text(compiler, [*arguments, *warnings], text)
    return None if compiled else "\n".join(said.splitlines()[:12])


SELF_TEST = [
    ("gcc", CHECK, "int f(long x);\nint f(long x) { return x; }\n",
     "a conversion that loses bits would be noticed"),
    ("g++", [*whole("g++"), "-fsanitize=thread"],
     "static inline void f() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }\n",
     "a fence that nobody calls would be noticed"),
]


def main():
    compilers = C + CXX + CROSS_C + CROSS_CXX
    missing = [compiler for compiler in compilers if not present([compiler])]
    if missing:
        tap.note("not here, and so not tried: " + ", ".join(missing))
    total = 0
    for header in headers():
        text = f"#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n"
        tried = [(compiler, arguments, text) for compiler, arguments in combinations()]
        failures = [said for said in in_parallel(attempt, tried) if said]
        tap.case(f"{header} compiles alone in {len(tried)} combinations", failures[:3])
        total += len(tried)

        bare = [(compiler, arguments, text) for compiler, arguments in bare_combinations()]
        results = in_parallel(attempt, bare)
        total += len(bare)
        if header in NEEDS_FEATURE_MACRO:
            bad = [said or "it compiles: take it off the list" for said in results
                   if not re.match(r".*\berror: .*_GNU_SOURCE", said or "", re.S)]
            tap.case(f"{header} says that strict C needs -D_GNU_SOURCE", bad[:3])
        else:
            failures = [said for said in results if said]
            tap.case(f"{header} compiles as strict C in {len(bare)} combinations", failures[:3])
    everything = "".join(f"#include <{header}>\n" for header in reversed(headers()))
    tried = [(compiler, ["-D_GNU_SOURCE", *CHECK], everything) for compiler in present(C + CXX)]
    total += len(tried)
    tap.case("all headers go together, in reverse order",
             [said for said in in_parallel(attempt, tried) if said])
    for compiler, arguments, text, sentence in SELF_TEST:
        said = attempt(compiler, arguments, text) if present([compiler]) else "not here"
        tap.case(sentence, [] if said else ["it compiled"])
    tap.note(f"{total} combinations")
    tap.done()


main()
