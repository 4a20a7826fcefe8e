#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Each header compiles alone, and again after itself, in every language version, by every compiler.

That also keeps the includes pointing one way: a header that leans on another one without
including it does not compile alone. The texts in uses/ instantiate what is a macro.
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
    return WHOLE if "clang" in compiler else WHOLE + KEEP


def alone():
    """(compiler, arguments) under which every header must compile."""
    for compiler in present(C):
        for standard in C_STANDARDS:
            yield compiler, [f"-std={standard}", *GNU, *CHECK]
    for compiler in present(CXX):
        for standard in CXX_STANDARDS:
            yield compiler, [f"-std={standard}", *GNU, *CHECK]
    for compiler in present(CROSS_C):
        yield compiler, ["-std=c11", *GNU, *CHECK]
    for compiler in present(CROSS_CXX):
        yield compiler, ["-std=c++11", *GNU, *CHECK]


def to_the_end():
    """The same for all of them together, and for what is made with them."""
    for compiler in present(C + CXX + CROSS_C + CROSS_CXX):
        standard = "-std=c++11" if compiler.endswith("++") else "-std=gnu11"
        yield compiler, [standard, *GNU, *WHOLE]
        yield compiler, [standard, *GNU, *whole(compiler)]
        if compiler in C + CXX:
            yield compiler, [standard, *GNU, *whole(compiler), "-fsanitize=thread"]


def strict():
    """Strict C without any feature macro."""
    for compiler in present(C + CROSS_C):
        for standard in ("c11", "c2x"):
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


def first(said):
    return [words for words in said if words][:3]


def main():
    compilers = C + CXX + CROSS_C + CROSS_CXX
    missing = [compiler for compiler in compilers if not present([compiler])]
    if missing:
        tap.note("not here, and so not tried: " + ", ".join(missing))
    total = 0

    def failures(combinations, text):
        nonlocal total
        tried = [(compiler, arguments, text) for compiler, arguments in combinations]
        total += len(tried)
        return in_parallel(attempt, tried)

    for header in headers():
        text = f"#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n"
        said = failures(alone(), text)
        tap.case(f"{header} compiles alone", first(said))
        said = failures(strict(), text)
        if header in NEEDS_FEATURE_MACRO:
            bad = [words or "it compiles: take it off the list" for words in said
                   if not re.match(r".*\berror: .*_GNU_SOURCE", words or "", re.S)]
            tap.case(f"{header} says that strict C needs -D_GNU_SOURCE", first(bad))
        else:
            tap.case(f"{header} compiles as strict C", first(said))
    everything = "".join(f"#include <{header}>\n" for header in reversed(headers()))
    tap.case("all headers go together, in reverse order, optimized and instrumented",
             first(failures(to_the_end(), everything)))
    for path in sorted((Path(__file__).parent / "uses").glob("*.c")):
        said = failures([*alone(), *to_the_end()], path.read_text())
        tap.case(f"uses/{path.name} compiles everywhere", first(said))
    for compiler, arguments, text, sentence in SELF_TEST:
        said = attempt(compiler, arguments, text) if present([compiler]) else "not here"
        tap.case(sentence, [] if said else ["it compiled"])
    tap.note(f"{total} combinations")
    tap.done()


main()
