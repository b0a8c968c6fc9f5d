// Drives a cache of the runtime, as a spec declares it, with calls that a file describes,
// and writes what every call saw and computed. compare.py makes the one and reads the other.
//
//   run_policy BUNDLE CALLS OUT --specs a,b --shape FRAMES,TOKENS,HEADS [options]
//     --param n=v     a parameter of the kernels     --table n=1,2,3   an i32 table
//     --int8          int8 keys and values           --device D        default cpu
//     --restore-at N  before call N, goes on with a cache restored from a snapshot
//     --flat          every call again on flat copies of what it sees
//     --unrotated     keys and queries are taken as they are
//
// CALLS: i32 words event, spec, first, count, keep, blocks; then for each block its number
// and q, k, v as f32 (heads, rows, dim). Events: 0 a call, 1 the blocks that a recache
// asks for, 2 the newest `count` blocks are taken back, 3 tokens of kind `first`.
// OUT, for each lane of each call: i32 lane, first, count, rows, keys; keys as
// i32 (block, row, call, place); u8 admitted (heads, rows, keys); f32 out (heads, rows, dim).
#include "runtime/cache/kv_cache.h"
#include "runtime/call/select_kernel.h"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

using namespace attn;

namespace {

constexpr int64_t kDim = 64, kTimeDims = 44;

void check(const Status &status) {
  if (status.ok())
    return;
  std::cerr << "run_policy: " << status.to_string() << "\n";
  std::exit(1);
}
template <typename T> T take(Result<T> result) {
  check(result.status());
  return std::move(*result);
}

std::vector<std::string> split(const std::string &text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');)
    parts.push_back(part);
  return parts;
}

struct Options {
  std::string bundle, calls, out, device = "cpu";
  std::vector<std::string> specs;
  int64_t frames = 0, tokens = 0, heads = 0, restore_at = -1;
  bool int8 = false, flat = false, unrotated = false;
  std::vector<std::pair<std::string, double>> params;
  std::vector<std::pair<std::string, std::vector<int32_t>>> tables;
};

struct Block {
  std::vector<float> q, k, v; // (row, head, dim)
};

class Driver {
public:
  explicit Driver(const Options &options)
      : o_(options), rows_(o_.frames * o_.tokens), bundle_(take(Bundle::open(o_.bundle))),
        device_(take(open_device(o_.device))), in_(o_.calls, std::ios::binary),
        out_(o_.out, std::ios::binary) {
    for (const std::string &name : o_.specs)
      policies_.push_back(take(cache::find_policy(bundle_, name)));
    cache_ = std::make_unique<cache::KvCache>(make());
    lanes_ = policies_[0].lanes;
    slots_ = cache_->blocks().slots();
    tags_.resize(static_cast<size_t>(lanes_ * slots_), -1);
    for (const auto &[name, values] : o_.tables) {
      TensorView t;
      tables_.push_back(take(device_->allocate(values.size() * 4)));
      check(device_->upload(*tables_.back(), 0, values.data(), values.size() * 4));
      t.buffer = tables_.back().get();
      t.type = ElementType::i32;
      t.rank = 1;
      t.shape[0] = static_cast<int64_t>(values.size());
      named_.push_back({name, t});
    }
    for (const auto &[name, value] : o_.params)
      params_.push_back({name, value});
    // V that says which slots were attended: 64 of them per launch.
    const int64_t slot_rows = slots_ * rows_;
    for (int64_t first = 0; first < slot_rows; first += kDim) {
      std::vector<float> ones(static_cast<size_t>(slot_rows * kDim));
      for (int64_t s = first; s < std::min(slot_rows, first + kDim); ++s)
        ones[static_cast<size_t>(s * kDim + s - first)] = 1;
      one_hot_.push_back(take(device_->allocate(ones.size() * 4)));
      check(device_->upload(*one_hot_.back(), 0, ones.data(), ones.size() * 4));
    }
  }

