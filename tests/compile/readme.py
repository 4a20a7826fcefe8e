#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The README's example is the program it names, compiles with the command it shows, and prints what
it shows; its links lead somewhere. Usage: readme.py ROOT COMPILER..."""
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

root = pathlib.Path(sys.argv[1]).resolve()
text = (root / "README.md").read_text()
cases = []
STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Werror"


def case(ok, sentence, detail=""):
	cases.append(ok)
	for line in detail.splitlines() if not ok else []:
		print("#", line)
	print("ok" if ok else "not ok", len(cases), "-", sentence)


found = re.search(r"<!-- example: (\S+) -->\n```c\n(.*?)```\n\n```console\n\$ (.*?)\n(.*?)```", text, re.S)
case(found is not None, "README shows an example, how it is compiled, and what it prints")
if found:
	path, shown, command, output = found.groups()
	program = "".join(line for line in (root / path).read_text().splitlines(keepends=True)
			  if "SPDX-License-Identifier" not in line)
	case(shown == program, f"it is {path}, word for word")
	case(len(shown.splitlines()) <= 40, "it fits a page")
	for compiler in sys.argv[2:]:
		with tempfile.TemporaryDirectory() as scratch:
			(pathlib.Path(scratch) / pathlib.Path(path).name).write_text(shown)
			run = command.replace("cc ", f"{compiler} {STRICT} ", 1)
			run = run.replace("-Iinclude", "-I" + shlex.quote(str(root / "include")))
			done = subprocess.run(run, shell=True, cwd=scratch, stdout=subprocess.PIPE,
					      stderr=subprocess.STDOUT, text=True, timeout=120)
			case(done.returncode == 0 and done.stdout == output,
			     f"with {compiler} it compiles without a word and prints what README says",
			     f"status {done.returncode}\n{done.stdout}")
links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
missing = [link for link in links if not (root / link).exists()]
case(links and not missing, f"each of its {len(links)} links leads to a file", "\n".join(missing))
print(f"1..{len(cases)}")
sys.exit(0 if all(cases) else 1)
