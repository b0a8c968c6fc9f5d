// `attn-run verify`: every kernel of a bundle that the device runs, against the
// float64 oracle and against its own mask.
#include "runtime/base/text.h"
#include "runtime/call/select_kernel.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/compare.h"
#include "tools/attn-run/json.h"
#include "tools/attn-run/mask_recovery.h"
#include "tools/attn-run/nan_check.h"
#include "tools/attn-run/poison.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace attn {

namespace {

struct VerifyOptions {
  std::string bundle, kernel, variant;
  uint64_t seed = 1;
  bool json = false, quick = false;
  DeviceChoice device;
};

struct Case {
  std::string description;
  Comparison comparison; // against the oracle, quantised where the kernel is
  double real_error = 0; // int8: against the oracle in full precision
  MaskReport mask;
  std::string failure;
};

Result<Case> verify_case(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                         const Shape &shape, std::mt19937_64 &random) {
  VerifyProblem problem = make_problem(spec, kernel.info(), shape, random);
  poison_excluded(spec, kernel.info(), problem);
  Case result;
  result.description = problem.description;
  ATTN_ASSIGN_OR_RETURN(HostResult got, run_on_device(device, kernel, problem.args));
  ATTN_ASSIGN_OR_RETURN(oracle::Result want, run_oracle(spec, kernel.info(), problem, true));
  result.comparison = compare(got, want, exact_bound(kernel.info()));
  result.failure = result.comparison.failure;
  if (has_int8_keys(kernel.info())) {
    ATTN_ASSIGN_OR_RETURN(oracle::Result real, run_oracle(spec, kernel.info(), problem, false));
    Comparison loss = compare(got, real, kernel.info().error_bound);
    result.real_error = loss.error;
    if (result.failure.empty() && loss.error > kernel.info().error_bound)
      result.failure = concat("against unquantised inputs: ", loss.failure);
  }
  if (result.failure.empty()) {
    ATTN_ASSIGN_OR_RETURN(result.failure, check_nan(device, kernel, spec, problem, got, random));
  }
  ATTN_ASSIGN_OR_RETURN(result.mask, recover_mask(device, kernel, spec, problem));
  if (result.mask.wrong)
    result.failure = concat("mask: ", result.mask.wrong, " of ", result.mask.pairs,
                            " pairs are wrong, the first: ", result.mask.first_wrong);
  return result;
}

Result<Case> verify_merge(Device &device, Kernel &kernel, const spec::AttentionSpec &spec,
                          const Shape &shape, std::mt19937_64 &random) {
  VerifyProblem problem = make_problem(spec, kernel.info(), shape, random);
  HostMerge parts = make_parts(kernel.info(), problem, random);
  Case result;
  result.description = concat(parts.o.size(), " parts, ", problem.description);
  ATTN_ASSIGN_OR_RETURN(HostResult got, merge_on_device(device, kernel, parts));
  ATTN_ASSIGN_OR_RETURN(oracle::Result want, run_merge_oracle(spec, problem, parts));
  result.comparison = compare(got, want, exact_bound(kernel.info()));
  result.failure = result.comparison.failure;
  return result;
}

class Verifier {
public:
  explicit Verifier(const VerifyOptions &options) : options_(options) {}

  Status run() {
    ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options_.bundle));
    ATTN_ASSIGN_OR_RETURN(device_, open_device(options_.device.id, options_.device.options));
    out_.begin_object().field("bundle", options_.bundle).field("device", device_->info().name);
    out_.field("seed", options_.seed).key("kernels").begin_array();
    size_t matching = 0;
    for (const KernelInfo &kernel : bundle.kernels()) {
      if ((!options_.kernel.empty() && kernel.name != options_.kernel) ||
          (!options_.variant.empty() && kernel.variant != options_.variant))
        continue;
      ++matching;
      Status status = device_->accepts(kernel, bundle.images()[kernel.image].bytes);
      if (!status.ok()) {
        for_target_ |= kernel.target == device_->info().target;
        std::string line = concat(name_of(kernel), ": ", status.message());
        if (std::find(skipped_.begin(), skipped_.end(), line) != skipped_.end())
          continue; // another entry of the same kernel, such as one for aligned tensors
        skipped_.push_back(std::move(line));
        if (!options_.json)
          std::printf("skip %s\n", skipped_.back().c_str());
        continue;
      }
      ATTN_RETURN_IF_ERROR(verify(bundle, kernel).at(name_of(kernel)));
    }
    out_.end_array().field("failures", uint64_t(failures_)).end_object();
    if (options_.json)
      std::printf("%s\n", out_.text().c_str());
    if (verified_ == 0)
      return nothing_verified(bundle, matching).at(options_.bundle);
    return {};
  }
  size_t failures() const { return failures_; }

