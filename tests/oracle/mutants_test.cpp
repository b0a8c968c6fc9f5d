// Every change of one token of a shipped spec or standard pattern changes what is
// attended, declared or refused, or is listed with the reason why not: so that a test
// which compares a spec with its definition on such pairs, or with what declared/ holds,
// would see the change.
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
    if (size_t end = line.find(" # "); line[0] != '#' && end != std::string::npos)
      lines.insert(line.substr(0, end));
  return lines;
}

// One mutant in so many is tried, each time the same ones; ATTN_MUTANTS=all
// tries all of them and looks for stale lines of the list, and any other text those
// whose line would have it: ATTN_MUTANTS="papers/moa_prefill: 12".
class Mutants : public testing::Test {
protected:
  static constexpr size_t kEvery = 24;

  bool isTurn(const std::string &label) {
    return wish_.empty() ? number_++ % kEvery == 0
                         : wish_ == "all" || label.find(wish_) != std::string::npos;
  }

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
    if (wish_.empty() || wish_ == "all")
      EXPECT_GT(tried_, 20u);
    for (const std::string &label : known_)
      if (wish_ == "all" && isOurs(label))
        EXPECT_TRUE(used_.count(label)) << "there is no mutant " << label;
  }

  const std::string wish_ = std::getenv("ATTN_MUTANTS") ? std::getenv("ATTN_MUTANTS") : "";
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
      std::string label = name + ": " + mutant.description;
      if (!isTurn(label))
        continue;
      if (!judge)
        judge.emplace(text);
      expectKilled(label, judge->judge(mutant.text, mutant.part));
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
           ")\n  axis far = tok." + axes.substr(0, 1) +
           " * 8192\n  query tok\n  keys tok\n  heads any dim 64\n" +
           (isMask ? "" : "  mask all\n") + "  " + renamed(clause, names) + "\n}\n";
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

struct RequirementCall {
  std::string broken, call; // the label of the requirement, or ""
};

std::vector<RequirementCall> requirementCalls() {
  std::vector<RequirementCall> calls;
  std::istringstream text(read(fs::path(ATTN_MUTANTS_DIR) / "requirement_uses.txt"));
  std::smatch parts;
  for (std::string line; std::getline(text, line);)
    if (std::regex_match(line, parts, std::regex("(\\w+) \\| (.*)")))
      calls.push_back({parts[1] == "ok" ? "" : parts[1].str(), parts[2]});
  return calls;
}

// With `patterns` before it: "" where it is accepted, else what it breaks.
std::string broken(const std::string &patterns, const std::string &call) {
  spec::Diagnostics diagnostics;
  if (spec::parseAndCheck(patterns +
                              "\nattention a {\n  space grid(y: 16, x: 16)\n  query grid\n"
                              "  keys grid\n  heads 4 dim 64\n  mask " +
                              call + "\n}\n",
                          "call.attn", diagnostics))
    return "";
  const spec::Diagnostic &first = diagnostics.all().front();
  return first.id == spec::DiagnosticId::pattern_c6
             ? first.message.substr(0, first.message.find(':'))
             : "no requirement";
}

// `patterns` stand under the names that `renamed` gives them.
Judgement judgeRequirement(const std::string &patterns, const std::vector<std::string> &names) {
  for (const RequirementCall &call : requirementCalls()) {
    std::string changed = renamed(call.call, names);
    if (changed != call.call && broken(patterns, changed) != call.broken)
      return Judgement::differs;
  }
  return Judgement::same;
}

TEST(Requirements, are_broken_by_the_calls_that_say_so) {
  for (const RequirementCall &call : requirementCalls())
    EXPECT_EQ(broken("", call.call), call.broken) << call.call;
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
      std::string label = "std/" + path.stem().string() + ": " + mutant.description;
      if (!isTurn(label))
        continue;
      std::string changed = renamed(mutant.text, names);
      Judgement judgement = Judgement::same;
      if (mutant.part == Part::requirement)
        judgement = judgeRequirement(changed, names);
      for (auto use = judges.begin(); use != judges.end() && judgement == Judgement::same; ++use)
        judgement = use->second.judge(changed + use->first, mutant.part);
      expectKilled(label, judgement);
    }
  }
  summarise(isStandard);
}

} // namespace
} // namespace attn::oracle
