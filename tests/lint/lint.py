#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The house rules that no compiler knows.

A rule is a function from (path, text) to its complaints. Each comes with a text that breaks it,
and a rule that does not complain about that text fails, too.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/explore")]

import edges
import tap
from edges import code, opening

RULES = []  # (sentence, what files it is about, function, a path and a text that break it)


def rule(sentence, about, bad_path, bad_text):
    def register(function):
        RULES.append((sentence, re.compile(about), function, bad_path, bad_text))
        return function
    return register


def at(path, text, position, complaint):
    return f"{path}:{text.count(chr(10), 0, position) + 1}: {complaint}"


def find(pattern, complaint, path, text):
    return [at(path, text, match.start(), complaint.format(match[0].strip()))
            for match in re.finditer(pattern, text, re.M)]


# --- every file ---

SOURCES = r"\.(h|c|cc|py|sh|build|ini|txt|yml)$|^[^.]+$|^\.[^.]+$"
NO_COMMENTS = {"LICENSE"}


@rule("every file says its license", SOURCES, "tests/unit/x_test.c", "// A test.\nint x;\n")
def license_line(path, text):
    head = "\n".join(text.splitlines()[:2])
    wanted = "SPDX-License-Identifier: BSD-2-Clause"
    return [] if wanted in head or path in NO_COMMENTS else [f"{path}:1: no SPDX line"]


@rule("no file names a place on somebody's machine", ".", "README.md",
      "Run /" + "home/me/tandem/tools/test.\n")
def machine_paths(path, text):
    pattern = r"(?<![\w.}])/(home|root|work|Users|mnt)/\w+"
    return find(pattern, "{}: a path that only one machine has", path, text)


@rule("lines end at column 100, without blanks", r"\.(h|c|cc|py|sh|build)$|^tools/\w+$", "x.c",
      "\t" * 12 + "x + y;\n")
def line_length(path, text):
    problems = find(r"[ \t]+$", "blanks at the end of the line", path, text)
    for number, line in enumerate(text.splitlines(), 1):
        if len(line.expandtabs(8)) > 100 and "http" not in line:
            problems.append(f"{path}:{number}: longer than 100 columns")
    return problems


TOP = re.compile(r"^(include|tests|bench|tools|meson\.build|meson_options\.txt|README\.md|LICENSE"
                 r"|CHANGELOG\.md|CONTRIBUTING\.md|\..+)$")


@rule("the top level holds what the design lists", ".", "src/main.c", "")
def top_level(path, text):
    name = path.split("/")[0]
    return [] if TOP.match(name) else [f"{path}: {name} does not belong to the top level"]


# --- headers ---

HEADERS = r"^include/.*\.h$"
LAYERS = [r"base/", r"atomic\.h", r"sync/event\.h", r"shm/", r"lock/", r"(sync|ring|pool)/"]


def layer(header):
    for rank, pattern in enumerate(LAYERS):
        if re.match(r"tandem/" + pattern, header):
            return rank
    return len(LAYERS)


@rule("includes point downwards", HEADERS, "include/tandem/base/x.h", '#include "../atomic.h"\n')
def include_direction(path, text):
    problems = []
    for match in re.finditer(r'^\s*#\s*include\s*(["<])([^">]+)[">]', text, re.M):
        if match[1] == "<" and not match[2].startswith("tandem"):
            continue
        target = (ROOT / path).parent / match[2]
        relative = str(target.resolve().relative_to(ROOT / "include"))
        header = str(Path(path).relative_to("include"))
        if match[1] == "<" or layer(relative) > layer(header):
            problems.append(at(path, text, match.start(), f"{header} may not include {match[2]}"))
    return problems


BANNED = [
    (r"\b(__)?atomic_thread_fence\b|\b__sync_synchronize\b",
     "{}: checkers do not model fences; use a read-modify-write on the location", None),
    (r"\b(__)?volatile(__)?\b", "{}: use an atomic", "base/backoff.h"),
    (r"(?<!\) )\b(__)?asm(__)?\b", "{}: only hints like pause", "base/backoff.h"),
    (r"\btypedef\s+(struct|union)\b(?!\s+tdm_atomic_)", "{}: structs are named by their tag", None),
    (r"^\s*#\s*define\s+(?!TDM_|tdm_|TANDEM_H\b)\w+", "{}: a macro in the user's namespace", None),
    (r"\b(printf|fprintf|abort|assert|exit)\s*\(", "{}: a header answers by its status", None),
]


@rule("headers keep away from what is banned", HEADERS, "include/tandem/ring/x.h",
      "static volatile int x;\n")
def banned(path, text):
    problems = []
    for pattern, complaint, where in BANNED:
        if where is None or not path.endswith(where):
            problems += find(pattern, complaint, path, code(text))
    return problems


