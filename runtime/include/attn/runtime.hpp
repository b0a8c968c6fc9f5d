// The C interface as C++ values: handles that release themselves and statuses
// that convert to bool. Header only; adds no symbol to link.
#pragma once

#include <attn/runtime.h>
#include <memory>
#include <string>
#include <utility>

namespace attn::c {

// Success, or what went wrong.
class Status {
public:
  Status() = default;
  explicit Status(attn_status_t *status) : status_(status) {}
  bool ok() const { return !status_; }
  explicit operator bool() const { return ok(); }
  attn_code_t code() const { return attn_status_code(status_.get()); }
  std::string message() const { return attn_status_message(status_.get()); }
  std::string place() const { return attn_status_place(status_.get()); }
  std::string text() const {
    return ok() ? "ok" : place().empty() ? message() : place() + ": " + message();
  }

private:
  struct Free {
    void operator()(attn_status_t *status) const { attn_status_free(status); }
  };
  std::unique_ptr<attn_status_t, Free> status_;
};

// An owned handle; `out()` is what open and create functions write to.
template <typename T, void (*release)(T *)> class Handle {
public:
  Handle() = default;
  ~Handle() { release(handle_); }
  Handle(Handle &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Handle &operator=(Handle &&other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  T *get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }
  T **out() {
    release(std::exchange(handle_, nullptr));
    return &handle_;
  }

private:
  T *handle_ = nullptr;
};

struct Device : Handle<attn_device_t, attn_device_close> {
  Status open(const char *id, const attn_device_options_t *options = nullptr) {
    return Status(attn_device_open(id, options, out()));
  }
  std::string name() const { return attn_device_name(get()); }
  Status synchronise() { return Status(attn_device_synchronise(get())); }
};

struct Buffer : Handle<attn_buffer_t, attn_buffer_free> {
  Status create(Device &device, size_t bytes) {
    return Status(attn_buffer_create(device.get(), bytes, out()));
  }
  Status write(const void *data, size_t bytes, size_t offset = 0) {
    return Status(attn_buffer_write(get(), offset, data, bytes));
  }
  Status read(void *data, size_t bytes, size_t offset = 0) {
    return Status(attn_buffer_read(get(), offset, data, bytes));
  }
};

struct Bundle : Handle<attn_bundle_t, attn_bundle_close> {
  Status open(const char *path) { return Status(attn_bundle_open(path, out())); }
  Status open_memory(const void *data, size_t bytes) {
    return Status(attn_bundle_open_memory(data, bytes, out()));
  }
  Status open_linked(const attn_linked_kernels_t &kernels) {
    return Status(attn_bundle_open_linked(&kernels, out()));
  }
};

struct Kernel : Handle<attn_kernel_t, attn_kernel_free> {
  Status load(Bundle &bundle, Device &device, const char *name = nullptr,
              const char *variant = nullptr) {
    return Status(attn_kernel_load(bundle.get(), device.get(), name, variant, out()));
  }
  Status run(const attn_attention_args_t &args) { return Status(attn_attention_run(get(), &args)); }
  Status merge(const attn_merge_args_t &args) { return Status(attn_merge_run(get(), &args)); }
};

struct Model : Handle<attn_model_t, attn_model_close> {
  Status open(const char *model_path, const Bundle &kernels = {},
              const char *description_path = nullptr) {
    return Status(attn_model_open(model_path, kernels.get(), description_path, out()));
  }
  Status open_package(const Bundle &package) {
    return Status(attn_model_open_package(package.get(), out()));
  }
  Status info(attn_model_info_t &info) const {
    info = ATTN_INIT(attn_model_info_t);
    return Status(attn_model_get_info(get(), &info));
  }
};

// Bytes of a snapshot.
struct Blob : Handle<attn_blob_t, attn_blob_free> {
  const void *data() const { return attn_blob_data(get()); }
  size_t size() const { return attn_blob_size(get()); }
};

struct Stream : Handle<attn_stream_t, attn_stream_close> {
  Status create(Model &model, Device &device, const attn_stream_options_t *options = nullptr) {
    return Status(attn_stream_create(model.get(), device.get(), options, out()));
  }
  Status push_prompt(const char *prompt, attn_recache_t recache = ATTN_RECACHE_FULL,
                     uint64_t at_block = 0) {
    return Status(attn_stream_push_prompt(get(), prompt, recache, at_block));
  }
  Status push_prompts(const attn_weighted_prompt_t *prompts, size_t count,
                      attn_recache_t recache = ATTN_RECACHE_FULL, uint64_t at_block = 0) {
    return Status(attn_stream_push_prompts(get(), prompts, count, recache, at_block));
  }
  Status next(attn_frames_t &frames) {
    frames = ATTN_INIT(attn_frames_t);
    return Status(attn_stream_next(get(), &frames));
  }
  // `done` is called as done(const attn_status_t *, const attn_frames_t *) on the
  // stream's thread; it must live until wait() returns or the stream is released.
  template <typename Done> Status next_async(uint64_t blocks, Done &done) {
    auto call = [](void *user, const attn_status_t *status, const attn_frames_t *frames) {
      (*static_cast<Done *>(user))(status, frames);
    };
    return Status(attn_stream_next_async(get(), blocks, call, &done));
  }
  Status run_for(double budget_ms, attn_frames_t &frames, bool &done) {
    frames = ATTN_INIT(attn_frames_t);
    uint32_t made = 0;
    Status status(attn_stream_run_for(get(), budget_ms, &frames, &made));
    done = made != 0;
    return status;
  }
  Status wait() { return Status(attn_stream_wait(get())); }
  Status pause() { return Status(attn_stream_pause(get())); }
  Status resume() { return Status(attn_stream_resume(get())); }
  Status step() { return Status(attn_stream_step(get())); }
  Status cancel() { return Status(attn_stream_cancel(get())); }
  Status set_seed(uint64_t seed) { return Status(attn_stream_set_seed(get(), seed)); }
  Status snapshot(Blob &blob) { return Status(attn_stream_snapshot(get(), blob.out())); }
  Status restore(const void *data, size_t bytes) {
    return Status(attn_stream_restore(get(), data, bytes));
  }
  Status stats(attn_stream_stats_t &stats) {
    stats = ATTN_INIT(attn_stream_stats_t);
    return Status(attn_stream_get_stats(get(), &stats));
  }
};

// A contiguous (batch, heads, tokens, dim) array in host memory.
inline attn_tensor_t host_tensor(attn_type_t type, void *data, int64_t batch, int64_t heads,
                                 int64_t tokens, int64_t dim) {
  attn_tensor_t tensor = ATTN_INIT(attn_tensor_t);
  tensor.data = data;
  tensor.type = type;
  tensor.rank = 4;
  tensor.shape[0] = batch;
  tensor.shape[1] = heads;
  tensor.shape[2] = tokens;
  tensor.shape[3] = dim;
  return tensor;
}

} // namespace attn::c
