// What a spec declares of its cache goes into the bundle, for the runtime.
#include "tools/attnc/Commands.h"

#include "runtime/cache/policy.h"

namespace attn::tools {

static cache::Policy policyOf(const spec::AttentionSpec &spec) {
  cache::Policy policy;
  if (spec.queryBlock) {
    policy.call_least = spec.queryBlock->minimum;
    policy.call_most = spec.queryBlock->maximum;
    if (spec.queryBlock->from)
      policy.first_param = spec.params[*spec.queryBlock->from].name;
  }
  if (spec.rope)
    policy.by_place = spec.rope->origin == spec::RopeOrigin::Window;
  if (spec.cache && spec.cache->whole) {
    policy.tail_param = spec.cache->tail;
    for (const spec::ParamInfo &param : spec.params)
      if (param.implicit && param.name == "len_" + spec.cache->tokens)
        policy.length_param = param.name;
  } else if (spec.cache) {
    for (const spec::CacheKind &kind : spec.cache->kinds)
      policy.kinds.push_back({kind.name, kind.pin, kind.ring, kind.of});
    policy.pin = spec.cache->pin;
    policy.ring = spec.cache->ring;
    policy.spare = spec.cache->spare;
    policy.lanes = spec.cache->lanes;
    policy.pin_adjacent = spec.cache->pinAdjacent;
    policy.write_last = spec.cache->write == spec::WritePolicy::LastPass;
    policy.roped = spec.cache->storeRoped;
  }
  if (spec.recache) {
    policy.recache = spec.recache->event == "prompt" ? cache::Policy::Recache::on_prompt
                                                     : cache::Policy::Recache::on_block;
    policy.replay = spec.recache->replay;
    policy.pinned = static_cast<cache::Policy::Pinned>(spec.recache->pin);
  }
  return policy;
}

void addPolicies(const spec::CheckedSpec &spec, BundleWriter &bundle) {
  for (const spec::AttentionSpec &attention : spec.attentions) {
    if (attention.cache ? attention.cache->whole && attention.cache->tail.empty()
                        : !attention.queryBlock)
      continue;
    const std::string text = cache::policy_text(policyOf(attention));
    bundle.add_blob("cache/" + attention.name, std::as_bytes(std::span(text)));
  }
}

} // namespace attn::tools
