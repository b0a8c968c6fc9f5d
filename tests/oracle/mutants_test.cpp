// Every change of one token of a shipped spec's masks and scores changes what is
// attended, or is known not to: so that a test which compares a spec with its
// definition on such pairs would see the change.
#include "compiler/spec/Lexer.h"
#include "tests/oracle/mutants.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

namespace attn::oracle {
namespace {

std::string read(const std::filesystem::path &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::filesystem::path> specs() {
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::recursive_directory_iterator(ATTN_SPECS_DIR))
    if (entry.path().extension() == ".attn" && entry.path().parent_path().filename() != "std")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// "gym/alibi: 6: 12 -> 13", one a line; what follows # is the reason.
std::set<std::string> equivalents() {
  std::set<std::string> lines;
  std::istringstream text(read(ATTN_EQUIVALENT_MUTANTS));
  for (std::string line; std::getline(text, line);) {
    line = line.substr(0, line.find(" #"));
    if (!line.empty() && line[0] != '#')
      lines.insert(line);
  }
  return lines;
}

// One mutant in so many is tried, each time the same ones; ATTN_MUTANTS=all
// tries all of them.
TEST(Mutants, change_what_is_attended) {
  const char *wish = std::getenv("ATTN_MUTANTS");
  bool all = wish && std::string(wish) == "all";
  std::set<std::string> known = equivalents();
  size_t number = 0, tried = 0, rejected = 0, equivalent = 0;
  for (const auto &path : specs()) {
    std::string text = read(path);
    std::string name = std::filesystem::relative(path, ATTN_SPECS_DIR).replace_extension().string();
    std::optional<MutantJudge> judge;
    for (const Mutant &mutant : mutantsOf(text)) {
      if (!all && number++ % 16 != 0)
        continue;
      if (!judge)
        judge.emplace(text);
      ++tried;
      std::string label = name + ": " + mutant.description;
      switch (judge->judge(mutant.text)) {
      case Judgement::rejected:
        ++rejected;
        break;
      case Judgement::differs:
        EXPECT_FALSE(known.count(label)) << label << " is listed as equivalent but differs";
        break;
      case Judgement::same:
        ++equivalent;
        EXPECT_TRUE(known.count(label)) << label;
        break;
      }
    }
  }
  std::cout << tried << " mutants: " << rejected << " rejected by the front end, " << equivalent
            << " equivalent, the rest differ\n";
  EXPECT_GT(tried, 50u);
}

} // namespace
} // namespace attn::oracle
