#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""mutate.py on a tree of its own: a header, cases that know which orders it must have, and a build
folder. What the lint has to find is tried on texts."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[0] / "support")]

import edges
import mutate
import tap

# Accessors that write down their orders instead of having them.
ATOMIC = r"""
#include <stdbool.h>
#include <stdio.h>
typedef struct { unsigned v; } tdm_atomic_u32;
static char seen[200];
static unsigned note(const char *what)
{
	return (unsigned)snprintf(seen, sizeof(seen), "%s", what);
}
#define TDM_CAS_ORDERS_(X, ...) \
	X(__VA_ARGS__, relaxed, relaxed) \
	X(__VA_ARGS__, acq_rel, acquire) \
	X(__VA_ARGS__, seq_cst, seq_cst)
#define LOAD(order) \
	static inline unsigned tdm_load_##order##_u32(tdm_atomic_u32 *a) \
	{ (void)a; return note("load " #order); }
#define STORE(order) \
	static inline void tdm_store_##order##_u32(tdm_atomic_u32 *a, unsigned v) \
	{ (void)a; (void)v; note("store " #order); }
#define FETCH_OR(order) \
	static inline unsigned tdm_fetch_or_##order##_u32(tdm_atomic_u32 *a, unsigned v) \
	{ (void)a; (void)v; return note("fetch_or " #order); }
#define CAS(N, success, failure) \
	static inline bool tdm_cas_weak_##success##_##failure##_##N(tdm_atomic_u32 *a, unsigned v) \
	{ (void)a; (void)v; return note("cas " #success " " #failure) != 0; }
#define ALL(X) X(relaxed) X(acquire) X(release) X(acq_rel) X(seq_cst)
ALL(LOAD) ALL(STORE) ALL(FETCH_OR) TDM_CAS_ORDERS_(CAS, u32)
"""

# No line is longer than it needs to be for what it shows.
HEADER = r"""// A fake.
//
// Edges
//   E1  put with get.
//   E2  claim with drop.
#ifndef FAKE_H
#define FAKE_H
#include "../base/atomic.h"

static inline void fake_put(tdm_atomic_u32 *a)
{
	tdm_store_release_u32(a, 1); // E1, pairs with get
	// tdm_store_release_u32(a, 2); is not there
}

static inline unsigned fake_get(tdm_atomic_u32 *a)
{
	return tdm_load_acquire_u32(a); // E1, pairs with put
}

static inline unsigned fake_spare(tdm_atomic_u32 *a)
{
	(void)tdm_load_relaxed_u32(a);
	return tdm_load_seq_cst_u32(a); // E1
}

static inline void
fake_claim(tdm_atomic_u32 *a)
{
	// E2, pairs with drop
	if (tdm_cas_weak_acq_rel_acquire_u32(a,
					     1))
		(void)tdm_fetch_or_acq_rel_u32(a, 1); // E2
}

static inline void fake_drop(tdm_atomic_u32 *a)
{
	tdm_cas_weak_seq_cst_seq_cst_u32(a, 1); // E2
}

#define FAKE_DEFINE_(N, order)                                                                     \
	static inline void fake_clear_##order##_##N(tdm_atomic_##N *a)                             \
	{                                                                                          \
		tdm_store_##order##_##N(a, 0); /* E1 */                                            \
	}

FAKE_DEFINE_(u32, release)

#endif
"""

CASES = r"""
#include <string.h>
#include <tandem/lock/fake.h>
int runtime(void);
static int count, bad;
#define CASE(call, expected) \
	do { \
		seen[0] = 0; \
		call; \
		bool good = strcmp(seen, expected) == 0; \
		bad += !good; \
		printf("%s %d - " #call "\n", good ? "ok" : "not ok", ++count); \
	} while (0)
int main(void)
{
	tdm_atomic_u32 a = {0};
	count -= runtime() != 1;
	CASE(fake_put(&a), "store release");
	CASE(fake_get(&a), "load acquire");
	CASE(fake_drop(&a), "cas seq_cst seq_cst");
	CASE(fake_clear_release_u32(&a), "store release");
	CASE(fake_claim(&a), "fetch_or acq_rel");
	printf("1..%d\n", count);
	return bad != 0;
}
"""

NINJA = """
rule cc
  command = {cc} -I{include} -MD -MQ $out -MF $out.d -o $out -c $in
rule link
  command = {cc} -o $out $in -Ltests -lruntime '-Wl,-rpath,$$ORIGIN'
build tests/fake_explore.p/fake_explore.c.o: cc {source}
build tests/fake_explore: link tests/fake_explore.p/fake_explore.c.o
"""

