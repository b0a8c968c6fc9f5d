// What the C interface's stream handles hold. For the api*.cpp files only.
#pragma once

#include "runtime/include/attn/runtime.h"
#include "runtime/stream/runner.h"
#include "runtime/stream/stats.h"
#include <memory>
#include <span>
#include <vector>

struct attn_model {
  std::shared_ptr<const attn::stream::Model> model;
};

// Members are destroyed last to first: the thread before what it works on.
struct attn_stream {
  std::unique_ptr<attn::stream::Streamer> streamer;
  attn::stream::StreamStats stats;
  std::span<const float> frames; // of the last block
  std::unique_ptr<attn::stream::Runner> runner;
};

struct attn_blob {
  std::vector<std::byte> bytes;
};