private:
  static std::string name_of(const KernelInfo &kernel) {
    return concat(kernel.name, " ", kernel.variant, " ", target_name(kernel.target),
                  kernel.arch.empty() ? "" : " ", kernel.arch);
  }

  Status nothing_verified(const Bundle &bundle, size_t matching) const {
    if (matching) {
      const DeviceInfo &device = device_->info();
      if (for_target_)
        return Status::environment("no kernel runs on ", device.id, " (", device.name,
                                   "): ", some_of(skipped_, 8, "\n  "));
      return Status::invalid_input("it has no kernel for ", device.id,
                                   "; compile its spec with "
                                   "--target ",
                                   target_name(device.target),
                                   ", or choose a device with --device");
    }
    std::set<std::string> names;
    for (const KernelInfo &kernel : bundle.kernels())
      names.insert(concat(kernel.name, " ", kernel.variant));
    return Status::usage("the bundle has no such kernel; it has ",
                         some_of({names.begin(), names.end()}));
  }

  Status verify(const Bundle &bundle, const KernelInfo &info) {
    ATTN_ASSIGN_OR_RETURN(KernelSpec spec, KernelSpec::load(bundle, info));
    ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel,
                          device_->load(info, bundle.images()[info.image].bytes));
    ++verified_;
    std::mt19937_64 random(options_.seed);
    double error = 0, row = 0, real = 0;
    uint64_t pairs = 0, skipped = 0, cases = 0;
    std::string failure, where;
    out_.begin_object().field("kernel", info.name).field("variant", info.variant);
    out_.field("target", target_name(info.target)).field("arch", info.arch);
    std::vector<Shape> shapes = verify_shapes(info);
    if (options_.quick)
      shapes.resize(std::min<size_t>(shapes.size(), 4));
    for (const Shape &shape : shapes) {
      ATTN_ASSIGN_OR_RETURN(
          Case result, merges_parts(info) ? verify_merge(*device_, *kernel, *spec, shape, random)
                                          : verify_case(*device_, *kernel, *spec, shape, random));
      ++cases;
      error = std::max(error, result.comparison.error);
      row = std::max(row, result.comparison.worst_row);
      real = std::max(real, result.real_error);
      pairs += result.mask.pairs - result.mask.skipped;
      skipped += result.mask.skipped;
      if (!result.failure.empty() && failure.empty()) {
        failure = result.failure;
        where = result.description;
      }
    }
    failures_ += !failure.empty();
    out_.field("ok", failure.empty()).field("cases", cases).field("error", error);
    out_.field("bound", exact_bound(info)).field("row_error_over_limit", row);
    if (has_int8_keys(info))
      out_.field("error_unquantised", real);
    out_.field("mask_pairs", pairs).field("mask_pairs_too_light", skipped);
    if (!failure.empty())
      out_.field("failure", failure).field("case", where);
    out_.end_object();
    if (options_.json)
      return {};
    std::printf("%s %s: %llu cases, error %.2e (limit %.0e), worst row %.2f of its limit",
                failure.empty() ? "ok  " : "FAIL", name_of(info).c_str(),
                static_cast<unsigned long long>(cases), error, exact_bound(info), row);
    if (pairs + skipped) // a merge has no mask
      std::printf(", mask %s %llu pairs", failure.empty() ? "exact on" : "compared on",
                  static_cast<unsigned long long>(pairs));
    if (skipped)
      std::printf(" (%llu more weigh too little for the element type to show)",
                  static_cast<unsigned long long>(skipped));
    if (has_int8_keys(info))
      std::printf(", %.2e from unquantised", real);
    std::printf("\n");
    if (!failure.empty())
      std::printf("     %s\n     in %s\n", failure.c_str(), where.c_str());
    std::fflush(stdout);
    return {};
  }

  const VerifyOptions &options_;
  std::unique_ptr<Device> device_;
  Json out_;
  size_t verified_ = 0, failures_ = 0;
  std::vector<std::string> skipped_; // kernels that the device does not take, and why
  bool for_target_ = false;          // some of them are for its target
};

int verify(const VerifyOptions &options) {
  Verifier verifier(options);
  Status status = verifier.run();
  if (!status.ok())
    return report(status);
  return verifier.failures() ? 1 : 0;
}

} // namespace

void add_verify_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand(
      "verify", "Compare kernels with the float64 oracle and recover their masks exactly");
  command->footer("Example:\n  attn-run verify causal.attnb --device cpu\n"
                  "Exit code 1: a kernel breaks the numeric contract or its mask is wrong.");
  auto options = std::make_shared<VerifyOptions>();
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_option("--kernel", options->kernel, "only kernels of this name");
  command->add_option("--variant", options->variant, "only this variant");
  command->add_option("--seed", options->seed, "seed of the random inputs")
      ->check(tool::whole_number(0, UINT64_MAX))
      ->capture_default_str();
  command->add_flag("--quick", options->quick, "only the first few shapes");
  command->add_flag("--json", options->json, "print JSON");
  options->device.add_to(*command);
  command->callback([=, &action] { action = [=] { return verify(*options); }; });
}

} // namespace attn