NAMES = [
    "fake_put:store_u32:1:release->relaxed",
    "fake_get:load_u32:1:acquire->relaxed",
    "fake_spare:load_u32:1:seq_cst->acquire",
    "fake_claim:cas_weak_u32:1:acq_rel/acquire->acquire/acquire",
    "fake_claim:cas_weak_u32:1:acq_rel/acquire->release/acquire",
    "fake_claim:cas_weak_u32:1:acq_rel/acquire->acq_rel/relaxed",
    "fake_claim:fetch_or_u32:1:acq_rel->acquire",
    "fake_claim:fetch_or_u32:1:acq_rel->release",
    "fake_drop:cas_weak_u32:1:seq_cst/seq_cst->acq_rel/seq_cst",
    "fake_drop:cas_weak_u32:1:seq_cst/seq_cst->seq_cst/acquire",
    "fake_clear_order_N:store:1:order->relaxed",
]
SURVIVORS = [name for name in NAMES if "claim:cas" in name or "spare" in name]
PROOF = "    Nobody looks at it.\n"


def full(names):
    return [f"lock/fake.h:{name}" for name in names]


class Tree:
    def __init__(self, folder):
        self.folder = folder
        self.include = folder / "include"
        self.build = folder / "build"
        for name, text in (("base/atomic.h", ATOMIC), ("lock/fake.h", HEADER)):
            path = self.include / "tandem" / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
        (self.build / "tests").mkdir(parents=True)
        self.source = folder / "fake_explore.c"
        self.source.write_text(CASES)
        cc = shutil.which("gcc") or shutil.which("cc")
        (self.build / "build.ninja").write_text(
            NINJA.format(cc=cc, include="../include", source=self.source))
        database = subprocess.run(["ninja", "-C", self.build, "-t", "compdb", "cc"], check=True,
                                  capture_output=True, text=True).stdout
        (self.build / "compile_commands.json").write_text(database[database.index("["):])
        # As meson links a library of the same project.
        subprocess.run([cc, "-shared", "-o", self.build / "tests/libruntime.so", "-x", "c", "-"],
                       input="int runtime(void) { return 1; }", text=True, check=True)
        self.equivalent = folder / "equivalent.txt"

    def run(self, *arguments, listed=(), soak=False):
        """(exit status, the lines)"""
        self.equivalent.write_text("".join(f"{name}\n{PROOF}" for name in listed))
        environment = {key: value for key, value in os.environ.items() if key != "TANDEM_SOAK"}
        done = subprocess.run(
            [sys.executable, HERE / "mutate.py", self.build, "--include", self.include,
             "--equivalent", self.equivalent, *arguments], capture_output=True, text=True,
            check=False, env=environment | ({"TANDEM_SOAK": "1"} if soak else {}))
        return done.returncode, (done.stdout + done.stderr).splitlines()


def differ(found, wanted):
    return [] if found == wanted else [f"found  {found}", f"wanted {wanted}"]


def has(lines, *wanted):
    return [f"nothing like: {part}" for part in wanted
            if not any(part in line for line in lines)] and [*lines, *wanted]


def generation():
    text = HEADER
    found = mutate.mutants_of("lock/fake.h", text)
    tap.case("each order of each access is weakened by one step, and nothing else is",
             differ([mutant.name for mutant in found], full(NAMES)))
    changes = []
    for mutant in found:
        before, after = text.splitlines(), mutant.apply(text).splitlines()
        changed = [i for i, pair in enumerate(zip(before, after), 1) if pair[0] != pair[1]]
        if len(before) != len(after) or len(changed) != 1:
            changes.append(f"{mutant.name} changes lines {changed}")
    tap.case("a mutant differs from its header in one line", changes)

    for how, what, other, line in (
            ("becomes", "(void)tdm_load_relaxed_u32", "f", "f(a); return tdm_load_seq_cst_u32(a);"),
            ("after", "(void)tdm_load_relaxed_u32(a);", "return tdm_load_seq_cst_u32(a);",
             "return tdm_load_seq_cst_u32(a); (void)tdm_load_relaxed_u32(a);"),
            ("before", "return tdm_load_seq_cst_u32(a);", "(void)tdm_load_relaxed_u32(a);",
             "return tdm_load_seq_cst_u32(a); (void)tdm_load_relaxed_u32(a);")):
        swap = ("lock/fake.h", "fake_spare", "the other way", [(what, how, other)])
        swapped = mutate.mutants_of("lock/fake.h", text, [swap])[-1]
        problems = differ((swapped.name, swapped.problem),
                          ("lock/fake.h:fake_spare:swap:the other way", ""))
        body = "(void)tdm_load_relaxed_u32(a);\n\treturn tdm_load_seq_cst_u32(a);"
        problems += differ(swapped.apply(text).split(), text.replace(body, line).split())
        tap.case(f"a swap from the table is a mutant, too: {how}", problems)
    accepted = []
    for function, old in (("fake_put", "fake_get"), ("fake_put", "u32"), ("fake_pat", "u32")):
        swap = ("lock/fake.h", function, "", [(old, "becomes", "")])
        swapped = mutate.mutants_of("lock/fake.h", text, [swap])[-1]
        if f"not exactly once in {function}" not in swapped.problem:
            accepted.append(f"{old} in {function}")
    tap.case("a swap whose text is not there exactly once cannot be tried", accepted)

    orders = mutate.complete(ATOMIC)
    tap.case("a CAS may be weakened to orders that have no accessor",
             [f"{pair} is there {orders.count(pair)} times"
              for pair in ("relaxed, acquire)", "acq_rel, seq_cst)", "acq_rel, acquire)")
              if orders.count(pair) != 1])


