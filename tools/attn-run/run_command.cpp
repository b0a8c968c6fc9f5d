// `attn-run run`: one kernel on NumPy arrays.
#include "runtime/base/half.h"
#include "runtime/base/npy.h"
#include "runtime/call/select_kernel.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/host_call.h"

#include <charconv>
#include <cstdio>
#include <cstring>

namespace attn {

namespace {

struct RunOptions {
  std::string bundle, kernel, variant, q, k, v, out, lse, segments;
  std::vector<std::string> tables, params;
  int32_t q_position = 0, layer = 0;
  float scale = std::numeric_limits<float>::quiet_NaN();
  DeviceChoice device;
};

// Splits "name=value".
Status split(const std::string &text, const char *option, std::string &name, std::string &value) {
  size_t at = text.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    return Status::usage("'", text, "' after ", option, " is not NAME=VALUE");
  name = text.substr(0, at);
  value = text.substr(at + 1);
  return {};
}

double element(const NpyArray &array, size_t i) {
  const auto *at = static_cast<const std::byte *>(array.data.data());
  auto get = [&](auto sample) {
    std::memcpy(&sample, at + i * sizeof sample, sizeof sample);
    return sample;
  };
  switch (array.type) {
  case ElementType::f32:
    return get(float());
  case ElementType::f16:
    return f16_to_f32(get(uint16_t()));
  case ElementType::bf16:
    return bf16_to_f32(get(uint16_t()));
  case ElementType::i8:
    return get(int8_t());
  case ElementType::u8:
    return get(uint8_t());
  case ElementType::i32:
    return get(int32_t());
  case ElementType::i64:
    return static_cast<double>(get(int64_t()));
  }
  return 0;
}

HostArray host_array(const NpyArray &array) {
  HostArray host{array.shape, {}};
  host.values.resize(static_cast<size_t>(array.count()));
  for (size_t i = 0; i < host.values.size(); ++i)
    host.values[i] = element(array, i);
  return host;
}

// Reads (batch, heads, tokens, dim), or (heads, tokens, dim) as one batch entry.
Status read_tensor(const std::string &path, HostTensor &tensor, ElementType &type) {
  ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
  if (array.shape.size() != 4 && array.shape.size() != 3)
    return Status::invalid_input("array has ", array.shape.size(),
                                 " axes; (batch, heads, tokens, head_dim) is needed")
        .at(path);
  if (array.type != ElementType::f32 && array.type != ElementType::f16 &&
      array.type != ElementType::bf16)
    return Status::invalid_input("array is ", element_type_name(array.type),
                                 "; f32, f16 or bf16 (saved as u2) is needed, kernels with int8 "
                                 "keys quantise them")
        .at(path);
  type = array.type;
  size_t missing = 4 - array.shape.size();
  for (size_t i = 0; i < 4; ++i)
    tensor.shape[i] = i < missing ? 1 : array.shape[i - missing];
  tensor.values.resize(static_cast<size_t>(tensor.count()));
  for (size_t i = 0; i < tensor.values.size(); ++i)
    tensor.values[i] = static_cast<float>(element(array, i));
  return {};
}

// "slot:length:position,..."
Status parse_segments(const std::string &text, std::vector<Segment> &segments) {
  const char *at = text.data(), *end = at + text.size();
  while (at != end) {
    int32_t numbers[3];
    for (int i = 0; i < 3; ++i) {
      auto [next, error] = std::from_chars(at, end, numbers[i]);
      bool last = i == 2;
      if (error != std::errc() || (!last && (next == end || *next != ':')) ||
          (last && next != end && *next != ','))
        return Status::usage("'", text,
                             "' after --segments is not SLOT:LENGTH:POSITION,... (integers)");
      at = next + (next != end);
    }
    segments.push_back({numbers[0], numbers[1], numbers[2]});
  }
  return {};
}

Status read_arguments(const RunOptions &options, HostArgs &args, ElementType &type) {
  ElementType others;
  ATTN_RETURN_IF_ERROR(read_tensor(options.q, args.q, type));
  for (auto [path, tensor] : {std::pair(&options.k, &args.k), {&options.v, &args.v}}) {
    ATTN_RETURN_IF_ERROR(read_tensor(*path, *tensor, others));
    if (others != type)
      return Status::invalid_input("array is ", element_type_name(others), ", q is ",
                                   element_type_name(type), "; give all three one type")
          .at(*path);
  }
  std::string name, value;
  for (const std::string &text : options.tables) {
    ATTN_RETURN_IF_ERROR(split(text, "--table", name, value));
    ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(value));
    args.tensors.push_back({name, host_array(array)});
  }
  for (const std::string &text : options.params) {
    ATTN_RETURN_IF_ERROR(split(text, "--set", name, value));
    double number = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
      return Status::usage("'", value, "' after --set ", name, "= is no number");
    args.params.emplace_back(name, number);
  }
  ATTN_RETURN_IF_ERROR(parse_segments(options.segments, args.segments));
  args.q_position = options.q_position;
  args.layer = options.layer;
  args.scale = options.scale;
  return {};
}

Status run(const RunOptions &options) {
  ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(options.bundle));
  HostArgs args;
  ElementType type = ElementType::f32;
  ATTN_RETURN_IF_ERROR(read_arguments(options, args, type));
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                        open_device(options.device.id, options.device.options));
  KernelQuery query;
  query.name = options.kernel;
  query.variant = options.variant;
  if (options.variant.empty()) // a forced variant converts instead
    query.types = {{BindingRole::q, type}};
  ATTN_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, load_kernel(bundle, *device, query));
  if (!options.lse.empty()) {
    bool has_lse = false;
    for (const BindingInfo &binding : kernel->info().bindings)
      has_lse |= binding.role == BindingRole::lse;
    if (!has_lse)
      return Status::usage("kernel ", kernel->info().name,
                           " writes no LSE; add `emit lse` to its spec or drop --lse");
  }
  ATTN_ASSIGN_OR_RETURN(HostResult result, run_on_device(*device, *kernel, args));
  ATTN_ASSIGN_OR_RETURN(NpyArray out, make_npy(type, {result.o.shape, result.o.shape + 4}));
  for (size_t i = 0; i < result.o.values.size(); ++i) {
    float value = result.o.values[i];
    if (type == ElementType::f32)
      static_cast<float *>(out.data.data())[i] = value;
    else
      static_cast<uint16_t *>(out.data.data())[i] =
          type == ElementType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  }
  ATTN_RETURN_IF_ERROR(write_npy(options.out, out));
  if (!options.lse.empty())
    ATTN_RETURN_IF_ERROR(write_npy(options.lse, ElementType::f32,
                                   std::span(result.o.shape).first(3), result.lse.data()));
  const KernelInfo &info = kernel->info();
  std::fprintf(stderr, "%s %s (%s %s) on %s\n", info.name.c_str(), info.variant.c_str(),
               target_name(info.target), info.arch.c_str(), device->info().name.c_str());
  return {};
}

} // namespace

