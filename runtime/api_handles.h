// What the C interface's handles hold, and how its functions turn Status and
// exceptions into attn_status_t. For the api*.cpp files only.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/device/shared_device.h"
#include "runtime/include/attn/runtime.h"
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

struct attn_status {
  attn::Status status;
};

namespace attn::api {

struct SharedBundle {
  std::vector<std::byte> copy; // empty when mapped
  Bundle bundle;
};

// NULL for success.
attn_status_t *make_status(Status status);
attn_status_t *out_of_memory_status();

// Runs `body`, which returns a Status; nothing that it throws passes.
template <typename Body> attn_status_t *guard(Body &&body) {
  try {
    Status status = body();
    return status.ok() ? nullptr : make_status(std::move(status));
  } catch (const std::bad_alloc &) {
    return out_of_memory_status();
  } catch (...) {
    return make_status(Status::internal("an unexpected exception"));
  }
}

// Size of a struct in the first version of the interface; fields behind it came later.
template <typename T> inline constexpr size_t first_size = sizeof(T);
template <>
inline constexpr size_t first_size<attn_device_options_t> = offsetof(attn_device_options_t,
                                                                     executor);

// Whether a caller's struct can be filled: it has the first version's fields.
template <typename T> Status check_struct(const T &given, const char *name) {
  if (given.struct_size >= first_size<T>)
    return {};
  return Status::usage("struct_size of ", name, " is ", given.struct_size,
                       "; set it with ATTN_INIT");
}

// A caller's struct of any version: what an earlier one lacks is zero, and what a later
// one adds must be.
template <typename T> Result<T> read_struct(const T &given, const char *name) {
  ATTN_RETURN_IF_ERROR(check_struct(given, name));
  const auto *bytes = reinterpret_cast<const unsigned char *>(&given);
  for (size_t i = sizeof(T); i < given.struct_size; ++i)
    if (bytes[i])
      return Status::usage(name,
                           " has fields that this library does not know; leave them zero, or use a "
                           "later library");
  T read{};
  std::memcpy(&read, &given, std::min(sizeof(T), given.struct_size));
  return read;
}

} // namespace attn::api

// An argument that must not be NULL.
#define ATTN_NEED(argument)                                                                        \
  do {                                                                                             \
    if (!(argument))                                                                               \
      return ::attn::Status::usage("argument " #argument " is NULL");                              \
  } while (0)

struct attn_device {
  std::shared_ptr<attn::SharedDevice> shared;
};

struct attn_device_list {
  struct Entry {
    std::string id, name, reason;
  };
  std::vector<Entry> entries;
};

// Members are destroyed last to first: what lives on the device goes first.
struct attn_buffer {
  std::shared_ptr<attn::SharedDevice> shared;
  std::shared_ptr<attn::Buffer> buffer; // also held by DLPack tensors
};

struct attn_bundle {
  std::shared_ptr<const attn::api::SharedBundle> shared;
};

struct attn_kernel {
  std::shared_ptr<attn::SharedDevice> shared;
  std::unique_ptr<attn::Kernel> kernel;
};