def whole(tree):
    everything = full(NAMES)
    survivors = full(SURVIVORS)
    status, lines = tree.run("--list")
    listed = [line.split("  ")[0] for line in lines]
    tap.case("--list prints the mutants", differ((status, listed), (0, everything)))

    status, lines = tree.run()
    bad = [line.split()[4] for line in lines if line.startswith("not ok")]
    problems = differ((status, bad), (1, survivors))
    problems += differ(lines[-1], "# mutants 11, caught 7, equivalent 0, survived 4")
    problems += has(lines, "relaxed is caught: fake_put(&a)")
    tap.case("what the cases notice is caught, what they do not look at survives", problems)

    status, lines = tree.run(listed=survivors)
    problems = differ((status, lines[-1]), (0, "# mutants 11, caught 7, equivalent 4, survived 0"))
    tap.case("survivors with a proof are equivalent", problems)

    status, lines = tree.run(listed=[*survivors, everything[0]])
    tap.case("a mutant that is caught must not be listed",
             differ(status, 1) + has(lines, f"{everything[0]} is listed as equivalent"))
    status, lines = tree.run(listed=[*survivors, "lock/fake.h:gone:load_u32:1:acquire->relaxed"])
    tap.case("a mutant that does not exist must not be listed",
             differ(status, 1) + has(lines, "gone:load_u32:1:acquire->relaxed does not exist"))
    status, lines = tree.run(listed=[survivors[0], survivors[0]])
    tap.case("nor twice", differ(status, 1) + has(lines, "is there twice"))

    problems = []
    seen = []
    for which in "123":
        _, lines = tree.run("--list", "--subset", f"{which}/3")
        seen += [line.split("  ")[0] for line in lines if not line.startswith("#")]
    problems += differ(sorted(seen), sorted(everything))
    _, lines = tree.run("--list", "--subset", "3")
    problems += [] if len(lines) in (4, 5) else ["the subset of the day:", *lines]
    _, lines = tree.run("--list", "--subset", "1/3", soak=True)
    problems += differ(len(lines), 11)
    tap.case("the subsets together are everything, and so is one of them when soaking", problems)
    counts = [len(tree.run("--list", *arguments)[1]) for arguments in
              (("--header", "fake.h"), ("--header", "tandem/lock/fake.h"), ("--only", "fake_get"))]
    tap.case("--header and --only choose", differ(counts, [11, 11, 1]))
    status, lines = tree.run("--header", "ake.h")
    tap.case("to choose nothing is an error",
             differ((status, lines), (1, ["mutate.py: there is no such mutant"])))


