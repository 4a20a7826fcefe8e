#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What must not compile does not, and says why.

A snippet in refused/ compiles as it stands and is refused with -DWRONG; its `// expect:` line is
a regular expression that the diagnostic must match, so that it is refused for the right reason.
`// only clang:` names arguments with which clang alone refuses it.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import tap
from compilers import C, CXX, WARNINGS, compile_text, present


def main():
    for path in sorted((Path(__file__).parent / "refused").glob("*.c*")):
        text = path.read_text()
        expected = re.search(r"^// expect: (.+)$", text, re.M)[1]
        sentence = re.search(r"^// refused: (.+)$", text, re.M)[1]
        compilers, standard = (C, "gnu11") if path.suffix == ".c" else (CXX, "gnu++11")
        only = re.search(r"^// only clang: (.+)$", text, re.M)
        if only:
            compilers = [compiler for compiler in compilers if "clang" in compiler]
        if not present(compilers):
            tap.case(f"{path.name}: {sentence}", skip=f"no {' or '.join(compilers)} here")
            continue
        problems = []
        for compiler in present(compilers):
            arguments = [f"-std={standard}", "-D_GNU_SOURCE", "-S", "-o", "/dev/null", *WARNINGS]
            arguments += only[1].split() if only else []
            compiled, said = compile_text(compiler, arguments, text)
            if not compiled:
                problems.append(f"the right text is refused as well: {said}")
            compiled, said = compile_text(compiler, [*arguments, "-DWRONG"], text)
            if compiled:
                problems.append(f"{compiler} accepts it")
            elif not re.search(expected, said):
                problems.append(f"refused for another reason: {said}")
        tap.case(f"{path.name}: {sentence}", problems)
    tap.done()


main()
