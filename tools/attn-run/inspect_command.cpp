// `attn-run inspect`: what is in a bundle.
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "tools/attn-run/commands.h"
#include "tools/attn-run/json.h"

#include <cstdio>

namespace attn {

namespace {

const char *role_names[] = {"q",       "k",     "v",     "o",      "lse",     "k_scale",
                            "v_scale", "table", "input", "part_o", "part_lse"};

void print_kernel(const Bundle &bundle, const KernelInfo &kernel) {
  std::printf("%s %s for %s %s: dim %u/%u, heads %s/%s, tile %u x %u, %zu bytes",
              kernel.name.c_str(), kernel.variant.c_str(), target_name(kernel.target),
              kernel.arch.c_str(), kernel.qk_dim, kernel.v_dim,
              kernel.heads ? std::to_string(kernel.heads).c_str() : "any",
              kernel.kv_heads ? std::to_string(kernel.kv_heads).c_str() : "any", kernel.block_q,
              kernel.block_k, bundle.images()[kernel.image].bytes.size());
  std::printf("\n    entry %s, priority %u, error bound %g", kernel.symbol.c_str(), kernel.priority,
              static_cast<double>(kernel.error_bound));
  if (kernel.features)
    std::printf(", needs %s", feature_names(kernel.features).c_str());
  if (kernel.target == TargetKind::ptx)
    std::printf(", sm_%u", kernel.compute_capability);
  if (kernel.target != TargetKind::cpu)
    std::printf(", workgroup %u x %u x %u, %u bytes shared", kernel.workgroup[0],
                kernel.workgroup[1], kernel.workgroup[2], kernel.shared_bytes);
  std::printf("\n    buffers");
  for (const BindingInfo &binding : kernel.bindings)
    std::printf("%s %s: %s%s", &binding == &kernel.bindings[0] ? "" : ",", binding.name.c_str(),
                element_type_name(binding.type), binding.written ? " (written)" : "");
  std::printf("\n");
  for (const ParamInfo &param : kernel.params)
    std::printf("    parameter %s: %s in %g..%g\n", param.name.c_str(),
                element_type_name(param.type), param.minimum, param.maximum);
}

void write_kernel(Json &out, const Bundle &bundle, const KernelInfo &kernel) {
  out.begin_object().field("name", kernel.name).field("variant", kernel.variant);
  out.field("target", target_name(kernel.target)).field("arch", kernel.arch);
  out.field("symbol", kernel.symbol).field("features", feature_names(kernel.features));
  out.field("priority", kernel.priority).field("qk_dim", kernel.qk_dim);
  out.field("v_dim", kernel.v_dim).field("heads", kernel.heads);
  out.field("kv_heads", kernel.kv_heads).field("block_q", kernel.block_q);
  out.field("block_k", kernel.block_k).field("shared_bytes", kernel.shared_bytes);
  out.field("arena_bytes", kernel.arena_bytes);
  out.field("compute_capability", kernel.compute_capability);
  out.field("error_bound", static_cast<double>(kernel.error_bound));
  out.field("spec", std::string(bundle.specs()[kernel.spec].name));
  out.field("image_bytes", uint64_t(bundle.images()[kernel.image].bytes.size()));
  out.key("workgroup").begin_array();
  for (uint32_t extent : kernel.workgroup)
    out.value(extent);
  out.end_array().key("bindings").begin_array();
  for (const BindingInfo &binding : kernel.bindings)
    out.begin_object()
        .field("name", binding.name)
        .field("role", role_names[static_cast<size_t>(binding.role)])
        .field("type", element_type_name(binding.type))
        .field("rank", int(binding.rank))
        .field("written", binding.written)
        .end_object();
  out.end_array().key("params").begin_array();
  for (const ParamInfo &param : kernel.params)
    out.begin_object()
        .field("name", param.name)
        .field("type", element_type_name(param.type))
        .field("minimum", param.minimum)
        .field("maximum", param.maximum)
        .end_object();
  out.end_array().end_object();
}

// How a package's model lies in the file.
struct GraphFacts {
  uint64_t constants = 0, panels = 0; // bytes
  bool whole = true;                  // the constants are as they were written

