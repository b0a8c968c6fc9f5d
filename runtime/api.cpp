// The C interface to status, devices, buffers, bundles and kernels: handles in
// and out, C++ inside.
#include "runtime/api_handles.h"

#include "runtime/call/select_kernel.h"
#include "runtime/device/linked_kernels.h"
#include <cstring>

using namespace attn;
using namespace attn::api;

namespace attn::api {

// Made before it is needed: there may be no memory then.
static attn_status out_of_memory{Status::environment("out of memory")};

attn_status_t *out_of_memory_status() { return &out_of_memory; }

attn_status_t *make_status(Status status) {
  auto *made = new (std::nothrow) attn_status{std::move(status)};
  return made ? made : &out_of_memory;
}

} // namespace attn::api

extern "C" {

uint32_t attn_api_version(void) { return ATTN_API_VERSION; }

attn_code_t attn_status_code(const attn_status_t *status) {
  return status ? static_cast<attn_code_t>(status->status.code()) : ATTN_OK;
}
const char *attn_status_message(const attn_status_t *status) {
  return status ? status->status.message().c_str() : "";
}
const char *attn_status_place(const attn_status_t *status) {
  return status ? status->status.place().c_str() : "";
}
void attn_status_free(attn_status_t *status) {
  if (status != &out_of_memory)
    delete status;
}

attn_status_t *attn_device_open(const char *id, const attn_device_options_t *options,
                                attn_device_t **out_device) {
  return guard([&]() -> Status {
    ATTN_NEED(id);
    ATTN_NEED(out_device);
    DeviceOptions chosen;
    if (options) {
      ATTN_ASSIGN_OR_RETURN(attn_device_options_t given,
                            read_struct(*options, "attn_device_options_t"));
      chosen.threads = given.threads;
      chosen.validation = given.validation != 0;
      if (given.executor) {
        ATTN_ASSIGN_OR_RETURN(attn_executor_t executor,
                              read_struct(*given.executor, "attn_executor_t"));
        if (!executor.run || !executor.threads)
          return Status::usage("the executor lacks ",
                               executor.run ? "threads" : "its run function");
        chosen.executor = {executor.threads, executor.run, executor.user};
      }
    }
    ATTN_ASSIGN_OR_RETURN(std::shared_ptr<SharedDevice> shared, SharedDevice::open(id, chosen));
    *out_device = new attn_device{std::move(shared)};
    return {};
  });
}

void attn_device_close(attn_device_t *device) { delete device; }

const char *attn_device_id(const attn_device_t *device) {
  return device ? device->shared->device->info().id.c_str() : "";
}

const char *attn_device_name(const attn_device_t *device) {
  return device ? device->shared->device->info().name.c_str() : "";
}

attn_status_t *attn_device_synchronise(attn_device_t *device) {
  return guard([&]() -> Status {
    ATTN_NEED(device);
    std::lock_guard lock(device->shared->turns);
    return device->shared->device->synchronise();
  });
}

attn_status_t *attn_device_list_create(attn_device_list_t **out_list) {
  return guard([&]() -> Status {
    ATTN_NEED(out_list);
    auto list = std::make_unique<attn_device_list>();
    for (const DeviceListing &device : list_devices())
      list->entries.push_back(
          {device.id, device.name, device.status.ok() ? std::string() : device.status.to_string()});
    *out_list = list.release();
    return {};
  });
}

void attn_device_list_free(attn_device_list_t *list) { delete list; }

size_t attn_device_list_count(const attn_device_list_t *list) {
  return list ? list->entries.size() : 0;
}

const char *attn_device_list_id(const attn_device_list_t *list, size_t index) {
  return index < attn_device_list_count(list) ? list->entries[index].id.c_str() : "";
}
const char *attn_device_list_name(const attn_device_list_t *list, size_t index) {
  return index < attn_device_list_count(list) ? list->entries[index].name.c_str() : "";
}
const char *attn_device_list_reason(const attn_device_list_t *list, size_t index) {
  return index < attn_device_list_count(list) ? list->entries[index].reason.c_str() : "";
}

attn_status_t *attn_buffer_create(attn_device_t *device, size_t bytes, attn_buffer_t **out_buffer) {
  return guard([&]() -> Status {
    ATTN_NEED(device);
    ATTN_NEED(out_buffer);
    std::lock_guard lock(device->shared->turns);
    auto made = std::make_unique<attn_buffer>();
    made->shared = device->shared;
    ATTN_ASSIGN_OR_RETURN(made->buffer, device->shared->device->allocate(bytes));
    *out_buffer = made.release();
    return {};
  });
}

void attn_buffer_free(attn_buffer_t *buffer) {
  if (!buffer)
    return;
  {
    std::lock_guard lock(buffer->shared->turns);
    buffer->buffer.reset();
  }
  delete buffer;
}

size_t attn_buffer_size(const attn_buffer_t *buffer) { return buffer ? buffer->buffer->size() : 0; }

attn_status_t *attn_buffer_write(attn_buffer_t *buffer, size_t offset, const void *data,
                                 size_t bytes) {
  return guard([&]() -> Status {
    ATTN_NEED(buffer);
    if (bytes)
      ATTN_NEED(data);
    std::lock_guard lock(buffer->shared->turns);
    return buffer->shared->device->upload(*buffer->buffer, offset, data, bytes);
  });
}

attn_status_t *attn_buffer_read(attn_buffer_t *buffer, size_t offset, void *data, size_t bytes) {
  return guard([&]() -> Status {
    ATTN_NEED(buffer);
    if (bytes)
      ATTN_NEED(data);
    std::lock_guard lock(buffer->shared->turns);
    return buffer->shared->device->download(*buffer->buffer, offset, data, bytes);
  });
}

attn_status_t *attn_bundle_open(const char *path, attn_bundle_t **out_bundle) {
  return guard([&]() -> Status {
    ATTN_NEED(path);
    ATTN_NEED(out_bundle);
    ATTN_ASSIGN_OR_RETURN(Bundle bundle, Bundle::open(path));
    auto shared = std::make_shared<SharedBundle>();
    shared->bundle = std::move(bundle);
    *out_bundle = new attn_bundle{std::move(shared)};
    return {};
  });
}

attn_status_t *attn_bundle_open_memory(const void *data, size_t bytes, attn_bundle_t **out_bundle) {
  return guard([&]() -> Status {
    ATTN_NEED(data);
    ATTN_NEED(out_bundle);
    auto shared = std::make_shared<SharedBundle>();
    const auto *begin = static_cast<const std::byte *>(data);
    shared->copy.assign(begin, begin + bytes);
    ATTN_ASSIGN_OR_RETURN(shared->bundle, Bundle::from_memory(shared->copy, "memory"));
    *out_bundle = new attn_bundle{std::move(shared)};
    return {};
  });
}

attn_status_t *attn_bundle_open_linked(const attn_linked_kernels_t *kernels,
                                       attn_bundle_t **out_bundle) {
  return guard([&]() -> Status {
    ATTN_NEED(kernels);
    ATTN_NEED(out_bundle);
    static_assert(sizeof(attn_linked_kernels_t) == sizeof(LinkedKernels));
    ATTN_RETURN_IF_ERROR(
        register_linked_kernels(*reinterpret_cast<const LinkedKernels *>(kernels)));
    auto shared = std::make_shared<SharedBundle>();
    std::span bytes(static_cast<const std::byte *>(kernels->bundle), kernels->bundle_bytes);
    ATTN_ASSIGN_OR_RETURN(shared->bundle, Bundle::from_memory(bytes, kernels->name));
    *out_bundle = new attn_bundle{std::move(shared)};
    return {};
  });
}

void attn_bundle_close(attn_bundle_t *bundle) { delete bundle; }

size_t attn_bundle_kernel_count(const attn_bundle_t *bundle) {
  return bundle ? bundle->shared->bundle.kernels().size() : 0;
}
const char *attn_bundle_kernel_name(const attn_bundle_t *bundle, size_t index) {
  return index < attn_bundle_kernel_count(bundle)
             ? bundle->shared->bundle.kernels()[index].name.c_str()
             : "";
}
const char *attn_bundle_kernel_variant(const attn_bundle_t *bundle, size_t index) {
  return index < attn_bundle_kernel_count(bundle)
             ? bundle->shared->bundle.kernels()[index].variant.c_str()
             : "";
}

attn_status_t *attn_kernel_load(attn_bundle_t *bundle, attn_device_t *device, const char *name,
                                const char *variant, attn_kernel_t **out_kernel) {
  return guard([&]() -> Status {
    ATTN_NEED(bundle);
    ATTN_NEED(device);
    ATTN_NEED(out_kernel);
    std::lock_guard lock(device->shared->turns);
    KernelQuery query;
    query.name = name ? name : "";
    query.variant = variant ? variant : "";
    auto made = std::make_unique<attn_kernel>();
    made->shared = device->shared;
    ATTN_ASSIGN_OR_RETURN(made->kernel,
                          load_kernel(bundle->shared->bundle, *device->shared->device, query));
    *out_kernel = made.release();
    return {};
  });
}

void attn_kernel_free(attn_kernel_t *kernel) {
  if (!kernel)
    return;
  {
    std::lock_guard lock(kernel->shared->turns);
    kernel->kernel.reset();
  }
  delete kernel;
}

const char *attn_kernel_name(const attn_kernel_t *kernel) {
  return kernel ? kernel->kernel->info().name.c_str() : "";
}
const char *attn_kernel_variant(const attn_kernel_t *kernel) {
  return kernel ? kernel->kernel->info().variant.c_str() : "";
}
uint32_t attn_kernel_qk_dim(const attn_kernel_t *kernel) {
  return kernel ? kernel->kernel->info().qk_dim : 0;
}
uint32_t attn_kernel_v_dim(const attn_kernel_t *kernel) {
  return kernel ? kernel->kernel->info().v_dim : 0;
}

} // extern "C"
