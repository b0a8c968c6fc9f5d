// Prints the facts. One concept of speed-up: work of dense attention over work
// of the tiles that are visited, beside what the density alone would allow.
#include "tools/attnc/ExplainReport.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace attn::tools {

using namespace mlir::attn;

double bytesMoved(const KernelInfo &kernel, const CallShape &shape) {
  double total = 0;
  for (const BindingInfo &binding : kernel.bindings) {
    double size = element_size(binding.type) * double(shape.batch);
    switch (binding.role) {
    case BindingRole::q: total += size * shape.heads * shape.qLength * kernel.qk_dim; break;
    case BindingRole::o: total += size * shape.heads * shape.qLength * kernel.v_dim; break;
    case BindingRole::k: total += size * shape.kvHeads * shape.keyCount() * kernel.qk_dim; break;
    case BindingRole::v: total += size * shape.kvHeads * shape.keyCount() * kernel.v_dim; break;
    case BindingRole::lse: total += size * shape.heads * shape.qLength; break;
    case BindingRole::k_scale:
    case BindingRole::v_scale: total += size * shape.kvHeads * shape.keyCount(); break;
    default: break;
    }
  }
  return total;
}

static int64_t count(const Explanation &tiles, TileClass which) { return tiles.tiles[int(which)]; }

static double ratio(double a, double b) { return b > 0 ? a / b : 1; }

// Where the time goes that the density would have saved.
static std::string why(const Report &report, const TargetFacts &facts) {
  double ideal = ratio(report.allPairs(), facts.pairs());
  double reached = ratio(report.allPairs(), facts.visitedPairs());
  if (facts.pairs() == 0)
    return "nothing is admitted";
  if (reached >= 0.95 * ideal)
    return "tiles follow the mask";
  double wasted = facts.visitedPairs() - facts.pairs();
  return llvm::formatv("{0:f0}% of the pairs in visited tiles are not admitted; the mask alone "
                       "would allow {1:f2}x",
                       100 * wasted / facts.visitedPairs(), ideal)
      .str();
}

// A line on how far heads and batch entries differ, if they do.
static std::string spread(const Report &report, const TargetFacts &facts) {
  if (!facts.partsSeen)
    return "";
  double all = report.allPairs();
  return llvm::formatv("    spread    heads and batch entries visit {0:f4} to {1:f4}, {2:f4} on "
                       "average of {3}; the tiles are head {4}'s, entry 0\n",
                       ratio(facts.leastVisited, all), ratio(facts.mostVisited, all),
                       ratio(facts.meanVisited, all), facts.partsSeen, report.shape.inputs.head)
      .str();
}

static void printTarget(const Report &report, const TargetFacts &facts) {
  llvm::raw_ostream &os = llvm::outs();
  os << "  " << facts.target;
  if (!facts.refusal.empty()) {
    os << "  refused: " << facts.refusal << "\n";
    return;
  }
  const Explanation &tiles = facts.tiles;
  bool compute = facts.computeSeconds() >= facts.memorySeconds();
  os << " (" << facts.arch << "), tiles " << facts.blockQ << "x" << facts.blockK << "\n"
     << llvm::formatv("    tiles     {0} full, {1} partial, {2} empty ({3} of the partial are full "
                      "or empty in truth)\n",
                      count(tiles, TileClass::full), count(tiles, TileClass::partial),
                      count(tiles, TileClass::empty), tiles.conservative)
     << llvm::formatv("    visited   {0:f4} of all pairs, derived in {1:f2} ms\n",
                      ratio(tiles.visitedPairs, report.allPairs()), tiles.derivationMs)
     << spread(report, facts)
     << llvm::formatv("    expected  {0:f2}x the speed of dense: {1}\n",
                      ratio(report.allPairs(), facts.visitedPairs()), why(report, facts))
     << llvm::formatv("    bound     {0}: {1:f3} ms of multiply-adds, {2:f3} ms of memory, on {3} "
                      "({4:f1} TFLOP/s, {5:f0} GB/s)\n",
                      compute ? "compute" : "bandwidth", facts.computeSeconds() * 1e3,
                      facts.memorySeconds() * 1e3, facts.machine.name, facts.machine.flops / 1e12,
                      facts.machine.bytes / 1e9);
}

llvm::json::Object assumptionsJson(const SpecCall &call) {
  llvm::json::Object object;
  for (const SpecCall::Assumption &made : call.assumed)
    object[made.name] = made.value == double(int64_t(made.value))
                            ? llvm::json::Value(int64_t(made.value))
                            : llvm::json::Value(made.value);
  return object;
}

