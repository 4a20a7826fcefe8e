# SPDX-License-Identifier: BSD-2-Clause
"""What a header says about its memory orders: each access stronger than relaxed, the function that
it is in, and the edge that its comment names. For mutate.py, and for the lint."""

import re
from dataclasses import dataclass, field

ORDER = r"relaxed|acquire|release|acq_rel|seq_cst"
OPERATION = (r"load|store|exchange|fetch_[a-z]+|add_unless|cas_(?:weak|strong)|test_and_set|clear"
             r"|bit_(?:set|clear|test)|(?:set|clear)_bits")
# In a macro the order may be its parameter, ##order##: then it is the caller's.
ACCESS = re.compile(rf"\btdm_({OPERATION})_({ORDER}|##\w+##)(?:_({ORDER}|##\w+##))?"
                    rf"_(?:(u\d+)|##\w+?)(?:##_|_)?\(")
# What else looks like an order, but is none that a mutant could weaken.
UNKNOWN = re.compile(r"(?<!_signal_fence\()\b__ATOMIC_(?:CONSUME|ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)\b"
                     r"|\bmemory_order_(?!relaxed)\w+|\b(?:__)?atomic_thread_fence\b"
                     r"|\b__sync_\w+|\b\w+_(?:acquire|release|acq_rel|seq_cst)_u\d+_?(?=\s*\()")
LABEL = re.compile(r"\bE\d+\b")
PARTNER = re.compile(r"\bwith (\w+)")

READS = ("load", "bit_test")
WRITES = ("store", "clear")
ACQUIRES = {"acquire", "acq_rel", "seq_cst"}
RELEASES = {"release", "acq_rel", "seq_cst"}


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def code(text):
    """The text with comments blanked; every character stays where it was."""
    tokens = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"'
    return re.sub(tokens, lambda m: m[0] if m[0][0] == '"' else blank(m), text, flags=re.S)


def opening(text):
    """The comment above the include guard."""
    return text.split("#ifndef", 1)[0]


@dataclass
class Access:
    operation: str  # with the width: store_u64; without one where a macro makes them all
    orders: list  # one, or two for a CAS; ##name## where the caller chooses
    spans: list  # where the orders stand in the text
    line: int  # from 1
    function: str
    nth: int  # of this operation in this function, from 1
    labels: list
    partners: list
    comment_lines: set = field(repr=False)

    @property
    def verb(self):
        return re.sub(r"_u\d+$", "", self.operation)

    def acquires(self):
        return self.verb not in WRITES and any(order in ACQUIRES or "#" in order
                                               for order in self.orders)

    def releases(self):
        return self.verb not in READS and (self.orders[0] in RELEASES or "#" in self.orders[0])


@dataclass
class Function:
    name: str
    head: int  # its first line, from 1
    begin: int  # of its body
    end: int


def functions(text):
    """Headers are formatted: a body begins and ends in the first column, in a macro in the second,
    and between two functions there is a blank line, a comment, or the end of another one."""
    bare = code(text).splitlines()
    found = []
    for number, line in enumerate(bare, 1):
        if re.match(r"\{$|\t\{\s*\\$", line):
            head = number
            while head > 1 and not re.search(r"^\s*(\\|#.*)?$|[;}]\s*\\?$", bare[head - 2]):
                head -= 1
            title = " ".join(bare[head - 1:number - 1])
            title = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", title)
            name = re.search(r"([\w#]+)\s*\(", title)
            end = re.compile(r"\t?\}"[0 if line[0] == "\t" else 3:])
            last = next((last for last, other in enumerate(bare[number:], number + 1)
                         if end.match(other)), len(bare))
            if name:
                found.append(Function(name[1], head, number, last))
    return found


def comment(line):
    found = re.search(r"(?://|/\*)(.*)", line)
    return found[1] if found else ""