for pattern_, complaint_, bad_ in [
        (*BANNED[0][:2], "\tatomic_thread_fence(memory_order_seq_cst);\n"),
        (*BANNED[2][:2], '\t__asm__("mfence");\n'),
        (*BANNED[3][:2], "typedef struct tdm_x {\n"),
        (*BANNED[4][:2], "#\tdefine MAX(a, b) 0\n"),
        (*BANNED[5][:2], '\tprintf("x");\n')]:
    assert find(pattern_, complaint_, "x", bad_), pattern_

GUARD = re.compile(r"^#ifndef (\w+)\n#define \1$", re.M)


@rule("include guards are named after the file", HEADERS, "include/tandem/ring/x.h",
      "#ifndef TDM_X_H\n#define TDM_X_H\n")
def guards(path, text):
    name = re.sub(r"\W", "_", path.removeprefix("include/").replace("tandem/", "TDM/")).upper()
    found = GUARD.search(text)
    return [] if found and found[1] == name else [f"{path}: the include guard is not {name}"]


# base/atomic.h has every order for everybody: its operations are no edges yet.
ORDERED = r"^include/tandem/(?!base/atomic\.h)"


def edge_rule(sentence, function, bad_text):
    def complaints(path, text):
        return [f"{path}:{line}: {complaint}" for line, complaint in function(text)]
    rule(sentence, ORDERED, "include/tandem/ring/x.h", bad_text)(complaints)


edge_rule("every ordered access carries the label of an edge", edges.unlabelled,
          "#ifndef X\nvoid x(void)\n{\n\ttdm_store_release_u64(&x, 1); // for pop\n}\n")
edge_rule("every edge is described and has two ends", edges.partnerless,
          "// E1 a with b\n#ifndef X\nvoid x(void)\n{\n"
          "\ttdm_store_release_u64(&x, 1); // E1\n}\n")
edge_rule("every edge has a mutant", edges.mutantless,
          "// E1 a with b\n#ifndef X\nvoid x(void)\n{\n\ttdm_store_relaxed_u64(&x, 1); // E1\n}\n")


@rule("each primitive's opening comment says what a user must know",
      r"^include/tandem/(?!base/)", "include/tandem/ring/x.h", "// A ring.\n#ifndef X\n")
def openings(path, text):
    if "Not API" in opening(text):
        return []
    words = ("Progress", "Callers", "Edges", "Crashes", "Example")
    missing = [word for word in words if not re.search(rf"^// *{word}", opening(text), re.M)]
    return [f"{path}: the opening comment lacks: {', '.join(missing)}"] if missing else []


# --- what belongs together ---

def read(path):
    return (ROOT / path).read_text(errors="replace") if (ROOT / path).exists() else ""


@rule("tandem.h includes every primitive", r"^include/tandem/(?!base/)",
      "include/tandem/ring/no_such.h", "")
def umbrella(path, text):
    include = f'#include "{path.removeprefix("include/")}"'
    if "Not API" in opening(text) or include in read("include/tandem.h"):
        return []
    return [f"{path} is not in tandem.h"]


@rule("every test on disk is in tests/meson.build",
      r"^tests/(?!support/|compile/(refused|uses)/).*\.(c|cc|sh|py)$", "tests/unit/no_such_test.c",
      "int main(void) { return 0; }\n")
def listed(path, text):
    runs = "main(" in text if path.endswith(".c") else path.endswith("c") or text.startswith("#!")
    helper = any(Path(path).name in other.read_text() for other in (ROOT / path).parent.glob("*")
                 if other.is_file() and other.suffix in ("", ".py"))  # a script builds it
    if not runs or helper or f"'{path.removeprefix('tests/')}'" in read("tests/meson.build"):
        return []
    return [f"{path} is not in tests/meson.build"]


@rule("the version is the same everywhere", r"^meson\.build$", "meson.build",
      "project(\n  version: '99.0.0',\n)\n")
def version(path, text):
    config = read("include/tandem/base/config.h")
    numbers = re.findall(r"#define TDM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", config)
    wanted = f"version: '{'.'.join(numbers)}'"
    return [] if wanted in text else [f"{path}: config.h says {wanted}"]


def files():
    if (ROOT / ".git").exists() and shutil.which("git"):
        listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others",
                   "--exclude-standard"]
        run = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        names = run.stdout.split("\0")
    else:  # an unpacked archive
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [str(path) for path in paths
                 if not {".build", ".git", "__pycache__"} & set(path.parts)]
    return sorted(name for name in names if name and (ROOT / name).is_file())


def main():
    texts = {path: read(path) for path in files()}
    for sentence, about, function, bad_path, bad_text in RULES:
        problems = [complaint for path, text in texts.items() if about.search(path)
                    for complaint in function(path, text)]
        if not function(bad_path, bad_text):
            problems.append("the rule does not notice the text that breaks it")
        tap.case(sentence, problems)
    tap.note(f"{len(texts)} files")
    tap.done()


main()