void printText(const Report &report) {
  const CallShape &shape = report.shape;
  llvm::raw_ostream &os = llvm::outs();
  os << report.attention.name << " " << report.variant << ": " << shape.qLength << " queries x "
     << shape.keyCount() << " keys, " << shape.heads << " heads";
  if (shape.kvHeads != shape.heads)
    os << " on " << shape.kvHeads;
  os << ", batch " << shape.batch << "\n";
  if (std::string assumed = describeAssumptions(report.call); !assumed.empty())
    os << "  assumed   " << assumed << "\n";
  for (const TargetFacts &facts : report.targets) {
    if (!facts.refusal.empty())
      continue;
    os << llvm::formatv("  density   {0:f4} of all pairs admitted{1}\n", facts.tiles.density,
                        facts.tiles.estimated ? " (sampled)" : "")
       << llvm::formatv("  work      {0:f3} GFLOP of {1:f3} dense; {2:f1} MB moved at least\n",
                        report.flops(facts.pairs()) / 1e9, report.flops(report.allPairs()) / 1e9,
                        facts.bytes / 1e6)
       << "  mask      build: 0 bytes, 0 ms\n";
    break;
  }
  for (const TargetFacts &facts : report.targets)
    printTarget(report, facts);
}

static llvm::json::Object targetJson(const Report &report, const TargetFacts &facts) {
  llvm::json::Object object{{"target", facts.target}};
  if (!facts.refusal.empty()) {
    object["refused"] = facts.refusal;
    return object;
  }
  const Explanation &tiles = facts.tiles;
  object["arch"] = facts.arch;
  object["block_q"] = facts.blockQ;
  object["block_k"] = facts.blockK;
  object["tiles"] = llvm::json::Object{{"full", count(tiles, TileClass::full)},
                                       {"partial", count(tiles, TileClass::partial)},
                                       {"empty", count(tiles, TileClass::empty)}};
  object["conservative_tiles"] = tiles.conservative;
  object["admitted_pairs"] = tiles.pairs;
  object["visited_pairs"] = tiles.visitedPairs;
  object["estimated"] = tiles.estimated;
  object["density"] = tiles.density;
  object["visited_density"] = ratio(tiles.visitedPairs, report.allPairs());
  object["flops"] = report.flops(facts.pairs());
  object["visited_flops"] = facts.visitedFlops;
  object["bytes"] = facts.bytes;
  object["expected_speedup"] = ratio(report.allPairs(), facts.visitedPairs());
  object["speedup_of_density"] = ratio(report.allPairs(), facts.pairs());
  object["why"] = why(report, facts);
  if (facts.partsSeen)
    object["spread"] =
        llvm::json::Object{{"seen", facts.partsSeen},
                           {"density", ratio(facts.meanPairs, report.allPairs())},
                           {"visited_density", ratio(facts.meanVisited, report.allPairs())},
                           {"least_visited", ratio(facts.leastVisited, report.allPairs())},
                           {"most_visited", ratio(facts.mostVisited, report.allPairs())}};
  object["derivation_ms"] = tiles.derivationMs;
  object["machine"] = llvm::json::Object{{"name", facts.machine.name},
                                         {"tflops", facts.machine.flops / 1e12},
                                         {"gbps", facts.machine.bytes / 1e9}};
  object["compute_ms"] = facts.computeSeconds() * 1e3;
  object["memory_ms"] = facts.memorySeconds() * 1e3;
  object["bound"] =
      facts.computeSeconds() >= facts.memorySeconds() ? "compute" : "bandwidth";
  return object;
}

void printJson(const Report &report) {
  const CallShape &shape = report.shape;
  llvm::json::Array targets;
  for (const TargetFacts &facts : report.targets)
    targets.push_back(targetJson(report, facts));
  llvm::json::Object object{{"spec", report.attention.name},
                            {"variant", report.variant},
                            {"queries", shape.qLength},
                            {"keys", shape.keyCount()},
                            {"heads", shape.heads},
                            {"kv_heads", shape.kvHeads},
                            {"batch", shape.batch},
                            {"assumed", assumptionsJson(report.call)},
                            {"dense_flops", report.flops(report.allPairs())},
                            {"targets", std::move(targets)},
                            {"mask_build_bytes", 0},
                            {"mask_build_ms", 0}};
  llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(object))) << "\n";
}

} // namespace attn::tools
