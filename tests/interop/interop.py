#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Programs in C and in C++, by gcc and by clang, of 64 and of 32 bits, share one segment.

Each kind of program talks to each other kind: they take turns at both ends of a ring, and take
over from one that was killed. The same with a work queue, where one is killed in the middle of
putting a task, and one with tasks that it has taken.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compile"))

import tap
from compilers import C, CROSS_C, CROSS_CXX, CXX, INCLUDE, WARNINGS, in_parallel, language

HERE = Path(__file__).parent
LIMIT = 60  # seconds for one program


def build(compiler, folder):
    """(the program, or None where the compiler is missing or cannot link; what was said)"""
    program = Path(folder) / compiler
    standard = ["-std=gnu++11"] if language(compiler) == "c++" else ["-std=gnu11"]
    source = HERE / ("peer.cc" if language(compiler) == "c++" else "peer.c")
    static = ["-static"] if "i686" in compiler else []
    command = [compiler, *standard, "-O2", "-g", "-D_GNU_SOURCE", "-pthread", *WARNINGS, *static,
               f"-I{INCLUDE}", str(source), "-o", str(program)]
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None, None
    if run.returncode != 0:
        return None, run.stderr
    try:
        subprocess.run([program], capture_output=True)  # no 32-bit programs on this kernel?
    except OSError:
        return None, None
    return program, None


class Talk:
    """One segment and the programs that use it."""

    def __init__(self, a, b):
        self.name = f"interop-{os.getpid()}"
        self.problems = []
        self.a, self.b = a, b

    def start(self, program, *arguments):
        command = [str(program), arguments[0], self.name, *map(str, arguments[1:])]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process, expected=0):
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "hung\n"
        if process.returncode != expected:
            words = " ".join(process.args)
            self.problems.append(f"{words}: status {process.returncode}\n{err}")
        return out.strip()

    def run(self, *arguments, expected=0):
        return self.end(self.start(*arguments), expected)

    def both(self, sender, receiver, upto):
        receiving = self.start(receiver, "receive", upto)
        self.run(sender, "send", upto)
        self.end(receiving)

    def converse(self):
        a, b = self.a, self.b
        killed = -signal.SIGKILL
        self.run(a, "create")
        try:
            self.both(a, b, 1000)
            self.both(b, a, 2000)
            self.run(a, "send", 2030, "k", expected=killed)
            self.run(b, "send", 2060, "ak", expected=killed)
            self.run(b, "receive", 2010, "k", expected=killed)
            self.run(a, "receive", 2040, "ak", expected=killed)
            self.run(b, "receive", 2060, "a")
            self.run(a, "send", 2064, "a")
            self.run(b, "receive", 2064)
            working = self.start(b, "work", 0, 1000, 1)
            self.run(a, "put", 0, 1000)
            self.end(working)
            self.run(a, "put", 1000, 1004, "k", expected=killed)
            self.run(b, "work", 1000, 1004, 1, "k", expected=killed)
            self.run(b, "put", 1004, 1006)
            self.run(a, "work", 1004, 1006, 1)
            self.run(a, "work", 1000, 1002, 2)
            self.run(b, "work", 1002, 1004, 2)
        finally:
            self.run(b, "remove")
        return self.problems

    def careless(self, expected):
        self.run(self.a, "create")
        try:
            for program, answer in ((self.a, "TDM_OK"), (self.b, expected)):
                said = self.run(program, "careless")
                if said != answer:
                    self.problems.append(f"{program}: {said}, expected {answer}")
        finally:
            self.run(self.a, "remove")
        return self.problems


def main():
    with tempfile.TemporaryDirectory() as folder:
        names = [*C, *CXX, *CROSS_C, *CROSS_CXX]
        programs = {}
        for name, (program, said) in zip(names, in_parallel(build, [(n, folder) for n in names])):
            if program is not None:
                programs[name] = program
            elif said is not None:
                tap.case(f"{name} builds its program", [said])
            else:
                tap.case(f"{name} builds its program", skip="not here")
        for a in programs:
            for b in programs:
                tap.case(f"{a} and {b} understand each other",
                         Talk(programs[a], programs[b]).converse())
        for a in programs:
            for b in programs:
                if "i686" in a and "i686" not in b:
                    talk = Talk(programs[a], programs[b])
                    tap.case(f"an element that {a} and {b} lay out differently is refused",
                             talk.careless("TDM_WRONG_TYPE"))
    tap.done()


main()
