// Shipped specs with seeded random calls: what the interpreter test and the
// classification test run over.
#pragma once

#include "compiler/oracle/attention_reference.h"
#include "compiler/spec/Check.h"

#include "compiler/conversion/Passes.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <random>
#include <string>
#include <vector>

namespace attn::interpreter {

// Names of specs/*.attn, sorted.
std::vector<std::string> shippedSpecs();
// Published ones, "folder/name": a few, or those that ATTN_PUBLISHED_SPECS lists,
// separated by commas.
std::vector<std::string> publishedSpecs();
// These and the published ones in folders beside them ("gym/alibi").
std::vector<std::string> allSpecs();

class SpecCase {
public:
  // Reads specs/<name>.attn. `error` says what is wrong with it, if anything.
  SpecCase(const std::string &name, uint32_t seed);
  // Takes the spec's text instead.
  static std::string shippedText(const std::string &name);
  SpecCase(const std::string &name, const std::string &text, uint32_t seed);

  const spec::AttentionSpec &attention() const { return checked->attentions.front(); }
  const std::string &error() const { return problem; }

  // One past the largest position that queries or keys may have.
  int64_t queryLimit() const { return queryEnd; }
  int64_t keyLimit() const { return keyEnd; }
  // A position below `limit`, often beside a border of a frame or block.
  int64_t position(int64_t limit);
  int64_t below(int64_t limit) {
    return std::uniform_int_distribution<int64_t>(0, limit - 1)(random);
  }

  oracle::Bindings bindings; // heads included; inputs are the call's
  // Random inputs of the output expression, for the shape that `call` has.
  void fillInputs(oracle::Call &call);
  std::mt19937 random;

  // The kernel of the attention, or of its recache; null after a diagnostic.
  mlir::tile::KernelOp lower(const mlir::attn::TileOptions &options, bool recache = false);
  // The kernel that merges its parts.
  mlir::tile::KernelOp lowerMerge(const mlir::attn::TileOptions &options);

private:
  bool import();
  void chooseBindings();
  int64_t tokensEnd(const spec::TokensInfo &tokens);
  void fillTable(const spec::TableInfo &info, oracle::TableData &data);

  std::string problem;
  std::optional<spec::CheckedSpec> checked;
  int64_t queryEnd = 1, keyEnd = 1, unit = 1;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace attn::interpreter