def broken(tree):
    """Whatever goes wrong with the experiment is never a caught mutant."""
    one = ("--only", "fake_get")
    header = tree.include / "tandem/lock/fake.h"
    text = header.read_text()

    header.write_text(text.replace("return tdm_load_acquire_u32(a);",
                                   "return a->v + tdm_load_acquire_u32(a) / no_such_thing;"))
    status, lines = tree.run(*one)
    tap.case("cases that do not compile catch nothing",
             differ((status, lines[-1]), (1, "# mutants 1, caught 0, equivalent 0, survived 1"))
             + has(lines, "no_such_thing"))

    header.write_text(text.replace('c.h"\n', 'c.h"\n#define tdm_load_relaxed_u32 no_such_name\n'))
    status, lines = tree.run(*one)
    tap.case("a mutant that does not compile is no caught mutant",
             differ((status, lines[-1]), (1, "# mutants 1, caught 0, equivalent 0, survived 1"))
             + has(lines, "could not be tried"))
    header.write_text(text)

    for sentence, change, told in (
            ("cases that fail without a mutant catch nothing",
             ("CASE(fake_get(&a), \"load acquire\")", "CASE(fake_get(&a), \"load\")"),
             "not ok 2 - fake_explore passes"),
            ("cases that never end catch nothing",
             ("\tprintf(\"1..", "\tfor (;;);\n\tprintf(\"1.."), "no failure within"),
            ("cases without a plan catch nothing", ("printf(\"1..%d\\n\", count);", ""), "no case"),
    ):
        tree.source.write_text(CASES.replace(*change))
        status, lines = tree.run(*one, "--time-limit", "1")
        tap.case(sentence, has(lines, told) + differ(
            (status, lines[-1]), (1, "# mutants 1, caught 0, equivalent 0, survived 1")))

    dying = "\tif (fake_get(&a) && seen[5] == 'r')\n\t\treturn 3;\n"
    tree.source.write_text(CASES.replace("\tCASE(fake_get", dying + "\tCASE(fake_get"))
    status, lines = tree.run(*one)
    tap.case("cases that die have caught the mutant",
             differ(status, 0) + has(lines, "is caught: exit status 3"))
    tree.source.write_text(CASES)

    other = tree.include / "tandem/lock/other.h"
    other.write_text(HEADER.replace("fake_", "other_"))
    status, lines = tree.run("--header", "other.h", "--only", "other_get")
    tap.case("a header without cases lets every mutant survive",
             has(lines, "no explorer cases") + differ(
                 (status, lines[-1]), (1, "# mutants 1, caught 0, equivalent 0, survived 1")))
    other.unlink()


BODY = "static void x_a(void)\n{\n\t%s\n}\n\nstatic void x_b(void)\n{\n\t%s\n}\n"
STORE = "tdm_store_release_u32(&x, 1);"
LOAD = "(void)tdm_load_acquire_u32(&x);"


def lint():
    def complaints(first, second, head="// E1 a with b\n"):
        text = head + "#ifndef X\n" + BODY % (first, second)
        return {function.__name__ for function in (edges.unlabelled, edges.partnerless,
                                                   edges.mutantless) if function(text)}

    for sentence, first, second, wanted in (
            ("nothing is wrong with two labelled ends",
             STORE + " // E1, pairs with b", LOAD + " // E1, pairs with a", set()),
            ("an access without a label", STORE + " // E1", LOAD, {"unlabelled", "partnerless"}),
            ("a label on the line above, and on a later line of the statement",
             "// E1\n\t" + STORE,
             "if (tdm_load_acquire_u32(&x) &&\n\t    y) // E1\n\t\treturn;", set()),
            ("a fence", STORE + " // E1\n\t__atomic_thread_fence(__ATOMIC_SEQ_CST);",
             LOAD + " // E1", {"unlabelled"}),
            ("an order in an operation that nobody knows",
             STORE + " // E1", LOAD + " // E1\n\ttdm_load_twice_acquire_u32(&x); // E1",
             {"unlabelled"}),
            ("an access outside of every function",
             STORE + " // E1\n}\n\nint y = tdm_load_acquire_u32(&x); // E1\nvoid x_c(void)\n{",
             LOAD + " // E1", {"unlabelled"}),
            ("two ends that both release", STORE + " // E1", STORE + " // E1", {"partnerless"}),
            ("two ends that both acquire", LOAD + " // E1", LOAD + " // E1", {"partnerless"}),
            ("one access that is both ends",
             "tdm_exchange_acq_rel_u32(&x, 1); // E1", ";", set()),
            ("a label that is not described",
             STORE + " // E1, E2", LOAD + " // E1, E2", {"partnerless"}),
            ("a partner that does not exist",
             STORE + " // E1, pairs with c", LOAD + " // E1", {"partnerless"}),
            ("a partner that has no such access",
             STORE + " // E1, pairs with b\n\t" + LOAD + " // E1", ";", {"partnerless"}),
            ("a partner that calls one that has it",
             STORE + " // E1, pairs with c\n}\n\nstatic void x_c(void)\n{\n\tx_b();",
             LOAD + " // E1", set()),
            ("a label on relaxed accesses only",
             "tdm_store_relaxed_u32(&x, 1); // E1", "tdm_load_relaxed_u32(&x); // E1",
             {"mutantless"}),
    ):
        tap.case(f"the lint looks at: {sentence}", differ(complaints(first, second), wanted))
    found = complaints(STORE + " // E1", LOAD + " // E1", "// E1 a with b\n// E2 nobody\n")
    tap.case("the lint looks at: a described edge that nobody carries",
             differ(found, {"mutantless"}))
    found = complaints(";", ";", "// E1 the kernel\n")
    tap.case("the lint looks at: a header without accesses, where the kernel orders",
             differ(found, set()))


def main():
    generation()
    lint()
    with tempfile.TemporaryDirectory(prefix="tandem-mutate-test-") as folder:
        tree = Tree(Path(folder))
        whole(tree)
        broken(tree)
    tap.done()


main()
