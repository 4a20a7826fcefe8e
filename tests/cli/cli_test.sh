#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The tandem command, as its users meet it: real processes, real files, real signals. TAP.
# Usage: cli_test.sh PATH-TO-TANDEM
# shellcheck disable=SC2317 # much is called through until_ and traps only
# shellcheck disable=SC2016 # what --exec runs is expanded there
set -u
TANDEM=$(realpath "${1:?usage: cli_test.sh PATH-TO-TANDEM}")
export LC_ALL=C TZ=UTC
python=$(python3 -c 'import sys; print(sys.executable)')
shm=$(mktemp -d /dev/shm/tandem-cli.XXXXXX) # all segments but one
tmp=$(mktemp -d)
spawned=()

cleanup() {
	local pid
	for pid in "${spawned[@]}"; do
		kill -9 "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$shm" "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
mkfifo "$tmp/open" # an input that does not end; what is written to 7 comes out of it
exec 7<>"$tmp/open"

# ---------------------------------------------------------------------------------------------
# TAP

cases=0
bad_cases=0
sentence=
bad=0
skipped=

finish() {
	[[ -n $sentence ]] || return 0
	cases=$((cases + 1))
	((bad == 0)) || bad_cases=$((bad_cases + 1))
	echo "$( ((bad == 0)) || echo "not ")ok $cases - $sentence${skipped:+ # SKIP $skipped}"
}

case_() { # begins a case, and so ends the one before it
	finish
	sentence=$1
	bad=0
	skipped=
}

wrong() {
	bad=$((bad + 1))
	echo "# line ${BASH_LINENO[-2]}: $*"
}

equal() { # equal WHAT EXPECTED FOUND
	[[ $2 == "$3" ]] || wrong "$1: expected '$2', found '$3'"
}

has() { # has TEXT PATTERN
	[[ $1 == *"$2"* ]] || wrong "no '$2' in '$1'"
}

same() { # same FILE FILE
	cmp "$1" "$2" >"$tmp/cmp" 2>&1 || wrong "$(head -n 1 "$tmp/cmp")"
}

# ---------------------------------------------------------------------------------------------
# Running

t() {
	"$TANDEM" "$@" --dir "$shm"
}

t_exec() { # as `t_exec ... &`: $! is the command itself
	exec "$TANDEM" "$@" --dir "$shm"
}

nobody() { # runs the command as a user without rights
	setpriv --reuid=65534 --clear-groups "$TANDEM" "$@"
}

keep() { # keep: the last background process is ended with the test, whatever happens
	spawned+=($!)
	pid=$!
}

ended() { # ended PID: also when nobody has waited for it yet
	local state
	state=$(awk '{ print $3 }' "/proc/$1/stat")
	[[ -z $state || $state == Z ]]
}

ends() { # ends PID EXPECTED-STATUS
	local found
	until_ ended "$1"
	kill -9 "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	found=$?
	[[ $2 == "$found" ]] || wrong "exit status: expected '$2', found '$found'"
}

dies() { # dies PID: by kill -9, and not before
	kill -9 "$1"
	wait "$1" 2>/dev/null
	(($? == 137)) || wrong "it had ended by itself"
}

until_() { # until_ COMMAND...: waits until it succeeds
	local i
	for ((i = 0; i < 500; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.02
	done
	wrong "waited 10 s for: $*"
}

count() { # count NAME pushed|popped
	t inspect "$1" | awk -v key="$2" '$1 == key { print $2 }'
}

role() { # role NAME producer|consumer
	t inspect "$1" | awk -v key="$2" '$1 == key { print $2 }'
}

count_is() {
	[[ $(count "$1" "$2") == "$3" ]]
}

role_is() {
	[[ $(role "$1" "$2") == "$3" ]]
}

live_is() { # live_is NAME producer|consumer COUNT
	[[ $(role "$1" "$2" | grep -c live) == "$3" ]]
}

attached() { # attached NAME producer|consumer PID: the process has that role, or has ended
	role_is "$1" "$2" live || ended "$3"
}

json() { # json EXPRESSION, of d, which is standard input
	"$python" -c 'import json, sys
d = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"
}

processor_ticks() { # hundredths of a second
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

one_line() { # one_line STATUS TEXT ARGUMENT...: fails with one line that holds TEXT, says no more
	local status=$1 text=$2 found line
	shift 2
	"$TANDEM" "$@" >"$tmp/stdout" 2>"$tmp/stderr" </dev/null
	found=$?
	line=$(<"$tmp/stderr")
	[[ $found == "$status" ]] || wrong "$*: exit status: expected $status, found $found"
	[[ $(wc -l <"$tmp/stderr") == 1 ]] || wrong "$*: not one line: '$line'"
	[[ $line == "tandem: "* ]] || wrong "$*: no 'tandem: ' before '$line'"
	[[ $line == *"$text"* ]] || wrong "$*: no '$text' in '$line'"
	[[ ! -s $tmp/stdout ]] || wrong "$*: printed '$(<"$tmp/stdout")'"
}

patch() { # patch FILE OFFSET BYTES-WITH-ESCAPES
	printf %b "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---------------------------------------------------------------------------------------------

case_ "help and version go to standard output and succeed"
for command in create send recv ls inspect recover rm; do
	text=$("$TANDEM" $command --help 2>&1) || wrong "$command --help failed"
	has "$text" "Usage: tandem $command"
	has "$text" "Example: "
	has "$text" "--dir DIR"
	has "$("$TANDEM" --help)" "  $command "
done
"$TANDEM" --help >/dev/null || wrong "--help failed"
[[ $("$TANDEM" --version) =~ ^tandem\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || wrong "no version"
"$TANDEM" ls --help >/dev/full 2>/dev/null && wrong "--help did not notice a full disk"

case_ "wrong usage is one line that says what to do, and status 2"
one_line 2 "no command: see 'tandem --help'"
one_line 2 "no command 'frobnicate'" frobnicate
one_line 2 "no option '--frobnicate'" --frobnicate
one_line 2 "no option '--frobnicate': see 'tandem ls --help'" ls --frobnicate
one_line 2 "no option '-x'" send -x name
one_line 2 "'--json' takes no value, but got one in '--json=3'" ls --json=3
one_line 2 "'--capacity' needs a value" create name --capacity
one_line 2 "no name: say 'tandem send NAME" send
one_line 2 "'two' is too much behind the name 'one'" rm one two
one_line 2 "'one' is too much" ls one
one_line 2 "the name is empty" inspect ""
one_line 2 "'/name' has a slash" create /name
one_line 2 "'.name' begins with a dot" create .name
one_line 2 "has 32 bytes: give 31 at most" create 12345678901234567890123456789012
one_line 2 "'new?line' has a control character, byte 0xa" create $'new\nline'
one_line 2 "--capacity '' is not a whole number" create name --capacity ""
one_line 2 "--capacity '-5' is not a whole number" create name --capacity -5
one_line 2 "--capacity '8x' is not a whole number" create name --capacity 8x
one_line 2 "--capacity '0x10' is not a whole number" create name --capacity 0x10
one_line 2 "--capacity 0 is out of range: give 1 to 2147483648" create name --capacity 0
one_line 2 "--capacity 1000 is not a power of two: give 512 or 1024" create name --capacity 1000
one_line 2 "--capacity 4294967296 is out of range" create name --capacity 4294967296
one_line 2 "--capacity 99999999999999999999 is out of range" create name \
	--capacity 99999999999999999999
one_line 2 "--elem-size 0 is out of range: give 1 to 2147483643" create name --elem-size 0
one_line 2 "--elem-size 2147483644 is out of range" create name --elem-size 2147483644
one_line 2 "--seats 0 is out of range: give 1 to 1024" create name --seats 0
one_line 2 "--seats 1025 is out of range" create name --seats 1025
one_line 2 "--kind 'mpsc' is not known: give spsc, mpmc or work" create name --kind mpsc
one_line 2 "--capacity 1 is too small for many: give 2 or more" create name --kind work --capacity 1
one_line 2 "--exec '' runs nothing" recv name --exec ""
one_line 2 "--attempts 0 is out of range: give 1 to 255" recv name --attempts 0 --dead x
one_line 2 "--attempts and --dead need each other" recv name --attempts 1
one_line 2 "--attempts and --dead need each other" recv name --dead x
one_line 2 "--dead names 'name' itself" recv name --attempts 1 --dead name
one_line 2 "the name is empty" recv name --attempts 1 --dead ""
one_line 2 "--mode '9' is no usable mode" create name --mode 9
one_line 2 "--mode '0777' is no usable mode" create name --mode 0777
one_line 2 "--mode '0060' is no usable mode" create name --mode 0060
one_line 2 "'--dir' is empty" ls --dir ""
[[ ! -e /dev/shm/name ]] || wrong "a segment was made all the same"

case_ "a segment is made in /dev/shm, with the mode asked for, and removed from there"
name=tandem-cli.$$
"$TANDEM" create "$name" --mode 0640 || wrong "create failed"
equal mode 640 "$(stat -c %a "/dev/shm/$name")"
"$TANDEM" ls | grep -q "^$name " || wrong "not in the list"
"$TANDEM" rm "$name" || wrong "rm failed"
[[ ! -e /dev/shm/$name ]] || wrong "still there"

case_ "create says what stands in its way"
t create taken || wrong "create failed"
one_line 1 "'taken' exists already" create taken --dir "$shm"
one_line 1 "no directory '$shm/none'" create x --dir "$shm/none"
one_line 1 "no room for 'huge' in $shm, it needs 64.0 TiB and" create huge --dir "$shm" \
	--capacity 67108864 --elem-size 1048576
(
	ulimit -f 64
	one_line 1 "no room for 'x' in $shm" create x --dir "$shm"
	exit $bad
) || wrong "a limit on the size of files"
equal files taken "$(ls "$shm")"

case_ "every way in which a segment does not open has its own message"
one_line 1 "no segment 'x' in $shm: make it with 'tandem create x'" send x --dir "$shm"
one_line 1 "no segment 'x' in $shm" recv x --dir "$shm"
one_line 1 "no segment 'x' in $shm" inspect x --dir "$shm"
one_line 1 "no segment 'x' in $shm" recover x --dir "$shm"
one_line 1 "no segment 'x' in $shm" rm x --dir "$shm"
one_line 1 "no directory '$shm/none'" recv x --dir "$shm/none"
one_line 1 "cannot read the directory '$shm/none'" ls --dir "$shm/none"
head -c 10000 /dev/urandom >"$shm/alien"
one_line 1 "not a tandem segment" recv alien --dir "$shm"
one_line 1 "not a tandem segment" rm --force alien --dir "$shm"
truncate -s 10000 "$shm/zero"
one_line 1 "zero-filled memory" inspect zero --dir "$shm"
: >"$shm/empty"
one_line 1 "the file is shorter" inspect empty --dir "$shm"
mkfifo "$shm/fifo"
one_line 1 "not a tandem segment" send fifo --dir "$shm"
mkdir "$shm/directory"
one_line 1 "not a tandem segment" send directory --dir "$shm"
ln -s taken "$shm/link"
one_line 1 "not a tandem segment" send link --dir "$shm"
for damage in "8 \\377\\0\\0\\0 newer_layout" "8 \\0\\0\\0\\0 older_layout" \
	"12 \\4\\3\\2\\1 other_byte_order" "56 \\377\\377\\0\\0 sizes_or_offsets" \
	"24 \\1\\1\\1\\1 does_not_match_its_hash"; do
	read -r offset bytes text <<<"$damage"
	cp "$shm/taken" "$shm/damaged"
	patch "$shm/damaged" "$offset" "$bytes"
	one_line 1 "${text//_/ }" send damaged --dir "$shm"
	has "$(t ls)" "damaged: "
	one_line 1 "${text//_/ }" rm damaged --dir "$shm"
	t rm damaged --force || wrong "rm --force left it"
done
cp "$shm/taken" "$shm/damaged"
truncate -s 4096 "$shm/damaged"
one_line 1 "the file is shorter than its header says (found 4096, expected" send damaged \
	--dir "$shm"
t rm --force damaged || wrong "rm --force left it"
if ((EUID == 0)) && nobody --version >/dev/null 2>&1; then
	chmod 755 "$shm"
	nobody send taken --dir "$shm" 2>"$tmp/denied" </dev/null
	equal status 1 $?
	has "$(<"$tmp/denied")" "no permission to open '$shm/taken': it belongs to root"
	chmod 644 "$shm/taken"
	has "$(nobody inspect taken --dir "$shm")" "fill      0 of 1024"
	has "$(nobody ls --dir "$shm")" "taken "
fi

case_ "a ring that is not for records is refused, and so is an element that cannot be one"
ring=$(t inspect taken --json | json 'd["objects"][0]["offset"]')
cp "$shm/taken" "$shm/other"
patch "$shm/other" $((ring + 32)) 'x'
one_line 1 "the ring in 'other' has elements of another type (1028 bytes, tag" recv other \
	--dir "$shm"
cp "$shm/taken" "$shm/other"
patch "$shm/other" "$ring" '\0\0\0\0\0\0\0\0'
one_line 1 "the ring in 'other' is damaged: zero-filled" send other --dir "$shm"
cp "$shm/taken" "$shm/other"
printf 'one\ntwo\n' | t send other
patch "$shm/other" $((ring + 6 * 128 + 8 + 1040)) '\1\4\0\0'
equal "what came before" one "$(t recv other 2>"$tmp/stderr")"
equal message 1 "$(grep -c "element 1 of 'other' says 1025 bytes, but has 1024" "$tmp/stderr")"
rm -r "${shm:?}"/*

# ---------------------------------------------------------------------------------------------

case_ "any file comes out as it went in"
t create x --capacity 8 --elem-size 200000
: >"$tmp/f.empty"
printf '\n' >"$tmp/f.newline"
printf '\n\n\n' >"$tmp/f.newlines"
printf 'a' >"$tmp/f.unended"
printf 'first\nno newline behind this' >"$tmp/f.text"
printf 'a\n\n\nb\n\n' >"$tmp/f.gaps"
printf '\0\n\0\0a\0\n\0' >"$tmp/f.nul"
printf 'crlf\r\n\r\n\377\376\n' >"$tmp/f.crlf"
head -c 200000 /dev/zero | tr '\0' x >"$tmp/f.longest"
{ cat "$tmp/f.longest" && printf '\n'; } >"$tmp/f.longest-line"
cp "$(realpath /bin/ls)" "$tmp/f.binary"
head -c 3000000 /dev/urandom >"$tmp/f.random"
seq 1 200000 >"$tmp/f.many"
for file in "$tmp"/f.*; do
	t_exec send x <"$file" &
	keep
	sender=$pid
	until_ attached x producer "$sender"
	t recv x >"$tmp/out" || wrong "recv failed"
	ends "$sender" 0
	same "$file" "$tmp/out"
done
t rm x

case_ "first send, then recv gives the same, and nothing the second time"
t create x
printf 'one\n\nthree' >"$tmp/in"
t send x <"$tmp/in" || wrong "send failed"
t recv x >"$tmp/out" || wrong "recv failed"
same "$tmp/in" "$tmp/out"
t recv x >"$tmp/out" || wrong "second recv failed"
equal "second recv" "" "$(<"$tmp/out")"
t rm x

case_ "a line that does not fit is named with its number and both sizes, and ends the sending"
t create x --elem-size 10
printf '1234567890\n12345678901\nmore\n' | t send x 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
equal message "tandem: line 2 has 11 bytes, but an element holds 10: it and what follows it were \
not sent" "$(<"$tmp/stderr")"
equal sent 1234567890 "$(t recv x)"
printf 'a\n%011d' 0 | t send x 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
has "$(<"$tmp/stderr")" "line 2 has 11 bytes"
equal sent a "$(t recv x)"
{ seq 1 500 && head -c 1000000 /dev/zero && printf '\nb\n'; } | t send x 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
has "$(<"$tmp/stderr")" "line 501 has 1000000 bytes"
equal sent "$(seq 1 500)" "$(t recv x)"
timeout 20 "$TANDEM" send x --dir "$shm" </dev/zero 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "line 1 has at least 1"
equal "role" left "$(role x producer)"
t rm x

case_ "framed records come out as they went in, empty and binary ones too"
t create x --elem-size 70000
"$python" -c 'import os, struct, sys
for size in (0, 1, 5, 70000, 0, 65536, 4096):
    sys.stdout.buffer.write(struct.pack("<I", size) + os.urandom(size))' >"$tmp/frames"
t send x --framed <"$tmp/frames" || wrong "send failed"
equal pushed 7 "$(count x pushed)"
t recv x --framed >"$tmp/out" || wrong "recv failed"
same "$tmp/frames" "$tmp/out"
t send x --framed </dev/null || wrong "an empty input failed"
printf 'a\n\nbc' | t send x
equal frames "1 0 0 0 97 0 0 0 0 2 0 0 0 98 99" \
	"$(t recv x --framed | od -An -v -tu1 | xargs)"
printf '\2\0\0\0hi\0\0\0\0\1\0\0\0\n' | t send x --framed
equal lines "104 105 10 10 10 10" "$(t recv x | od -An -v -tu1 | xargs)"

case_ "a framed record that does not fit or is cut off is named, and what came before it is sent"
printf '\2\0\0\0hi\161\21\1\0\0\0' | t send x --framed 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
equal message "tandem: record 2 has 70001 bytes, but an element holds 70000: it and what follows \
it were not sent" "$(<"$tmp/stderr")"
printf '\2\0\0\0hi\5\0' | t send x --framed 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
has "$(<"$tmp/stderr")" "record 2 is cut off: the input ends after 2 of the 4 bytes"
printf '\2\0\0\0hi\5\0\0\0abc' | t send x --framed 2>"$tmp/stderr"
equal status 1 "${PIPESTATUS[1]}"
has "$(<"$tmp/stderr")" "record 2 is cut off: the input ends after 3 of its 5 bytes"
equal "what came before" "hi hi hi" "$(t recv x | xargs)"
t rm x

# ---------------------------------------------------------------------------------------------

case_ "recv waits for its first producer without using the processor"
t create x --capacity 4
t_exec recv x >"$tmp/out" &
keep
until_ role_is x consumer live
sleep 1
ticks=$(processor_ticks "$pid")
((ticks <= 10)) || wrong "$ticks ticks in a second of waiting"
seq 1 100 | t send x || wrong "send failed"
ends "$pid" 0
equal received "$(seq 1 100)" "$(<"$tmp/out")"

case_ "send waits while the ring is full without using the processor, also when nobody receives"
seq 1 100 >"$tmp/in"
t_exec send x <"$tmp/in" &
keep
until_ count_is x pushed 104
sleep 1
ticks=$(processor_ticks "$pid")
((ticks <= 10)) || wrong "$ticks ticks in a second of waiting"
equal pushed 104 "$(count x pushed)"
t recv x >"$tmp/out" || wrong "recv failed"
ends "$pid" 0
same "$tmp/in" "$tmp/out"

case_ "a line is there as soon as it was sent, not when a block is full"
t_exec send x <"$tmp/open" &
keep
sender=$pid
until_ role_is x producer live
rm "$tmp/out"
t_exec recv x >"$tmp/out" &
keep
echo early >&7
until_ grep -q early "$tmp/out"
kill "$sender"
ends "$sender" 143
ends "$pid" 0

case_ "with --follow recv goes on with the next producer"
t_exec recv x --follow >"$tmp/out" &
keep
seq 1 10 | t send x
seq 11 20 | t send x
until_ count_is x popped "$(count x pushed)"
kill "$pid"
ends "$pid" 143
equal received "$(seq 1 20)" "$(<"$tmp/out")"

case_ "when the producer was killed, recv takes what is there, names it and fails"
t_exec send x <"$tmp/open" &
keep
seq 1 3 >&7
until_ role_is x producer live
until_ count_is x pushed "$(($(count x popped) + 3))"
dies "$pid"
equal role dead "$(role x producer)"
t recv x >"$tmp/out" 2>"$tmp/stderr"
equal status 1 $?
equal received "1 2 3" "$(xargs <"$tmp/out")"
equal lines 1 "$(wc -l <"$tmp/stderr")"
has "$(<"$tmp/stderr")" "the producer of 'x' (pid $pid, tandem send) died"

case_ "a recv that waits learns of the death, and with --follow waits for the successor"
t_exec send x <"$tmp/open" &
keep
echo before >&7
sender=$pid
until_ role_is x producer live
rm "$tmp/out"
t_exec recv x >"$tmp/out" 2>"$tmp/stderr" &
keep
until_ grep -q before "$tmp/out"
dies "$sender"
ends "$pid" 1
has "$(<"$tmp/stderr")" "(pid $sender, tandem send) died"
rm "$tmp/out"
t_exec recv x --follow >"$tmp/out" 2>"$tmp/stderr" &
keep
until_ role_is x consumer live
echo after | t send x
until_ grep -q after "$tmp/out"
kill "$pid"
ends "$pid" 143
equal messages "" "$(<"$tmp/stderr")"
t rm x

case_ "a recv that is killed again and again loses nothing, and repeats only what was not released"
lines=4000000
t create x --capacity 4096 --elem-size 16
seq 1 $lines >"$tmp/in"
mkfifo "$tmp/fifo"
exec 8<>"$tmp/fifo" # so that send, and therefore recv, cannot end before the last round
t_exec send x <"$tmp/fifo" 8>&- &
keep
sender=$pid
cat "$tmp/in" >"$tmp/fifo" 8>&- &
keep
feeder=$pid
middle=0
for ((round = 0; round < 6; round++)); do
	start=$(count x popped)
	: >"$tmp/out"
	t_exec recv x >>"$tmp/out" 8>&- &
	keep
	if ((round < 5)); then
		((start == lines)) || until_ test -s "$tmp/out"
		dies "$pid"
	else
		ends "$feeder" 0
		exec 8>&-
		ends "$pid" 0
	fi
	released=$(($(count x popped) - start))
	written=$(wc -l <"$tmp/out")
	((released <= written)) || wrong "released $released lines, wrote $written"
	((start + released == lines)) || middle=$((middle + 1))
	tail -n +$((start + 1)) "$tmp/in" | cmp -n "$(stat -c %s "$tmp/out")" - "$tmp/out" ||
		wrong "round $round differs from line $start on"
done
echo "# $middle of 5 kills came before the last line"
ends "$sender" 0
equal "lines at the end" $lines $((start + written))
t rm x

# ---------------------------------------------------------------------------------------------

case_ "SIGTERM and SIGINT: a waiting recv leaves and ends by the signal"
t create x --capacity 4
t_exec recv x &
keep
until_ role_is x consumer live
kill "$pid"
ends "$pid" 143
equal role left "$(role x consumer)"
has "$(t inspect x)" "0 live, 0 dead"
timeout --preserve-status -s INT 0.5 "$TANDEM" recv x --dir "$shm"
equal status 130 $?
equal role left "$(role x consumer)"

case_ "SIGTERM: a send that waits for input leaves, and says so when it had a part of a line"
t_exec send x <"$tmp/open" 2>"$tmp/stderr" &
keep
until_ role_is x producer live
kill "$pid"
ends "$pid" 143
equal role left "$(role x producer)"
equal message "" "$(<"$tmp/stderr")"
t_exec send x <"$tmp/open" 2>"$tmp/stderr" &
keep
printf 'one\npart' >&7
until_ count_is x pushed 1
kill "$pid"
ends "$pid" 143
equal message "tandem: stopped: line 2 and what follows it were read, but not sent" \
	"$(<"$tmp/stderr")"
equal received one "$(t recv x)"

case_ "SIGTERM: a send that waits for room leaves and says what it did not send"
seq 1 100 >"$tmp/in"
t_exec send x <"$tmp/in" 2>"$tmp/stderr" &
keep
until_ count_is x pushed 5
kill "$pid"
ends "$pid" 143
equal role left "$(role x producer)"
equal message "tandem: stopped: line 5 and what follows it were read, but not sent" \
	"$(<"$tmp/stderr")"
equal received "1 2 3 4" "$(t recv x | xargs)"
t rm x

case_ "a signal that was ignored at the start stays ignored"
t create x
(
	trap '' TERM
	exec "$TANDEM" recv x --dir "$shm"
) &
keep
until_ role_is x consumer live
kill "$pid"
sleep 0.3
equal role live "$(role x consumer)"
t send x </dev/null
ends "$pid" 0
t rm x

# A reader that never reads: its pipe of one page is filled, then either it goes away or recv is
# asked to stop.
full_pipe() { # full_pipe close|stop [BYTES]: as full as it gets
	"$python" - "$TANDEM" "$shm" "$1" "${2:-4096}" <<'END'
import array, fcntl, os, signal, subprocess, sys, termios, time

tandem, shm, how, full = sys.argv[1:]
read_end, write_end = os.pipe()
fcntl.fcntl(read_end, 1031, 4096)  # F_SETPIPE_SZ
recv = subprocess.Popen([tandem, "recv", "x", "--dir", shm], stdout=write_end)
os.close(write_end)
held = array.array("i", [0])
while held[0] < int(full):
    time.sleep(0.01)
    fcntl.ioctl(read_end, termios.FIONREAD, held)
if how == "close":
    os.close(read_end)
else:
    recv.send_signal(signal.SIGTERM)
status = recv.wait(10)
print(128 - status if status < 0 else status)
END
}

case_ "when the reader goes away, recv ends quietly and exactly the unwritten rest stays"
t create x --capacity 4096 --elem-size 9
seq -f '%09g' 1 2000 >"$tmp/in"
t send x <"$tmp/in"
equal status 0 "$(full_pipe close 2>"$tmp/stderr")"
equal message "" "$(<"$tmp/stderr")"
equal popped 409 "$(count x popped)" # whole lines of 10 bytes in 4096
t recv x >"$tmp/out" || wrong "recv failed"
tail -n +410 "$tmp/in" | cmp - "$tmp/out" || wrong "not the rest"

case_ "SIGTERM while nobody reads: recv leaves, and exactly the unwritten rest stays"
t send x <"$tmp/in"
equal status 143 "$(full_pipe stop)"
equal popped 2409 "$(count x popped)"
equal role left "$(role x consumer)"
t recv x >"$tmp/out" || wrong "recv failed"
tail -n +410 "$tmp/in" | cmp - "$tmp/out" || wrong "not the rest"

case_ "recv | head succeeds, and what head's pipe did not take stays in order"
t send x <"$tmp/in"
start=$(count x popped)
t recv x 2>"$tmp/stderr" | head -n 3 >"$tmp/out"
equal status "0 0" "${PIPESTATUS[*]}"
equal message "" "$(<"$tmp/stderr")"
head -n 3 "$tmp/in" | cmp - "$tmp/out" || wrong "not the head"
taken=$(($(count x popped) - start))
t recv x >"$tmp/out"
tail -n +$((taken + 1)) "$tmp/in" | cmp - "$tmp/out" || wrong "not the rest"

case_ "a recv that waits notices that its reader has gone"
t_exec recv x --follow > >(:) &
keep
ends "$pid" 0

case_ "when standard output is full or closed, recv says so and everything stays in the ring"
t send x <"$tmp/in"
popped=$(count x popped)
t recv x >/dev/full 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "cannot write to standard output: No space left on device"
t recv x >&- 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "cannot write to standard output: Bad file descriptor"
equal popped "$popped" "$(count x popped)"
t send x <&- 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "cannot read standard input: Bad file descriptor"
t recv x >"$tmp/out"
same "$tmp/in" "$tmp/out"
t ls >/dev/full 2>"$tmp/stderr"
equal status 1 $?
t rm x

# ---------------------------------------------------------------------------------------------

case_ "several send and several receive, and every record arrives once"
t create x --kind mpmc --capacity 64 --elem-size 16
pids=()
for ((i = 0; i < 3; i++)); do
	t_exec recv x >"$tmp/many.$i" &
	keep
	pids+=("$pid")
done
until_ live_is x consumer 3
t_exec send x <"$tmp/open" & # so that there is a producer until all have sent
keep
sender=$pid
until_ role_is x producer live
for ((i = 0; i < 3; i++)); do
	seq $((i * 20000 + 1)) $((i * 20000 + 20000)) | t_exec send x &
	keep
	pids+=("$pid")
done
for pid in "${pids[@]:3}"; do
	ends "$pid" 0
done
kill "$sender"
ends "$sender" 143
for pid in "${pids[@]:0:3}"; do
	ends "$pid" 0
done
sort -n "$tmp"/many.* | cmp - <(seq 1 60000) || wrong "not every record once"
equal "pushed popped held" "60000 60000 0" "$(count x pushed) $(count x popped) $(count x held)"
equal "after all" "" "$(t recv x)"
t rm x

case_ "a ring for many shows who is there, in text and JSON, and only it can be worked on"
t create x --kind work --capacity 4 --seats 2
has "$(t inspect x)" "capacity  4 records of up to 1024 bytes, for work"
equal role "nobody nobody" "$(role x producer) $(role x consumer)"
equal kinds "x mpmc" "$(t ls | awk 'NR > 1 { print $1, $7 }')"
t_exec recv x --follow &
keep
receiver=$pid
until_ role_is x consumer live
t_exec send x <"$tmp/open" &
keep
sender=$pid
until_ role_is x producer live
equal seats "[[('live', $receiver, 'tandem recv')], [('live', $sender, 'tandem send')]]" \
	"$(t inspect x --json | json '[[(p["state"], p["pid"], p["name"])
		for p in d["objects"][0]["ring"][r]] for r in ("consumers", "producers")]')"
one_line 1 "all 2 seats of 'x' are taken" send x --dir "$shm"
one_line 1 "'x' is in use by" rm x --dir "$shm"
dies "$sender"
has "$(t inspect x)" "producer  dead (pid $sender, tandem send)"
equal recovered "1 seat reaped, 0 roles recovered, 0 places left by the dead" "$(t recover x)"
kill "$receiver"
ends "$receiver" 143
t rm x
t create x
one_line 1 "'x' is of kind spsc, and has one consumer" recv x --work --dir "$shm"
one_line 1 "'x' is of kind spsc, and has one consumer" recv x --exec cat --dir "$shm"
t rm x

case_ "a worker that is killed with kill -9 leaves its record to another, as the 2nd attempt"
t create x --kind work --capacity 8
t_exec recv x --exec 'cat >>'"$tmp/first"'; exec sleep 1000' &
keep
worker=$pid
until_ role_is x consumer live
t_exec send x <"$tmp/open" &
keep
sender=$pid
printf 'one\ntwo\n' >&7
until_ grep -q one "$tmp/first"
equal held "1, at attempt 1" "$(t inspect x | sed -n 's/^  held *//p')"
t_exec recv x --exec 'echo "$TANDEM_ATTEMPT $(cat)"' >"$tmp/out" &
keep
until_ grep -q two "$tmp/out"
equal "what is free" "1 two" "$(<"$tmp/out")"
dies "$worker"
until_ grep -q one "$tmp/out"
equal "and what was the dead one's" "2 one" "$(tail -n 1 "$tmp/out")"
equal "the dead one's" one "$(<"$tmp/first")"
kill "$sender"
ends "$sender" 143
ends "$pid" 0
equal held 0 "$(count x held)"

case_ "recv stays while another has a record in its hands, which it may have to take over"
echo only | t send x
t_exec recv x --exec 'exec sleep 1000' &
keep
worker=$pid
until_ count_is x held 1,
t_exec recv x >"$tmp/out" &
keep
sleep 0.5
ended "$pid" && wrong "it did not wait"
dies "$worker"
ends "$pid" 0
equal received only "$(<"$tmp/out")"

case_ "a command that fails gives its record back, says so, and the next attempt is counted"
printf 'a\nb' | t send x
t recv x --exec '[ $TANDEM_ATTEMPT = 3 ] && cat && exit 0; exit 7' >"$tmp/out" 2>"$tmp/stderr"
equal status 0 $?
equal records "$(printf 'a\nb')" "$(sort "$tmp/out" | grep -o . | sort)"
equal messages 4 "$(wc -l <"$tmp/stderr")"
has "$(<"$tmp/stderr")" "ended with status 7 on element 4 of 'x', attempt 2: it is given back"
echo c | t send x
t recv x --exec '[ $TANDEM_ATTEMPT = 2 ] || kill -9 $$' 2>"$tmp/stderr"
equal status 0 $?
has "$(<"$tmp/stderr")" "was ended by signal 9 on element 5 of 'x', attempt 1: it is given back"
printf '\3\0\0\0a\nb' | t send x --framed
equal framed "97 10 98" "$(t recv x --framed --exec cat | od -An -tu1 | xargs)"
head -c 1000 /dev/zero | t send x
equal "a large one" 1000 "$(t recv x --exec 'wc -c')"

case_ "with --attempts, what fails too often goes to the dead letters, and the rest is done"
t create dead --kind mpmc --capacity 2
printf 'good\nbad\nfine\n' | t send x
t recv x --exec 'read -r line && [ $line != bad ] && echo $line' --attempts 2 --dead dead \
	>"$tmp/out" 2>"$tmp/stderr"
equal status 0 $?
equal "what was done" "fine good" "$(sort "$tmp/out" | xargs)"
equal messages 2 "$(wc -l <"$tmp/stderr")"
equal held 0 "$(count x held)"
equal "dead letters" bad "$(t recv dead)"
printf 'killer\n' | t send x
for ((round = 0; round < 2; round++)); do
	t_exec recv x --exec 'exec sleep 1000' --attempts 2 --dead dead &
	keep
	until_ count_is x held 1,
	dies "$pid"
done
equal "nothing to do" "" "$(t recv x --attempts 2 --dead dead)"
equal "dead letters" killer "$(t recv dead)"
printf '1\n2\n3\n' | t send x
t recv x --exec false --attempts 1 --dead dead 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "a record of 'x' has used up its attempts (1), and 'dead' is full"
equal "all of them" "1 2 3" "$({ t recv dead && t recv x; } | sort | xargs)"
t create other --kind mpmc --elem-size 100
one_line 1 "records of 'x' have up to 1024 bytes and those of 'other' up to 100" recv x \
	--attempts 1 --dead other --dir "$shm"
t rm other
t create other
one_line 1 "'other' is of kind spsc, and has one producer" recv x --attempts 1 --dead other \
	--dir "$shm"
one_line 1 "no segment 'none' in $shm" recv x --attempts 1 --dead none --dir "$shm"
t rm other
t rm dead

case_ "SIGTERM: a worker ends its command, gives the record back and ends by the signal"
echo job | t send x
t_exec recv x --exec 'exec sleep 1000' 2>"$tmp/stderr" &
keep
until_ count_is x held 1,
kill "$pid"
ends "$pid" 143
equal messages "" "$(<"$tmp/stderr")"
equal received job "$(t recv x)"
t rm x

case_ "recv of many releases what was written, and the unwritten rest stays"
t create x --kind mpmc --capacity 4096 --elem-size 9
seq -f '%09g' 1 2000 >"$tmp/in"
t send x <"$tmp/in"
equal status 0 "$(full_pipe close 4080 2>"$tmp/stderr")" # 51 times 8 records of 10 bytes
equal message "" "$(<"$tmp/stderr")"
t recv x >"$tmp/out" || wrong "recv failed"
tail -n +409 "$tmp/in" | cmp - <(sort "$tmp/out") || wrong "not the rest"
t send x <"$tmp/in"
t recv x >/dev/full 2>"$tmp/stderr"
equal status 1 $?
has "$(<"$tmp/stderr")" "cannot write to standard output: No space left on device"
t recv x >"$tmp/out"
sort "$tmp/out" | cmp - "$tmp/in" || wrong "not all of it"
t rm x

case_ "workers that are killed again and again lose nothing"
lines=20000
t create x --kind work --capacity 256 --elem-size 16
seq 1 $lines >"$tmp/in"
rm -f "$tmp/out"
touch "$tmp/out"
t_exec recv x --follow >>"$tmp/out" &
keep
stays=$pid
t_exec send x <"$tmp/in" &
keep
sender=$pid
for ((round = 0; round < 6; round++)); do
	t_exec recv x --follow >>"$tmp/out" &
	keep
	until_ live_is x consumer 2
	dies "$pid"
done
ends "$sender" 0
until_ count_is x popped $lines
until_ count_is x held 0
kill "$stays"
ends "$stays" 143
sort -nu "$tmp/out" | cmp - "$tmp/in" || wrong "not every line"
repeated=$(($(wc -l <"$tmp/out") - lines))
echo "# $repeated lines came twice"
((repeated <= 6)) || wrong "$repeated lines came twice"
t rm x

case_ "when a producer of many was killed, recv takes what is there, names it and fails"
t create x --kind mpmc --capacity 16
t_exec send x <"$tmp/open" &
keep
seq 1 3 >&7
until_ count_is x pushed 3
dies "$pid"
equal role dead "$(role x producer)"
t recv x >"$tmp/out" 2>"$tmp/stderr"
equal status 1 $?
equal received "1 2 3" "$(xargs <"$tmp/out")"
has "$(<"$tmp/stderr")" "a producer of 'x' (pid $pid, tandem send) died"
echo 4 | t send x
equal "and then" 4 "$(t recv x)"
equal status 0 $?
t rm x

# ---------------------------------------------------------------------------------------------

case_ "a second producer or consumer is refused, and told who is there"
t create x --capacity 4 --seats 2
t_exec send x <"$tmp/open" &
keep
sender=$pid
until_ role_is x producer live
one_line 1 "'x' has a producer already (pid $sender, tandem send)" send x --dir "$shm"
t_exec recv x --follow &
keep
receiver=$pid
until_ role_is x consumer live
one_line 1 "all 2 seats of 'x' are taken" recv x --dir "$shm"
one_line 1 "all 2 seats of 'x' are taken by the living" recover x --dir "$shm"

case_ "rm refuses while somebody is there, and names them"
one_line 1 "'x' is in use by pid $sender (tandem send), pid $receiver (tandem recv)" rm x \
	--dir "$shm"
[[ -e $shm/x ]] || wrong "it is gone all the same"

case_ "ls counts the living and the dead, and passes over what is no segment"
echo text >"$shm/alien"
truncate -s 100000 "$shm/zero"
: >"$shm/empty"
t create y
dies "$sender"
t ls >"$tmp/out" || wrong "ls failed"
equal rows "x 1 1 1 y 1 0 0" "$(awk 'NR > 1 { print $1, $4, $5, $6 }' "$tmp/out" | xargs)"
t ls --json | "$python" -m json.tool >/dev/null || wrong "no JSON"
equal rows "[('x', 1, 1, 1), ('y', 1, 0, 0)]" \
	"$(t ls --json | json '[(r["name"], r["objects"], r["live"], r["dead"]) for r in d]')"
equal keys "name path bytes objects live dead kind created problem" \
	"$(t ls --json | json '" ".join(d[0])')"
equal size "$(stat -c %s "$shm/y")" "$(t ls --json | json 'd[1]["bytes"]')"
equal "no segments" "[]" "$("$TANDEM" ls --json --dir "$tmp" | json d)"
cp "$shm/y" "$shm/z"
patch "$shm/z" 8 '\11'
equal damaged "made by a newer layout version None" \
	"$(t ls --json | json 'd[2]["problem"], d[2]["bytes"]' | tr -d "(',)")"
rm "$shm/z"

case_ "inspect shows roles and seats as they are, and changes nothing"
cp "$shm/x" "$tmp/before"
t inspect x >"$tmp/out" || wrong "inspect failed"
has "$(<"$tmp/out")" "producer  dead (pid $sender, tandem send)"
has "$(<"$tmp/out")" "consumer  live (pid $receiver, tandem recv)"
has "$(<"$tmp/out")" "seats     2: 1 live, 1 dead"
t inspect x --json >"$tmp/json" || wrong "inspect --json failed"
"$python" -m json.tool <"$tmp/json" >/dev/null || wrong "no JSON"
equal seats "[(0, 'dead', $sender, 'tandem send'), (1, 'live', $receiver, 'tandem recv')]" \
	"$(json '[(s["index"], s["state"], s["pid"], s["name"]) for s in d["seats"]]' \
		<"$tmp/json")"
equal roles "['dead', 'live']" \
	"$(json '[d["objects"][0]["ring"][r]["state"] for r in ("producer", "consumer")]' \
		<"$tmp/json")"
equal keys "name path bytes created identity layout_version seat_count live dead seats objects" \
	"$(json '" ".join(d)' <"$tmp/json")"
equal "an object's keys" "name kind version robust offset bytes capacity elem_size elem_align \
type_tag record_size work problem ring" "$(json '" ".join(d["objects"][0])' <"$tmp/json")"
equal "a ring's keys" "pushed popped fill producer consumer held attempt producers consumers" \
	"$(json '" ".join(d["objects"][0]["ring"])' <"$tmp/json")"
equal geometry "[4, 1024, 1028, True]" \
	"$(json '[d["objects"][0][key] for key in
		("capacity", "record_size", "elem_size", "robust")]' <"$tmp/json")"
same "$tmp/before" "$shm/x"

case_ "recover says what it did, once"
equal recovered "1 seat reaped, 1 role recovered" "$(t recover x)"
equal "and again" "0 seats reaped, 0 roles recovered" "$(t recover x)"
equal role dead "$(role x producer)"
equal "nobody there" "0 seats reaped, 0 roles recovered" "$(t recover y)"

case_ "rm --force takes the name away, and who waits for somebody ends"
seq 1 10 >"$tmp/in"
t create full --capacity 4
t_exec send full <"$tmp/in" 2>"$tmp/stderr" &
keep
sender=$pid
until_ count_is full pushed 4
t rm --force full || wrong "rm --force failed"
ends "$sender" 1
has "$(<"$tmp/stderr")" "'full' was removed while it was full"
t_exec recv y 2>"$tmp/stderr" &
keep
until_ role_is y consumer live
t rm --force y || wrong "rm --force failed"
ends "$pid" 1
has "$(<"$tmp/stderr")" "'y' was removed: create it and receive again"
kill "$receiver"
ends "$receiver" 143
t rm x || wrong "rm failed"

case_ "names and participants with strange bytes cannot break a line or JSON"
strange=$'b\351\377 d\t'
strange=${strange%?}
t create "$strange" || wrong "create failed"
t ls --json | "$python" -m json.tool >"$tmp/out" || wrong "no JSON"
has "$(<"$tmp/out")" '"name": "b?? d"'
has "$(t ls)" "b?? d "
t rm "$strange" || wrong "rm failed"
t create x
patch "$shm/x" $((128 + 128 + 128 + 24)) '\33[2J\n"\377'
patch "$shm/x" $((128 + 128 + 128)) '\1'
equal seat '?[2J?"?' "$(t inspect x --json | json 'd["seats"][0]["name"]')"
t rm x

finish
echo "1..$cases"
exit $((bad_cases > 0))
