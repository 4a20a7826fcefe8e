# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What the scripts need from Debian, and the one place that installs it. Source this, then:
#
#	need_packages build test
#
# Names missing packages' one apt line and fails, unless the caller is root: then it installs them.

declare -A tandem_packages=(
	[demo]="gcc libc6-dev"
	[build]="meson ninja-build python3 pkg-config gcc libc6-dev libjson-c-dev"
	[test]="make g++ clang libclang-rt-dev llvm libck-dev
		gcc-i686-linux-gnu g++-i686-linux-gnu libc6-dev-i386-cross"
	[bench]="g++ libbenchmark-dev libboost-dev libck-dev gnuplot-nox"
	[check]="git clang-format clang-tidy cppcheck shellcheck"
)

need_packages() {
	local group package status missing=()
	if ! command -v dpkg-query >/dev/null; then
		echo "not a Debian: make sure that you have what tools/lib/packages.sh lists" >&2
		return 0
	fi
	for group in "$@"; do
		for package in ${tandem_packages[$group]}; do
			status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)
			[[ $status == installed ]] || missing+=("$package")
		done
	done
	((${#missing[@]})) || return 0
	if ((EUID != 0)); then
		echo "run this once, then try again:" >&2
		echo "sudo apt-get install --no-install-recommends ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${missing[*]}"
	local log
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "could not install: ${missing[*]}" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}
