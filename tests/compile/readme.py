#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The README's example is the program it names, compiles with the command it shows, and prints what
it shows; a piece of an example is in the program it names, which runs as a test; its links lead
somewhere."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import tap
from compilers import C, INCLUDE, ROOT, WARNINGS, present

EXAMPLE = re.compile(r"<!-- example: (?P<path>\S+) -->\n```c\n(?P<text>.*?)```\n\n"
                     r"```console\n\$ (?P<command>.*?)\n(?P<output>.*?)```", re.S)
PIECE = re.compile(r"<!-- example: (?P<path>\S+) -->\n```c\n(?P<text>.*?)```\n", re.S)
LINES = 40


def run(compiler, name, text, command):
    """What the command of the README does where there is nothing but the example."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / name).write_text(text)
        command = command.replace("cc ", f"{compiler} {' '.join(WARNINGS)} ", 1)
        command = command.replace("-Iinclude", f"'-I{INCLUDE}'")
        return subprocess.run(command, shell=True, cwd=scratch, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)


def main():
    readme = (ROOT / "README.md").read_text()
    found = EXAMPLE.search(readme)
    tap.case("README shows an example, how it is compiled, and what it prints",
             [] if found else ["nothing that looks like one"])
    if found:
        program = "".join(line for line in (ROOT / found["path"]).open() if "SPDX" not in line)
        tap.case(f"it is {found['path']}, word for word",
                 [] if found["text"] == program else ["they differ"])
        length = found["text"].count("\n")
        tap.case("it fits a page", [] if length <= LINES else [f"{length} lines"])
        for compiler in present(C):
            done = run(compiler, Path(found["path"]).name, found["text"], found["command"])
            good = done.returncode == 0 and done.stdout == found["output"]
            tap.case(f"with {compiler} it compiles without a word and prints what README says",
                     [] if good else [f"status {done.returncode}\n{done.stdout}"])
    for piece in PIECE.finditer(readme, found.end() if found else 0):
        listed = f"'{piece['path'].removeprefix('tests/')}'" in (
            ROOT / "tests/meson.build").read_text()
        good = listed and piece["text"] in (ROOT / piece["path"]).read_text()
        tap.case(f"a piece of {piece['path']} is in it, word for word, and it runs as a test",
                 [] if good else ["they differ" if listed else "it is not in tests/meson.build"])
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    missing = [link for link in links if not (ROOT / link).exists()]
    tap.case("its links lead to files", missing if links else ["it has no links"])
    tap.done()


main()