  explicit GraphFacts(const PackedGraph &packed) {
    for (const graph::Value &value : packed.graph.values)
      if (value.is_constant())
        (value.panel_columns ? panels : constants) +=
            constant_bytes(value.type, value.panel_columns);
    whole = hash_constants(packed.graph) == packed.constants_hash;
  }
};

// Opening a package does not read its weights; here they are.
Status check_constants(const Bundle &bundle) {
  for (const PackedGraph &packed : bundle.graphs())
    if (!GraphFacts(packed).whole)
      return Status::invalid_input("constants of graph '", packed.name,
                                   "' have another checksum than was written: the package is "
                                   "damaged, copy or make it again")
          .at(bundle.place());
  return {};
}

int inspect(const std::string &path, bool json, bool specs) {
  Result<Bundle> bundle = Bundle::open(path);
  if (!bundle.ok())
    return report(bundle.status());
  if (Status status = check_constants(*bundle); !status.ok())
    return report(status);
  if (json) {
    Json out;
    out.begin_object().field("bytes", uint64_t(bundle->size()));
    out.field("hash", concat(bundle->hash())).key("kernels").begin_array();
    for (const KernelInfo &kernel : bundle->kernels())
      write_kernel(out, *bundle, kernel);
    out.end_array().key("specs").begin_array();
    for (const Bundle::Spec &spec : bundle->specs())
      out.begin_object().field("name", spec.name).field("source", spec.source).end_object();
    out.end_array().key("blobs").begin_array();
    for (const Bundle::Blob &blob : bundle->blobs())
      out.begin_object()
          .field("name", blob.name)
          .field("bytes", uint64_t(blob.bytes.size()))
          .end_object();
    out.end_array().key("graphs").begin_array();
    for (const PackedGraph &packed : bundle->graphs()) {
      const GraphFacts facts(packed);
      out.begin_object()
          .field("name", packed.name)
          .field("nodes", uint64_t(packed.graph.nodes.size()))
          .field("constant_bytes", facts.constants)
          .field("panel_bytes", facts.panels)
          .end_object();
    }
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
    return 0;
  }
  std::printf("%s: %zu bytes, %zu kernels, %zu images, %zu specs, hash %016llx\n", path.c_str(),
              bundle->size(), bundle->kernels().size(), bundle->images().size(),
              bundle->specs().size(), static_cast<unsigned long long>(bundle->hash()));
  for (const KernelInfo &kernel : bundle->kernels())
    print_kernel(*bundle, kernel);
  for (const Bundle::Blob &blob : bundle->blobs())
    std::printf("data %.*s: %zu bytes\n", static_cast<int>(blob.name.size()), blob.name.data(),
                blob.bytes.size());
  for (const PackedGraph &packed : bundle->graphs()) {
    const GraphFacts facts(packed);
    std::printf("graph %s: %zu nodes, %zu inputs, %zu outputs, %llu bytes of constants and %llu in "
                "panels, checksum right\n",
                packed.name.c_str(), packed.graph.nodes.size(), packed.graph.inputs.size(),
                packed.graph.outputs.size(), static_cast<unsigned long long>(facts.constants),
                static_cast<unsigned long long>(facts.panels));
  }
  for (const Bundle::Spec &spec : bundle->specs())
    if (specs)
      std::printf("--- %.*s\n%.*s", static_cast<int>(spec.name.size()), spec.name.data(),
                  static_cast<int>(spec.source.size()), spec.source.data());
  return 0;
}

} // namespace

void add_inspect_command(CLI::App &program, Action &action) {
  CLI::App *command = program.add_subcommand("inspect", "Show what is in a bundle");
  command->footer("Example:\n  attn-run inspect causal.attnb --specs");
  struct Options {
    std::string bundle;
    bool json = false, specs = false;
  };
  auto options = std::make_shared<Options>();
  command->add_option("bundle", options->bundle, "bundle (.attnb)")->required();
  command->add_flag("--json", options->json, "print JSON");
  command->add_flag("--specs", options->specs, "print the specs' sources too");
  command->callback([=, &action] {
    action = [=] { return inspect(options->bundle, options->json, options->specs); };
  });
}

} // namespace attn
