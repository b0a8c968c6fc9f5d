// attnc tune: measures schedules of a spec's CPU kernel on this machine and prints the
// best one as a row of the table, or writes it there.
#include "tools/attnc/Commands.h"
#include "tools/attnc/CpuTuner.h"

#include "runtime/base/write_file.h"
#include "runtime/device/cpu_features.h"
#include "runtime/device/device.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/xxhash.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

namespace attn::tools {

namespace {

struct Options {
  std::string spec, name, arch, variant, floatType, table;
  int32_t rows = 768, slots = 4096;
  double budget = 30;
  bool fresh = false;
};

// The first architecture that an unqualified `cpu` target is compiled for and that
// this machine runs.
std::string bestArch(const std::string &variant, const std::string &floatType) {
  std::vector<mlir::attn::TargetRequest> requests;
  std::string error;
  mlir::attn::parseTarget("cpu", variant, floatType, requests, error);
  uint32_t present = detect_cpu_features() & ~unrewarding_cpu_features(cpu_vendor());
  requests.push_back({TargetKind::cpu, "neon"});
  for (const mlir::attn::TargetRequest &request : requests)
    if ((mlir::attn::findCpuArch(request.arch)->needs & ~present) == 0)
      return request.arch;
  return "";
}

// What the answer depends on: the machine, the spec, the request, and the rows that the
// search starts from. Empty where the user has no home.
std::filesystem::path cacheFile(const spec::CheckedSpec &spec, const TuneRequest &request) {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  std::filesystem::path folder;
  if (cache && *cache)
    folder = cache;
  else if (home && *home)
    folder = std::filesystem::path(home) / ".cache";
  else
    return {};
  std::string key =
      llvm::formatv("{0}\n{1}\n{2}\n{3}\n{4}\n{5}\n{6}\n{7}\n{8}\n{9}", cpu_name(), spec.text,
                    request.attention, request.arch, request.variant, request.floatType,
                    request.rows, request.slots, mlir::attn::kShippedCpuSchedules,
                    request.seconds); // a larger budget may find more
  return folder / "attnc" / "tune" / llvm::formatv("{0:x-}.txt", llvm::xxh3_64bits(key)).str();
}

using mlir::attn::CpuScheduleTable;

// The text of the table that the row is to be written into: what is wrong with it shows
// before anything is measured.
Result<std::string> readTable(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(std::string text, readFile(path));
  std::string error;
  if (!CpuScheduleTable::parse(text, error))
    return Status::invalid_input(error).at(path);
  ATTN_RETURN_IF_ERROR(check_folder_of(path));
  return text;
}

// A search's row as it was kept; empty where none is, or where it is damaged.
std::string readCached(const std::string &path) {
  auto text = readFile(path);
  std::string error;
  auto table = text.ok() ? CpuScheduleTable::parse(*text, error) : std::nullopt;
  return table && table->rows().size() == 1 ? *text : "";
}

int tune(const Options &options) {
  int exitCode = kDone;
  std::string table;
  if (!options.table.empty()) {
    auto text = readTable(options.table);
    if (!text.ok())
      return fail(text.status());
    table = *text;
  }
  auto spec = loadSpec(options.spec, exitCode);
  if (!spec)
    return exitCode;
  const spec::AttentionSpec *attention =
      options.name.empty() ? &spec->attentions.front() : spec->find(options.name);
  if (!attention) {
    std::cerr << "attnc: error: " << options.spec << " defines no attention '" << options.name
              << "'\n";
    return kUsage;
  }
  TuneRequest request;
  request.attention = attention->name;
  request.variant =
      options.variant.empty() ? mlir::attn::defaultVariant(*attention) : options.variant;
  request.floatType =
      options.floatType.empty() ? mlir::attn::queryType(*attention) : options.floatType;
  request.arch = options.arch.empty() ? bestArch(request.variant, request.floatType) : options.arch;
  request.rows = options.rows;
  request.slots = options.slots;
  request.seconds = options.budget;
  const mlir::attn::CpuArch *arch = mlir::attn::findCpuArch(request.arch);
  if (!arch) {
    std::cerr << "attnc: error: unknown cpu architecture '" << request.arch << "'; there are "
              << mlir::attn::cpuArchNames() << "\n";
    return kUsage;
  }
  if (uint32_t missing = arch->needs & ~detect_cpu_features()) {
    std::cerr << "attnc: error: " << request.arch << " needs " << feature_names(missing)
              << ", which this machine lacks; schedules are measured, so tune on a machine that "
                 "has it\n";
    return kEnvironment;
  }

  std::filesystem::path cached = cacheFile(*spec, request);
  std::string row = options.fresh ? "" : readCached(cached.string());
  if (row.empty()) {
    auto result = tuneCpu(*spec, request,
                          [](const std::string &row) { std::cerr << "faster: " << row << "\n"; });
    if (!result.ok())
      return fail(result.status());
    row = mlir::attn::printCpuScheduleRow(result->row) +
          llvm::formatv("  # {0}, {1}: {2:F2}x of the row before, {3} candidates{4}\n",
                        request.attention, cpu_name(), result->speedup, result->candidates,
                        result->finished ? "" : ", the budget ended the search")
              .str();
    if (std::error_code ignored; !cached.empty()) {
      std::filesystem::create_directories(cached.parent_path(), ignored);
      std::ofstream(cached, std::ios::binary) << row; // without it the search is repeated
    }
  } else {
    std::cerr << "from " << cached.string() << "; --fresh measures again\n";
  }
  std::cout << row << std::flush;
  if (!options.table.empty()) {
    std::string error;
    auto found = CpuScheduleTable::parse(row, error);
    writeOutput(options.table, mlir::attn::insertCpuScheduleRow(table, found->rows().front()),
                exitCode);
  }
  return exitCode;
}

} // namespace

void addTuneCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "tune", "Measure schedules of a spec's CPU kernel on this machine; prints a table row");
  command->add_option("SPEC", options->spec, "Spec file (.attn)")->required();
  command->add_option("--name", options->name, "Which attention of the file; default: the first");
  command->add_option("--arch", options->arch,
                      "Architecture; default: the best that this machine runs");
  command
      ->add_option("--dtype", options->variant,
                   "Element type: f32, bf16, f16 or int8; default: what the spec says")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "int8"}));
  command->add_option("--int8-float", options->floatType, "As in attnc compile")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  CLI::Validator positive = tool::whole_number(1, 1 << 24);
  command->add_option("--q-len", options->rows, "Query rows of the call that is timed")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--kv-len", options->slots, "Its keys")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--budget", options->budget, "Seconds of processor time for the search")
      ->check([](const std::string &text) {
        double seconds = 0;
        bool good = tool::parse_number(text, "", seconds).ok() && seconds > 0;
        return good ? "" : "'" + text + "' is no number of seconds above 0";
      })
      ->capture_default_str();
  command->add_flag("--fresh", options->fresh, "Measure even if this search's result is cached");
  command->add_option("--table", options->table, "Write the row into this table of schedules");
  command->footer("Example:\n  attnc tune specs/causal.attn --dtype bf16 --budget 60 "
                  "--table kernels-gen/cpu_schedules.txt");
  command->callback([options, &exitCode] { exitCode = tune(*options); });
}

} // namespace attn::tools
