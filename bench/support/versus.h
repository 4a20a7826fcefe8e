// SPDX-License-Identifier: BSD-2-Clause
// Google Benchmark for a comparison: names are "operation/contender/...", the contenders run
// interleaved in one process, several rounds in random order, and the table shows medians and what
// tandem's is in terms of each other's. Absolute figures drift on a shared machine; ratios of one
// run hold. With --benchmark_out=FILE Google Benchmark writes its own JSON beside it.
#ifndef TDM_BENCH_SUPPORT_VERSUS_H
#define TDM_BENCH_SUPPORT_VERSUS_H

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace versus
{

class Table : public benchmark::BenchmarkReporter
{
      public:
	bool ReportContext(const Context &context) override
	{
		PrintBasicContext(&GetErrorStream(), context);
		return true;
	}

	void ReportRuns(const std::vector<Run> &runs) override
	{
		for (const Run &run : runs) {
			if (run.error_occurred) {
				std::printf("%s: %s\n", run.benchmark_name().c_str(),
					    run.error_message.c_str());
				continue;
			}
			const auto rate = run.counters.find("items_per_second");
			if (run.run_type != Run::RT_Iteration || rate == run.counters.end())
				continue;
			// operation/contender/rest
			const std::string name = run.run_name.str();
			const size_t first = name.find('/'), second = name.find('/', first + 1);
			const std::string rest =
			    second == std::string::npos ? "" : name.substr(second);
			const std::string row = name.substr(0, first) + rest;
			rows_[row][name.substr(first + 1, second - first - 1)].push_back(
			    rate->second);
		}
	}

	void Finalize() override
	{
		std::printf("| operation | | M items/s | tandem / it |\n|---|---|--:|--:|\n");
		for (auto &row : rows_) {
			const double ours = median(row.second["tandem"]);
			for (const auto &contender : row.second) {
				const double theirs = median(contender.second);
				std::printf("| %s | %s | %.2f |", row.first.c_str(),
					    contender.first.c_str(), theirs / 1e6);
				if (contender.first == "tandem")
					std::printf(" |\n");
				else
					std::printf(" %.2f |\n", ours / theirs);
			}
		}
	}

      private:
	static double median(std::vector<double> values)
	{
		if (values.empty())
			return 0;
		std::sort(values.begin(), values.end());
		const size_t half = values.size() / 2;
		return values.size() % 2 != 0 ? values[half]
					      : (values[half - 1] + values[half]) / 2;
	}

	std::map<std::string, std::map<std::string, std::vector<double>>> rows_;
};

// What main() does. Our defaults come first, so that the command line can overrule them.
inline int run(int argc, char **argv)
{
	std::string defaults[] = {"--benchmark_repetitions=9", "--benchmark_min_time=0.02",
				  "--benchmark_enable_random_interleaving=true"};
	std::vector<char *> arguments(argv, argv + 1);
	for (std::string &argument : defaults)
		arguments.push_back(&argument[0]);
	arguments.insert(arguments.end(), argv + 1, argv + argc);
	arguments.push_back(nullptr);
	int count = static_cast<int>(arguments.size()) - 1;
	benchmark::Initialize(&count, arguments.data());
	if (benchmark::ReportUnrecognizedArguments(count, arguments.data()))
		return 2;
	Table table;
	benchmark::RunSpecifiedBenchmarks(&table);
	return 0;
}

} // namespace versus

#endif