def accesses(text):
    """Every access whose order is not relaxed."""
    bare_text = code(text)
    lines, bare = text.splitlines(), bare_text.splitlines()
    bodies, counts, result = functions(text), {}, []
    for match in ACCESS.finditer(bare_text):
        groups = [2] if match[3] is None else [2, 3]
        orders = [match[group] for group in groups]
        if all(order == "relaxed" for order in orders):
            continue
        number = bare_text.count("\n", 0, match.start()) + 1
        if any(body.head <= number < body.begin for body in bodies):
            continue  # this is where it is defined
        last = number  # the statement may go on
        while last < len(bare) and not re.search(r"[;{}]", bare[last - 1].rsplit("tdm_", 1)[-1]):
            last += 1
        about = set(range(number, last + 1))
        if number > 1 and not bare[number - 2].strip():
            about.add(number - 1)
        said = " ".join(comment(lines[line - 1]) for line in sorted(about))
        function = next((body.name for body in bodies if body.begin <= number <= body.end), "")
        operation = match[1] + ("_" + match[4] if match[4] else "")
        counts[function, operation] = counts.get((function, operation), 0) + 1
        result.append(Access(operation, orders, [match.span(group) for group in groups], number,
                             function, counts[function, operation], LABEL.findall(said),
                             PARTNER.findall(said), about))
    return result


def carries(text, label, word, found):
    """Is there a function with `word` in its name that has an access with the label, or that calls
    one, through whatever others of this header?"""
    bare = code(text).splitlines()
    bodies = functions(text)
    names = {body.name for body in bodies}
    calls, carriers = {}, {access.function for access in found if label in access.labels}
    for body in bodies:
        used = set(re.findall(r"\w+", "\n".join(bare[body.begin:body.end])))
        calls.setdefault(body.name, set()).update(names & used)
    seen, waiting = set(), {name for name in names if word in name}
    while waiting:
        name = waiting.pop()
        if name in carriers:
            return True
        seen.add(name)
        waiting |= calls[name] - seen
    return False


# --- the lint: (line, complaint) ---

def unlabelled(text):
    """Accesses without a label, and orders that are not in an accessor's name."""
    problems = []
    for access in accesses(text):
        if not access.labels:
            problems.append((access.line, "an ordered access without the label of an edge"))
        if not access.function:
            problems.append((access.line, "an ordered access that is in no function"))
    bare = code(text)
    known = [(match.start(), match.end()) for match in ACCESS.finditer(bare)]
    for match in UNKNOWN.finditer(bare):
        if not any(begin <= match.start() < end for begin, end in known):
            line = bare.count("\n", 0, match.start()) + 1
            problems.append((line, f"{match[0]}: an order that no mutant can weaken"))
    return problems


def partnerless(text):
    """Labels that are not described at the top, that lack one of their two ends, or whose comment
    names an end that has no such access."""
    problems = []
    found = accesses(text)
    described = set(LABEL.findall(opening(text)))
    for label in sorted({label for access in found for label in access.labels}):
        ends = [access for access in found if label in access.labels]
        if label not in described:
            problems.append((ends[0].line, f"{label} is not among the edges at the top"))
        for end, present in (("releases", any(access.releases() for access in ends)),
                             ("acquires", any(access.acquires() for access in ends))):
            if not present:
                problems.append((ends[0].line, f"nobody {end} along {label}"))
    for access in found:
        for partner in access.partners:
            if not any(carries(text, label, partner, found) for label in access.labels):
                problems.append((access.line, f"{partner} has no end of this edge"))
    return problems


def mutantless(text):
    """Labels without an access that a mutant weakens. Where there is no access at all, the kernel
    orders."""
    found = accesses(text)
    weakened = {label for access in found for label in access.labels}
    head = opening(text).count("\n")
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if number <= head:
            named = LABEL.findall(line) if found else []
        else:
            named = re.findall(r"(?://|/\*)\s*(E\d+)\b", line)
        problems += [(number, f"{label} has no mutant") for label in named
                     if label not in weakened]
    return problems