  void run() {
    for (int32_t w[6]; in_.read(reinterpret_cast<char *>(w), sizeof w);) {
      std::map<int64_t, Block> given;
      for (int32_t i = 0; i < w[5]; ++i) {
        int32_t number;
        in_.read(reinterpret_cast<char *>(&number), 4);
        Block &block = given[number];
        for (std::vector<float> *x : {&block.q, &block.k, &block.v})
          *x = read_rows();
      }
      if (call_ == o_.restore_at) {
        const std::vector<std::byte> bytes = take(cache_->snapshot());
        cache_ = std::make_unique<cache::KvCache>(make());
        check(cache_->restore(bytes));
      }
      if (w[0] == 2) {
        check(cache_->take_back(w[3]));
        continue;
      }
      if (w[0] == 1)
        for (const cache::Run &run : cache_->replay())
          call(0, o_.specs[0] + "_recache", run.first, run.count, true, given, true);
      else if (w[0] == 3)
        call(0, o_.specs[0], cache_->blocks().next(), w[3], true, given, false, w[2]);
      else
        call(static_cast<size_t>(w[1]), o_.specs[static_cast<size_t>(w[1])], w[2], w[3], w[4],
             given);
      ++call_;
    }
    std::printf(
        "calls %lld written %llu rotated %llu flat %.3g segments %zu\n",
        static_cast<long long>(call_), static_cast<unsigned long long>(cache_->traffic().written),
        static_cast<unsigned long long>(cache_->traffic().rotated), flat_error_, most_segments_);
  }

private:
  cache::KvCache make() {
    cache::RowShape shape;
    shape.block_tokens = rows_;
    shape.kv_heads = o_.heads;
    shape.qk_dim = shape.v_dim = kDim;
    shape.stored = o_.int8 ? ElementType::i8 : ElementType::f32;
    shape.pairs = o_.unrotated ? 0 : kDim / 2;
    shape.angles = [this](int64_t block, int64_t row, float *cosine, float *sine) {
      const double frame = static_cast<double>(block * o_.frames + row / o_.tokens);
      const double token = static_cast<double>(row % o_.tokens);
      for (int64_t i = 0; i < kDim / 2; ++i) {
        const bool time = i < kTimeDims / 2;
        const double dims = time ? kTimeDims : kDim - kTimeDims;
        const double of = static_cast<double>(time ? i : i - kTimeDims / 2);
        const double angle = (time ? frame : token) * std::pow(10000.0, -2 * of / dims);
        cosine[i] = static_cast<float>(std::cos(angle));
        sine[i] = static_cast<float>(std::sin(angle));
      }
    };
    return take(cache::KvCache::create(*device_, policies_, std::move(shape)));
  }

  std::vector<float> read_rows() {
    std::vector<float> x(static_cast<size_t>(o_.heads * rows_ * kDim)), y(x.size());
    in_.read(reinterpret_cast<char *>(x.data()), static_cast<std::streamsize>(x.size() * 4));
    for (int64_t h = 0; h < o_.heads; ++h)
      for (int64_t r = 0; r < rows_; ++r)
        std::memcpy(&y[static_cast<size_t>((r * o_.heads + h) * kDim)],
                    &x[static_cast<size_t>((h * rows_ + r) * kDim)], kDim * 4);
    return y;
  }

  Kernel &kernel(const std::string &name) {
    std::unique_ptr<Kernel> &k = kernels_[name];
    if (!k) {
      KernelQuery query;
      query.name = name;
      query.qk_dim = query.v_dim = kDim;
      query.heads = query.kv_heads = static_cast<uint32_t>(o_.heads);
      const ElementType stored = o_.int8 ? ElementType::i8 : ElementType::f32;
      query.types = {{BindingRole::q, ElementType::f32},
                     {BindingRole::k, stored},
                     {BindingRole::v, stored},
                     {BindingRole::o, ElementType::f32}};
      k = take(load_kernel(bundle_, *device_, query));
    }
    return *k;
  }

  // (lanes, heads, count * rows, dim) of the device, as it lies there.
  std::vector<float> launch(Kernel &k, AttentionArgs args, const std::vector<float> &q) {
    const int64_t n = static_cast<int64_t>(q.size()) / (lanes_ * o_.heads * kDim);
    auto in = take(device_->allocate(q.size() * 4)), out = take(device_->allocate(q.size() * 4));
    check(device_->upload(*in, 0, q.data(), q.size() * 4));
    args.q = contiguous_view(*in, ElementType::f32, lanes_, o_.heads, n, kDim);
    args.q.strides[0] = n * o_.heads * kDim; // (lane, row, head, dim)
    args.q.strides[1] = kDim;
    args.q.strides[2] = o_.heads * kDim;
    args.o = contiguous_view(*out, ElementType::f32, lanes_, o_.heads, n, kDim);
    args.tensors = named_;
    AttentionCall call;
    check(call.prepare(k, *device_, args));
    check(call.launch(*device_, k));
    std::vector<float> result(q.size());
    check(device_->download(*out, 0, result.data(), result.size() * 4));
    return result;
  }

