// SPDX-License-Identifier: BSD-2-Clause
// Contenders side by side: interleaved in rounds, the first of which is for warming up, and
// tabulated with medians and ratios. Where the host moves the CPUs, absolute figures move with
// them, and only ratios of one placement mean anything: so samples are filed by the time that a
// cache line took there and back around them, and measured again when that changed meanwhile.
#ifndef TDM_BENCH_SUPPORT_CONTEST_H
#define TDM_BENCH_SUPPORT_CONTEST_H

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "duel.h"

namespace contest
{

struct Options {
	int rounds = 10;
	uint64_t divisor = 1; // of every count
	bool smoke = false;
	bool self_test = false;
	std::string filter, json;
};

struct Trial {
	std::string title;
	bool rate; // M items/s, where more is better; or ns
	uint64_t count;
	duel::Sides sides;
	std::vector<const contender *> contenders;
};

// A column of ratios: the contender of this peer that takes as many elements at once, if there is
// one, and else the one that takes single ones.
struct Column {
	std::string title, peer;
};

[[noreturn]] inline void usage(const char *program, FILE *to, int status)
{
	std::fprintf(
	    to,
	    "usage: %s [--rounds N] [--filter TEXT] [--json FILE] [--smoke | --self-test]\n"
	    "\n"
	    "  --rounds N     measure N times and drop the first (10)\n"
	    "  --filter TEXT  only where TEXT is in \"trial: contender\"\n"
	    "  --json FILE    every sample as well\n"
	    "  --smoke        tiny counts: the values are checked, the figures mean nothing\n"
	    "  --self-test    expect what is never sent: passes if every contender is caught\n"
	    "  --help         this\n",
	    program);
	std::exit(status);
}

[[noreturn]] inline void complain(const char *program, const std::string &what)
{
	std::fprintf(stderr, "%s: %s (try --help)\n", program, what.c_str());
	std::exit(2);
}

inline Options parse(int argc, char **argv)
{
	Options options;
	for (int i = 1; i < argc; i++) {
		const std::string name = argv[i];
		if (name == "--help")
			usage(argv[0], stdout, 0);
		if (name == "--smoke" || name == "--self-test") {
			options.smoke = true;
			options.self_test = name == "--self-test";
			options.divisor = 400;
			options.rounds = 2;
			continue;
		}
		const bool known = name == "--rounds" || name == "--filter" || name == "--json";
		if (!known)
			complain(argv[0], "no option " + name);
		if (++i == argc)
			complain(argv[0], name + " needs a value");
		if (name == "--filter") {
			options.filter = argv[i];
		} else if (name == "--json") {
			options.json = argv[i];
		} else {
			char *end;
			const long rounds = std::strtol(argv[i], &end, 10);
			if (*end != '\0' || rounds < 2 || rounds > 10000)
				complain(argv[0],
					 "--rounds takes 2 to 10000, not " + std::string(argv[i]));
			options.rounds = static_cast<int>(rounds);
		}
	}
	return options;
}

inline double quantile(std::vector<double> values, double q)
{
	if (values.empty())
		return 0;
	std::sort(values.begin(), values.end());
	const double place = q * static_cast<double>(values.size() - 1);
	const size_t below = static_cast<size_t>(place);
	const size_t above = std::min(below + 1, values.size() - 1);
	const double part = place - static_cast<double>(below);
	return values[below] * (1 - part) + values[above] * part;
}

inline double median(const std::vector<double> &values)
{
	return quantile(values, 0.5);
}

inline std::string text(const char *format, double value)
{
	char buffer[64];
	std::snprintf(buffer, sizeof(buffer), format, value);
	return buffer;
}

inline std::string quoted(const std::string &value)
{
	std::string result = "\"";
	for (const char c : value) {
		if (c == '"' || c == '\\')
			result += '\\';
		result += c;
	}
	return result + '"';
}

inline std::string first_line(const char *path, const char *key)
{
	char line[256];
	std::string found = "unknown";
	FILE *file = std::fopen(path, "r");
	while (file != nullptr && std::fgets(line, sizeof(line), file) != nullptr) {
		const char *value = std::strstr(line, ": ");
		if (std::strncmp(line, key, std::strlen(key)) != 0 || value == nullptr)
			continue;
		found.assign(value + 2, std::strcspn(value + 2, "\n"));
		break;
	}
	if (file != nullptr)
		std::fclose(file);
	return found;
}

class Contest
{
      public:
	Contest(const char *name, Options options, std::vector<Column> columns)
	    : options_(std::move(options)), columns_(std::move(columns))
	{
		json_ = "{\n\"benchmark\": " + quoted(name) +
			",\n\"cpu\": " + quoted(first_line("/proc/cpuinfo", "model name")) +
			",\n\"compiler\": " + quoted(__VERSION__) +
			",\n\"rounds\": " + std::to_string(options_.rounds - 1) +
			",\n\"trials\": [";
	}

