// attnc compile: specs in, one bundle (or the text of a stage) out.
#include "tools/attnc/Commands.h"

#include "compiler/target/cpu/LinkKernels.h"
#include "runtime/device/linked_kernels.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

namespace attn::tools {

namespace {
struct Options {
  std::vector<std::string> specs, targets{"cpu"}, variants;
  std::string stopAfter, output, floatType, schedules, emit = "bundle", name;
};

// One relocatable object with the kernels and the bundle that describes them.
int emitObject(const Options &options, const std::vector<spec::CheckedSpec> &specs,
               mlir::attn::CompileOptions compileOptions) {
  std::string name = options.name;
  if (name.empty())
    name = std::filesystem::path(options.output).stem().string();
  const char *letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) ||
      name.find_first_not_of(letters) != std::string::npos) {
    std::cerr << "attnc: error: '" << name << "' is no name in C, as attn_kernels_NAME needs one; "
              << "give --name\n";
    return kUsage;
  }
  for (const std::string &target : options.targets)
    if (target.substr(0, target.find(':')) != "cpu") {
      std::cerr << "attnc: error: --emit obj is for cpu kernels; --target has '" << target << "'\n";
      return kUsage;
    }
  compileOptions.objectPrefix = "attn_" + name;
  int exitCode = kDone;
  BundleWriter bundle;
  const std::string image = linked_image(name);
  const uint32_t index = bundle.add_image(TargetKind::cpu, std::as_bytes(std::span(image)));
  std::vector<KernelInfo> kernels;
  std::vector<std::string> objects;
  for (const spec::CheckedSpec &spec : specs) {
    mlir::attn::CompileResult result;
    if (!mlir::attn::compileSpec(spec, compileOptions, result, llvm::errs())) {
      exitCode = kRejected;
      continue;
    }
    const uint32_t source = bundle.add_spec(spec.fileName, spec.text);
    addPolicies(spec, bundle);
    for (auto &made : result.images)
      objects.push_back(std::move(made.bytes));
    for (KernelInfo &kernel : result.kernels) {
      kernel.spec = source;
      kernel.image = index;
      bundle.add_kernel(kernel);
      kernels.push_back(std::move(kernel));
    }
  }
  if (exitCode != kDone)
    return exitCode;
  auto bytes = bundle.finish();
  if (!bytes.ok())
    return fail(bytes.status());
  auto context = mlir::attn::makeContext();
  auto object = mlir::attn::linkKernels(
      name, objects, kernels,
      llvm::StringRef(reinterpret_cast<const char *>(bytes->data()), bytes->size()),
      mlir::UnknownLoc::get(context.get()));
  if (failed(object))
    return kRejected;
  writeOutput(options.output, *object, exitCode);
  return exitCode;
}

int compile(const Options &options) {
  mlir::attn::CompileOptions compileOptions;
  compileOptions.targets = options.targets;
  compileOptions.variants = options.variants;
  compileOptions.floatType = options.floatType;
  std::optional<mlir::attn::CpuScheduleTable> table;
  if (!options.schedules.empty()) {
    auto text = readFile(options.schedules);
    if (!text.ok())
      return fail(text.status());
    std::string error;
    table = mlir::attn::CpuScheduleTable::parse(*text, error);
    if (!table) {
      std::cerr << "attnc: error: " << options.schedules << ": " << error << "\n";
      return kRejected;
    }
    compileOptions.cpuSchedules = &*table;
  }
  for (const std::string &variant : options.variants)
    if (!mlir::attn::isVariant(variant)) {
      std::cerr << "attnc: error: unknown element type '" << variant
                << "'; --dtype takes f32, bf16, f16 or int8\n";
      return kUsage;
    }
  if (!options.stopAfter.empty() &&
      !mlir::attn::parseStage(options.stopAfter, compileOptions.stopAfter)) {
    std::cerr << "attnc: error: unknown stage '" << options.stopAfter
              << "'; --stop-after takes attn, tile, schedule, llvm, ptx or spirv\n";
    return kUsage;
  }
  if (!options.name.empty() && options.emit != "obj") {
    std::cerr << "attnc: error: --name names the constant of --emit obj, which is not given\n";
    return kUsage;
  }
  if (options.stopAfter.empty() && options.output.empty()) {
    std::cerr << "attnc: error: nowhere to write the bundle; give -o FILE.attnb\n";
    return kUsage;
  }

  if (!checkTwice(options.targets, "--target") || !checkTwice(options.variants, "--dtype") ||
      !checkTwice(options.specs, "SPEC") || !checkTargets(options.targets))
    return kUsage;

  int exitCode = kDone;
  std::vector<spec::CheckedSpec> specs;
  for (const std::string &path : options.specs) // all errors are worth seeing
    if (auto spec = loadSpec(path, exitCode))
      specs.push_back(std::move(*spec));
  if (exitCode != kDone)
    return exitCode;
  if (!checkKernelNames(specs))
    return kRejected;
  if (options.emit == "obj" && options.stopAfter.empty())
    return emitObject(options, specs, std::move(compileOptions));

  BundleWriter bundle;
  std::string text;
  for (const spec::CheckedSpec &spec : specs)
    if (!compileInto(spec, compileOptions, bundle, text))
      exitCode = kRejected;
  if (exitCode != kDone)
    return exitCode;
  if (!options.stopAfter.empty()) {
    if (text.empty()) {
      std::cerr << "attnc: error: no target of --target has a stage '" << options.stopAfter
                << "'; ptx and spirv are those of the targets of these names, llvm is that of cpu "
                   "and ptx\n";
      return kUsage;
    }
    writeOutput(options.output.empty() ? "-" : options.output, text, exitCode);
    return exitCode;
  }
  return writeBundle(options.output, bundle);
}
} // namespace