  void call(size_t which, const std::string &name, int64_t first, int64_t count, bool stay,
            const std::map<int64_t, Block> &given, bool replaying = false, int64_t kind = -1) {
    check(kind >= 0   ? cache_->begin_kind(static_cast<size_t>(kind), count)
          : replaying ? cache_->begin_replay({first, count})
                      : cache_->begin(which, first, count, stay));
    const int64_t n = count * rows_, width = o_.heads * kDim;
    std::vector<float> q(static_cast<size_t>(lanes_ * n * width));
    for (int64_t lane = 0; lane < lanes_; ++lane)
      for (int64_t b = first - lane; b < first - lane + count && b >= 0; ++b) {
        auto found = given.find(b);
        if (found == given.end())
          check(Status::usage("call ", call_, " runs block ", b,
                              ", which the procedure does not run"));
        check(cache_->write(lane, b, found->second.k.data(), found->second.v.data()));
        float *rows = q.data() + (lane * n + (b - first + lane) * rows_) * width;
        std::copy(found->second.q.begin(), found->second.q.end(), rows);
        check(cache_->rotate(lane, b, o_.heads, rows));
        for (const cache::Seen &s : cache_->blocks(lane).seen())
          if (s.block == b && s.in_call)
            tags_[static_cast<size_t>(lane * slots_ + s.slot)] = call_;
      }
    Kernel &k = kernel(name);
    AttentionArgs args;
    check(cache_->show(params_, args));
    most_segments_ = std::max(most_segments_, args.segments.size());
    const std::vector<float> out = launch(k, args, q);
    // Which keys: of V the slots alone, all scores alike.
    std::vector<std::vector<float>> seen;
    if (!o_.int8)
      for (const auto &ones : one_hot_) {
        AttentionArgs recover = args;
        recover.v = contiguous_view(*ones, ElementType::f32, 1, 1, slots_ * rows_, kDim);
        recover.v.shape[0] = lanes_;
        recover.v.shape[1] = o_.heads;
        recover.v.strides[0] = recover.v.strides[1] = 0;
        seen.push_back(launch(k, recover, std::vector<float>(q.size())));
      }
    if (o_.flat)
      compare_flat(k, args, q, out);
    for (int64_t lane = 0; lane < lanes_ && lane <= first; ++lane)
      write(lane, first - lane, count, out, seen);
  }

  void write(int64_t lane, int64_t first, int64_t count, const std::vector<float> &out,
             const std::vector<std::vector<float>> &seen) {
    const auto blocks = cache_->blocks(lane).seen();
    const int64_t n = count * rows_, keys = static_cast<int64_t>(blocks.size()) * rows_;
    auto words = [&](std::initializer_list<int64_t> values) {
      for (int64_t v : values) {
        const int32_t word = static_cast<int32_t>(v);
        out_.write(reinterpret_cast<const char *>(&word), 4);
      }
    };
    words({lane, first, count, n, keys});
    for (const cache::Seen &s : blocks)
      for (int64_t r = 0; r < rows_; ++r)
        words({s.block, r, tags_[static_cast<size_t>(lane * slots_ + s.slot)], s.place});
    for (int64_t row = 0; row < o_.heads * n; ++row)
      for (const cache::Seen &s : blocks)
        for (int64_t r = 0; r < rows_; ++r) {
          const int64_t slot = s.slot * rows_ + r;
          const int64_t at = (lane * o_.heads * n + row) * kDim + slot % kDim;
          out_.put(!seen.empty() &&
                   seen[static_cast<size_t>(slot / kDim)][static_cast<size_t>(at)] > 0);
        }
    const int64_t size = o_.heads * n * kDim;
    out_.write(reinterpret_cast<const char *>(out.data() + lane * size), size * 4);
  }