	const Options &options() const
	{
		return options_;
	}

	void run(const std::vector<Trial> &trials)
	{
		std::vector<Row> rows;
		for (const Trial &trial : trials)
			for (const contender *who : trial.contenders)
				if ((trial.title + ": " + who->name).find(options_.filter) !=
				    std::string::npos)
					rows.push_back({&trial, who, {}, 0, 0});
		for (int round = 0; round < options_.rounds; round++)
			for (Row &row : rows)
				measure(row, round > 0);
		if (rows.empty())
			return;
		measured_ = true;
		if (options_.self_test)
			std::printf("expected what nobody sent of %zu contenders\n", rows.size());
		for (const Trial &trial : trials)
			report(trial, rows);
	}

	// Another kind of result: JSON objects beside the trials, and no table.
	void add_json(const std::string &object)
	{
		json_ += (trials_++ > 0 ? ",\n" : "\n") + object;
	}

	// Every value right; or, in the self-test, not every one.
	void judge(const std::string &title, const char *name, uint64_t wrong)
	{
		measured_ = true;
		if ((wrong != 0) == options_.self_test)
			return;
		std::fprintf(stderr, "FAILED %s: %s: %llu wrong values\n", title.c_str(), name,
			     static_cast<unsigned long long>(wrong));
		failed_ = true;
	}

	// What main() returns.
	int finish()
	{
		if (!measured_) {
			std::fprintf(stderr, "nothing matches \"%s\"\n", options_.filter.c_str());
			return 1;
		}
		json_ += "\n]\n}\n";
		if (!options_.json.empty()) {
			FILE *file = std::fopen(options_.json.c_str(), "w");
			if (file == nullptr || std::fputs(json_.c_str(), file) < 0 ||
			    std::fclose(file) != 0) {
				std::fprintf(stderr, "%s: %s\n", options_.json.c_str(),
					     std::strerror(errno));
				return 1;
			}
		}
		return failed_ ? 1 : 0;
	}

      private:
	struct Sample {
		double value, probe_ns;
	};

	struct Row {
		const Trial *trial;
		const contender *who;
		std::vector<Sample> samples;
		int dropped, interrupted;
	};

	// Samples that were taken while a line took about `probe_ns`.
	struct Placement {
		double low, high;

		std::vector<double> of(const Row &row) const
		{
			std::vector<double> values;
			for (const Sample &sample : row.samples)
				if (sample.probe_ns >= low && sample.probe_ns <= high)
					values.push_back(sample.value);
			return values;
		}
	};

	void measure(Row &row, bool keep)
	{
		const Trial &trial = *row.trial;
		const uint64_t count = std::max<uint64_t>(trial.count / options_.divisor, 1000);
		const int last = keep ? 2 : 0;
		for (int attempt = 0; attempt <= last; attempt++) {
			const duel::Result result =
			    duel::run(*row.who, trial.sides, count, options_.self_test ? 1 : 0);
			judge(trial.title, row.who->name, result.wrong);
			if (result.wrong != 0 || !keep)
				break;
			if (result.moved()) {
				row.dropped++;
				continue;
			}
			if (result.interrupted && attempt < last)
				continue;
			row.interrupted += result.interrupted;
			const double each = result.ns / static_cast<double>(count);
			row.samples.push_back({trial.rate ? 1e3 / each : each,
					       (result.before_ns + result.after_ns) / 2});
			break;
		}
	}

