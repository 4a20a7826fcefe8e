# SPDX-License-Identifier: BSD-2-Clause
"""Which compilers are here, and how they are run."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"

C = ["gcc", "clang"]
CXX = ["g++", "clang++"]
CROSS_C = ["i686-linux-gnu-gcc"]
CROSS_CXX = ["i686-linux-gnu-g++"]

WARNINGS = (
    "-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Werror"
).split()


def present(names):
    return [name for name in names if shutil.which(name)]


def headers():
    """As one writes them in #include."""
    return sorted(str(path.relative_to(INCLUDE)) for path in INCLUDE.rglob("*.h"))


def language(compiler):
    return "c++" if compiler.endswith("++") else "c"


def compile_text(compiler, arguments, text):
    """(whether it compiled, what the compiler said)"""
    command = [compiler, *arguments, f"-I{INCLUDE}", "-x", language(compiler), "-"]
    run = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT,
                         env={**os.environ, "LC_ALL": "C"})
    return run.returncode == 0, f"{' '.join(command)}\n{run.stderr}"


def in_parallel(function, items):
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda item: function(*item), items))
