// The command lines of the benchmarks: pairs of a name and a value.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <variant>
#include <vector>

struct Option {
  std::string name; // with its dashes
  std::variant<int *, std::string *> value;
};

// Sets what the command line names; false after printing `usage` if it is wrong.
inline bool parse_options(int argc, char **argv, const std::vector<Option> &options,
                          const char *usage) {
  bool good = argc % 2 == 1;
  for (int i = 1; good && i + 1 < argc; i += 2) {
    auto named = std::find_if(options.begin(), options.end(),
                              [&](const Option &option) { return option.name == argv[i]; });
    good = named != options.end();
    if (!good)
      break;
    if (auto *number = std::get_if<int *>(&named->value))
      **number = std::atoi(argv[i + 1]);
    else
      *std::get<std::string *>(named->value) = argv[i + 1];
  }
  if (!good)
    std::fputs(usage, stderr);
  return good;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