	// Two samples are of one placement when no gap of 30 % parts their probes.
	static std::vector<Placement> placements(const Trial &trial, const std::vector<Row> &rows)
	{
		std::vector<double> probes;
		for (const Row &row : rows)
			if (row.trial == &trial)
				for (const Sample &sample : row.samples)
					probes.push_back(sample.probe_ns);
		std::sort(probes.begin(), probes.end());
		std::vector<Placement> found;
		for (const double probe : probes) {
			if (found.empty() || probe > 1.3 * found.back().high)
				found.push_back({probe, probe});
			found.back().high = probe;
		}
		return found;
	}

	// How many times better than the column's contender; 0 where there is none.
	double ratio(const Row &row, const Column &column, const std::vector<Row> &rows,
		     const Placement &placement) const
	{
		const Row *other = nullptr;
		for (const Row &candidate : rows) {
			if (candidate.trial != row.trial || column.peer != candidate.who->peer)
				continue;
			if (other == nullptr || candidate.who->batch == row.who->batch)
				other = &candidate;
		}
		if (other == nullptr || other == &row)
			return 0;
		const double ours = median(placement.of(row));
		const double theirs = median(placement.of(*other));
		if (ours == 0 || theirs == 0)
			return 0;
		return row.trial->rate ? ours / theirs : theirs / ours;
	}

	void report(const Trial &trial, const std::vector<Row> &rows)
	{
		int dropped = 0, interrupted = 0;
		for (const Row &row : rows) {
			if (row.trial != &trial)
				continue;
			dropped += row.dropped;
			interrupted += row.interrupted;
		}
		for (const Placement &placement : placements(trial, rows))
			table(trial, rows, placement);
		if (dropped > 0)
			std::printf("\nDropped: %d, because the cores moved meanwhile.\n", dropped);
		if (interrupted > 0)
			std::printf("\nNot dropped, though other programs had a core for a while: "
				    "%d.\n",
				    interrupted);
	}

	void table(const Trial &trial, const std::vector<Row> &rows, const Placement &placement)
	{
		const char *unit = trial.rate ? "M items/s" : "ns";
		const double probe = (placement.low + placement.high) / 2;
		std::printf("\n### %s, cores %.0f ns apart\n\n| | %s | min | max | samples |",
			    trial.title.c_str(), probe, unit);
		for (const Column &column : columns_)
			std::printf(" × %s |", column.title.c_str());
		std::printf("\n|---|--:|--:|--:|--:|");
		for (size_t i = 0; i < columns_.size(); i++)
			std::printf("--:|");
		std::printf("\n");
		std::string members;
		for (const Row &row : rows) {
			const std::vector<double> values = placement.of(row);
			if (row.trial != &trial || values.empty())
				continue;
			const double middle = median(values);
			const double low = quantile(values, 0), high = quantile(values, 1);
			std::printf("| %s | %.1f | %.1f | %.1f | %zu |", row.who->name, middle, low,
				    high, values.size());
			std::string ratios, samples;
			for (const Column &column : columns_) {
				const double times = ratio(row, column, rows, placement);
				std::printf(times > 0 ? " %.2f |" : " |", times);
				if (times > 0)
					ratios += ", " + quoted("vs_" + column.peer) +
						  text(": %.4f", times);
			}
			std::printf("\n");
			for (const double value : values)
				samples += (samples.empty() ? "" : ", ") + text("%.3f", value);
			members += (members.empty() ? "\n" : ",\n") +
				   std::string("   {\"name\": ") + quoted(row.who->name) +
				   ", \"peer\": " + quoted(row.who->peer) +
				   text(", \"median\": %.3f", middle) +
				   text(", \"min\": %.3f", low) + text(", \"max\": %.3f", high) +
				   ratios + ", \"samples\": [" + samples + "]}";
		}
		add_json("{\"title\": " + quoted(trial.title) + ", \"unit\": " + quoted(unit) +
			 text(", \"cores_apart_ns\": %.1f", probe) + ",\n \"rows\": [" + members +
			 "\n ]}");
	}

	Options options_;
	std::vector<Column> columns_;
	std::string json_;
	int trials_ = 0;
	bool measured_ = false, failed_ = false;
};

// Any number of lists that NULL ends, one after the other.
inline void append(std::vector<const contender *> &all, const contender *const *list)
{
	while (*list != nullptr)
		all.push_back(*list++);
}

} // namespace contest

#endif