  // The rows that the call sees, copied together: in the order of slots the bits must be
  // the same, in the order of positions the results but for rounding.
  void compare_flat(Kernel &k, const AttentionArgs &args, const std::vector<float> &q,
                    const std::vector<float> &out) {
    if (lanes_ > 1 || o_.int8)
      return;
    std::vector<Segment> by_slot(args.segments.begin(), args.segments.end()), by_position = by_slot;
    std::sort(by_position.begin(), by_position.end(), [](const Segment &a, const Segment &b) {
      return a.first_position < b.first_position;
    });
    for (const auto *order : {&by_slot, &by_position}) {
      const int64_t width = o_.heads * kDim;
      std::vector<float> rows[2];
      std::vector<Segment> packed;
      for (const Segment &s : *order) {
        packed.push_back({static_cast<int32_t>(rows[0].size()) / static_cast<int32_t>(width),
                          s.length, s.first_position});
        for (int side = 0; side < 2; ++side) {
          const Buffer &from = *(side ? args.v : args.k).buffer;
          const size_t old = rows[side].size();
          rows[side].resize(old + static_cast<size_t>(s.length * width));
          check(device_->download(from, static_cast<size_t>(s.first_slot * width) * 4,
                                  rows[side].data() + old,
                                  static_cast<size_t>(s.length * width) * 4));
        }
      }
      AttentionArgs flat = args;
      std::unique_ptr<Buffer> buffers[2];
      for (int side = 0; side < 2; ++side) {
        buffers[side] = take(device_->allocate(rows[side].size() * 4));
        check(device_->upload(*buffers[side], 0, rows[side].data(), rows[side].size() * 4));
        TensorView &view = side ? flat.v : flat.k;
        view.buffer = buffers[side].get();
        view.shape[2] = static_cast<int64_t>(rows[side].size()) / width;
      }
      flat.segments = packed;
      const std::vector<float> again = launch(k, flat, q);
      if (order == &by_slot) {
        if (std::memcmp(again.data(), out.data(), out.size() * 4) != 0)
          check(
              Status::internal("call ", call_, ": a flat copy in the same order gives other bits"));
        continue;
      }
      double error = 0, norm = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        error += std::pow(double(again[i]) - out[i], 2);
        norm += std::pow(double(out[i]), 2);
      }
      flat_error_ = std::max(flat_error_, std::sqrt(error / std::max(norm, 1e-30)));
    }
  }

  Options o_;
  int64_t rows_;
  Bundle bundle_;
  std::unique_ptr<Device> device_;
  std::ifstream in_;
  std::ofstream out_;
  std::vector<cache::Policy> policies_;
  std::unique_ptr<cache::KvCache> cache_;
  int64_t lanes_ = 1, slots_ = 0, call_ = 0;
  std::vector<int64_t> tags_; // per (lane, slot): the call that wrote it
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
  std::vector<std::unique_ptr<Buffer>> tables_, one_hot_;
  std::vector<NamedTensor> named_;
  std::vector<NamedValue> params_;
  double flat_error_ = 0;
  size_t most_segments_ = 0;
};

Options parse(int argc, char **argv) {
  Options o;
  std::vector<std::string> plain;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--int8" || word == "--flat" || word == "--unrotated") {
      (word == "--int8" ? o.int8 : word == "--flat" ? o.flat : o.unrotated) = true;
      continue;
    }
    if (word.rfind("--", 0) != 0) {
      plain.push_back(word);
      continue;
    }
    if (i + 1 == argc)
      check(Status::usage(word, " needs a value"));
    const std::string value = argv[++i];
    const size_t equal = value.find('=');
    if (word == "--specs")
      o.specs = split(value);
    else if (word == "--device")
      o.device = value;
    else if (word == "--restore-at")
      o.restore_at = std::atoll(value.c_str());
    else if (word == "--param")
      o.params.push_back({value.substr(0, equal), std::atof(value.c_str() + equal + 1)});
    else if (word == "--table") {
      o.tables.push_back({value.substr(0, equal), {}});
      for (const std::string &v : split(value.substr(equal + 1)))
        o.tables.back().second.push_back(std::atoi(v.c_str()));
    } else if (word == "--shape") {
      std::vector<std::string> v = split(value);
      v.resize(3);
      o.frames = std::atoll(v[0].c_str());
      o.tokens = std::atoll(v[1].c_str());
      o.heads = std::atoll(v[2].c_str());
    } else
      check(Status::usage("unknown option ", word));
  }
  if (plain.size() != 3 || o.specs.empty() || o.heads < 1)
    check(Status::usage("give BUNDLE CALLS OUT --specs NAMES --shape FRAMES,TOKENS,HEADS"));
  o.bundle = plain[0], o.calls = plain[1], o.out = plain[2];
  return o;
}

} // namespace

int main(int argc, char **argv) {
  Driver(parse(argc, argv)).run();
  return 0;
}
