// Fuzz target for the spec front end: text is accepted, or rejected with a place;
// an accepted mask and score can be evaluated.
#include "compiler/oracle/attention_reference.h"
#include "compiler/spec/Check.h"
#include "compiler/spec/Print.h"
#include "tests/fuzz_target.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace attn;

static void evaluate(const spec::AttentionSpec &attention) {
  oracle::Bindings bindings;
  bindings.heads = 4;
  for (const spec::ParamInfo &param : attention.params)
    bindings.params.push_back(param.minimum);
  for (const spec::TableInfo &table : attention.tables)
    bindings.tables.push_back({std::vector<int64_t>(table.dims.size(), 1), {1}});
  for (int32_t q : {0, 1, 77, 2147483647})
    for (int32_t k : {0, 5, 2147483647}) {
      oracle::maskAt(attention, bindings, 1, 3, q, k);
      oracle::scoreAt(attention, bindings, 1, 3, q, k, 0.5);
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  spec::Diagnostics diagnostics;
  auto checked = spec::parseAndCheck(text, "fuzz.attn", diagnostics);
  if (checked.has_value() == diagnostics.hasErrors())
    __builtin_trap();
  diagnostics.render();
  for (const spec::Diagnostic &diagnostic : diagnostics.all())
    if (!diagnostic.range.valid())
      __builtin_trap();
  if (checked)
    for (const spec::AttentionSpec &attention : checked->attentions) {
      spec::toString(attention);
      evaluate(attention);
    }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const char *folder : {ATTN_SPECS_DIR, ATTN_SPEC_TESTS_DIR "/fail"})
    for (const auto &entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".attn") {
        std::ifstream file(entry.path(), std::ios::binary);
        std::stringstream text;
        text << file.rdbuf();
        seeds.push_back(text.str());
      }
  std::sort(seeds.begin(), seeds.end()); // folders list files in any order
  return seeds;
}