bool checkTwice(const std::vector<std::string> &values, const char *option) {
  for (size_t i = 0; i < values.size(); ++i)
    if (std::find(values.begin(), values.begin() + ptrdiff_t(i), values[i]) !=
        values.begin() + ptrdiff_t(i)) {
      std::cerr << "attnc: error: " << option << " gives " << values[i] << " twice; give it once\n";
      return false;
    }
  return true;
}

bool checkTargets(const std::vector<std::string> &targets) {
  for (const std::string &target : targets) {
    std::vector<mlir::attn::TargetRequest> requests;
    std::string error;
    if (!mlir::attn::parseTarget(target, "f32", "f32", requests, error)) {
      std::cerr << "attnc: error: " << error << "\n";
      return false;
    }
  }
  return true;
}

bool checkKernelNames(const std::vector<spec::CheckedSpec> &specs) {
  bool good = true;
  std::map<std::string, std::string> places;
  for (const spec::CheckedSpec &spec : specs)
    for (const spec::AttentionSpec &attention : spec.attentions) {
      std::vector<std::string> names{attention.name};
      if (attention.recache)
        names.push_back(attention.name + "_recache");
      if (attention.partial)
        names.push_back(attention.name + "_merge");
      std::string place =
          concat(spec.fileName, ":", attention.range.line, ":", attention.range.column);
      for (const std::string &name : names) {
        auto [first, fresh] = places.emplace(name, place);
        if (fresh)
          continue;
        std::cerr << place << ": error: kernel `" << name << "` is already made by "
                  << first->second << "; rename one of the attentions\n";
        good = false;
      }
    }
  return good;
}

bool compileInto(const spec::CheckedSpec &spec, const mlir::attn::CompileOptions &options,
                 BundleWriter &bundle, std::string &text, llvm::raw_ostream &messages) {
  mlir::attn::CompileResult result;
  if (!mlir::attn::compileSpec(spec, options, result, messages))
    return false;
  text += result.text;
  // A stage before the image yields text only; its records name no image.
  if (options.stopAfter != mlir::attn::Stage::image)
    return true;
  uint32_t source = bundle.add_spec(spec.fileName, spec.text);
  addPolicies(spec, bundle);
  std::vector<uint32_t> images;
  for (const auto &image : result.images)
    images.push_back(bundle.add_image(image.target, std::as_bytes(std::span(image.bytes))));
  for (KernelInfo &kernel : result.kernels) {
    kernel.spec = source;
    kernel.image = images[kernel.image];
    bundle.add_kernel(std::move(kernel));
  }
  return true;
}

void addCompileCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("compile", "Compile specs into a kernel bundle");
  command->add_option("SPEC", options->specs, "Spec files (.attn)")->required();
  command
      ->add_option("--target", options->targets,
                   "What to compile for: "
                   "cpu[:avx2|avx512|avx512-bf16|avx512-vnni|avx512-vnni-bf16|neon], "
                   "ptx[:sm_80], spirv[:t0|t1|t1-subgroup8]; separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--dtype", options->variants,
                   "Element types: f32, bf16, f16, int8 (int8 K and V with scales); separated by "
                   "commas; default: what each spec says")
      ->delimiter(',');
  command
      ->add_option("--int8-float", options->floatType,
                   "Type of q and o beside int8 keys and values: f32, bf16 or f16; default: what "
                   "each spec says")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  command->add_option("--schedules", options->schedules,
                      "Table of CPU schedules that goes before the built-in one (attnc tune)");
  command->add_option("--stop-after", options->stopAfter,
                      "Print a stage instead: attn, tile, schedule, llvm, ptx, spirv");
  command
      ->add_option(
          "--emit", options->emit,
          "bundle (.attnb), or obj: an object with cpu kernels, to be linked into a program")
      ->check(CLI::IsMember({"bundle", "obj"}))
      ->capture_default_str();
  command->add_option("--name", options->name,
                      "With --emit obj: the constant is attn_kernels_NAME; default: the output's "
                      "name");
  command->add_option("-o,--output", options->output, "The bundle or object to write");
  command->footer("Example:\n  attnc compile specs/causal.attn --target cpu,spirv --dtype f32 "
                  "-o causal.attnb");
  command->callback([options, &exitCode] { exitCode = compile(*options); });
}

} // namespace attn::tools