void add_run_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("run", "Run one kernel on NumPy arrays");
  command->footer("Example:\n"
                  "  attn-run run causal.attnb --kernel causal --q q.npy --k k.npy --v v.npy "
                  "--out o.npy --lse lse.npy\n"
                  "Arrays have shape (batch, heads, tokens, head_dim) and type f4, f2, or u2 "
                  "holding bf16.");
  auto options = std::make_shared<RunOptions>();
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_option("--kernel", options->kernel, "name of the spec; not needed if there is one");
  command->add_option("--variant", options->variant,
                      "force a variant (f32, bf16, int8); arrays are converted");
  command->add_option("--q", options->q, "queries (.npy)")->required();
  command->add_option("--k", options->k, "keys (.npy)")->required();
  command->add_option("--v", options->v, "values (.npy)")->required();
  command->add_option("--out", options->out, "output (.npy)")->required();
  command->add_option("--lse", options->lse, "log-sum-exp per row (.npy)");
  command->add_option("--table", options->tables, "NAME=FILE.npy: a table or input of the spec");
  command->add_option("--set", options->params, "NAME=NUMBER: a parameter of the spec");
  command->add_option("--segments", options->segments,
                      "SLOT:LENGTH:POSITION,...: where which keys are; default: all, from 0");
  command->add_option("--q-position", options->q_position, "position of the first query row")
      ->capture_default_str();
  command->add_option("--layer", options->layer, "layer that the mask may read")
      ->capture_default_str();
  command->add_option("--scale", options->scale, "factor on q . k (default 1 / sqrt(head_dim))");
  options->device.add_to(*command);
  command->callback([=, &action] { action = [=] { return report(run(*options)); }; });
}

} // namespace attn
