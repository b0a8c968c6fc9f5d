// Every change of one token of a shipped spec's or standard pattern's meaning
// changes what is attended, or is listed with the reason why not: so that a test
// which compares a spec with its definition on such pairs would see the change.
#include "tests/oracle/mutants.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iostream>
#include <regex>
#include <set>
#include <sstream>

namespace attn::oracle {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<fs::path> specs(bool standard) {
  std::vector<fs::path> files;
  for (const auto &entry : fs::recursive_directory_iterator(ATTN_SPECS_DIR))
    if (entry.path().extension() == ".attn" &&
        (entry.path().parent_path().filename() == "std") == standard)
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// "gym/alibi: 6: 12 -> 13 # why", one a line.
std::set<std::string> survivors() {
  std::set<std::string> lines;
  std::istringstream text(read(fs::path(ATTN_MUTANTS_DIR) / "surviving_mutants.txt"));
  for (std::string line; std::getline(text, line);)
    if (size_t end = line.find(" # "); end != std::string::npos)
      lines.insert(line.substr(0, end));
  return lines;
}

// One mutant in so many is tried, each time the same ones; ATTN_MUTANTS=all
// tries all of them and looks for stale lines of the list.
class Mutants : public testing::Test {
protected:
  static constexpr size_t kEvery = 16;

  bool all() const {
    const char *wish = std::getenv("ATTN_MUTANTS");
    return wish && std::string(wish) == "all";
  }
  bool isTurn() { return all() || number_++ % kEvery == 0; }

  void expectKilled(const std::string &label, Judgement judgement) {
    ++tried_;
    bool listed = known_.count(label);
    rejected_ += judgement == Judgement::rejected;
    survived_ += judgement == Judgement::same;
    if (judgement == Judgement::same)
      EXPECT_TRUE(listed) << label << ": no pair of tokens tells it from the original";
    else
      EXPECT_FALSE(listed) << label << " is listed as a survivor but is told from the original";
    used_.insert(label);
  }

  // Of the lines about files for which `isOurs`.
  template <typename IsOurs> void summarise(IsOurs isOurs) {
    std::cout << "{\"mutants\": " << tried_ << ", \"rejected\": " << rejected_
              << ", \"differ\": " << tried_ - rejected_ - survived_
              << ", \"survive\": " << survived_ << "}\n";
    EXPECT_GT(tried_, 20u);
    for (const std::string &label : known_)
      if (all() && isOurs(label))
        EXPECT_TRUE(used_.count(label)) << "there is no mutant " << label;
  }

  std::set<std::string> known_ = survivors(), used_;
  size_t number_ = 0, tried_ = 0, rejected_ = 0, survived_ = 0;
};

bool isStandard(const std::string &label) { return label.rfind("std/", 0) == 0; }

TEST_F(Mutants, of_specs_change_what_is_attended) {
  for (const fs::path &path : specs(false)) {
    std::string text = read(path);
    std::string name = fs::relative(path, ATTN_SPECS_DIR).replace_extension().string();
    std::optional<MutantJudge> judge;
    for (const Mutant &mutant : mutantsOf(text)) {
      if (!isTurn())
        continue;
      if (!judge)
        judge.emplace(text);
      expectKilled(name + ": " + mutant.description, judge->judge(mutant.text));
    }
  }
  summarise([](const std::string &label) { return !isStandard(label); });
}

// Patterns of the library under names of their own, so that they can be changed.
std::string renamed(std::string text, const std::vector<std::string> &names) {
  for (const std::string &name : names)
    text = std::regex_replace(text, std::regex("\\b" + name + "\\("), "changed_" + name + "(");
  return text;
}

struct StandardUse {
  std::string file, axes, clause;
  std::string attention(const std::vector<std::string> &names) const {
    bool isMask = clause.rfind("mask ", 0) == 0;
    return "attention use {\n  param n in 1..9, m in 1..4, p in -20..20\n  space tok(" + axes +
           ")\n  axis far = tok." + axes.substr(0, 1) + " * 8192\n  query tok\n  keys tok\n  heads any dim 64\n" + (isMask ? "" : "  mask all\n") +
           "  " + renamed(clause, names) + "\n}\n";
  }
};

std::vector<StandardUse> standardUses() {
  std::vector<StandardUse> uses;
  std::istringstream text(read(fs::path(ATTN_MUTANTS_DIR) / "standard_uses.txt"));
  std::smatch parts;
  for (std::string line; std::getline(text, line);)
    if (std::regex_match(line, parts, std::regex("(\\w+) \\| (.*) \\| (.*)")))
      uses.push_back({parts[1], parts[2], parts[3]});
  return uses;
}

TEST_F(Mutants, of_standard_patterns_change_what_is_attended) {
  std::vector<StandardUse> uses = standardUses();
  for (const fs::path &path : specs(true)) {
    std::string text = read(path);
    std::vector<std::string> names;
    std::regex declaration("\\bpattern (\\w+)\\(");
    for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it)
      names.push_back((*it)[1]);
    std::vector<std::pair<std::string, MutantJudge>> judges;
    for (const StandardUse &use : uses)
      if (use.file == path.stem()) {
        std::string attention = use.attention(names);
        judges.emplace_back(attention, renamed(text, names) + attention);
        ASSERT_TRUE(judges.back().second.ok()) << use.clause;
      }
    ASSERT_FALSE(judges.empty()) << path << " has no use in standard_uses.txt";
    for (const Mutant &mutant : mutantsOf(text)) {
      if (!isTurn())
        continue;
      std::string changed = renamed(mutant.text, names);
      Judgement judgement = Judgement::same;
      for (auto use = judges.begin(); use != judges.end() && judgement == Judgement::same; ++use)
        judgement = use->second.judge(changed + use->first);
      expectKilled("std/" + path.stem().string() + ": " + mutant.description, judgement);
    }
  }
  summarise(isStandard);
}

} // namespace
} // namespace attn::oracle
