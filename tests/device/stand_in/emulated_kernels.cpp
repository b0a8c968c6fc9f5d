// A stand-in for NVIDIA's driver that runs PTX in the emulator, so that everything from
// the spec to the frames of a stream can be run for the cuda device without a GPU. It says
// that it is an sm_90; cubins it cannot read. A fault that the emulator finds is what
// waiting for the stream returns, as an error of the kernel.
#include "driver.h"

#include "tests/ptxemu/machine.h"
#include "tests/ptxemu/module.h"

#include <algorithm>
#include <cstring>
#include <memory>

using namespace stand_in;

const char *const stand_in::device_name = "emulator of PTX";
int stand_in::compute_capability() { return 90; }

namespace {

struct Function {
  const ptxemu::Module *module;
  std::string name;
};

// A map as launches find it, in the 128 bytes that are opaque to everyone else.
struct Map {
  unsigned char *address;
  uint64_t extents[4], strides[3];
  uint32_t box[4], element, swizzle_bytes;
};
static_assert(sizeof(Map) <= 128);

std::vector<std::unique_ptr<ptxemu::Module>> modules;
std::vector<std::unique_ptr<Function>> functions;
uint64_t launches = 0;

// Bytes of an element by the driver's number of its type.
uint32_t element_of(int type) { return type == 0 ? 1 : type == 6 || type == 9 ? 2 : 4; }

// Kernels see each allocation that they are given a pointer into, and nothing else.
class Memory {
public:
  uint64_t address(char *pointer) {
    auto found = driver.find(reinterpret_cast<uintptr_t>(pointer), 0);
    if (found == driver.memory.end())
      throw ptxemu::Error("a launch with a pointer that is no device memory");
    auto [entry, is_new] = bases.try_emplace(found->first);
    if (is_new)
      entry->second = global.add(found->first, found->second, /*writable=*/true);
    return entry->second + (pointer - found->first);
  }
  ptxemu::GlobalMemory global;

private:
  std::map<char *, uint64_t> bases;
};

void run(const Function &function, const ptxemu::Launch &shape, const std::vector<char *> &pointers,
         const std::vector<Map> &maps) {
  Memory memory;
  ptxemu::Launch launch = shape;
  for (char *pointer : pointers)
    launch.params.push_back(memory.address(pointer));
  for (const Map &map : maps) {
    ptxemu::TensorMap &seen = launch.maps[launch.params.size()];
    seen.address = memory.address(reinterpret_cast<char *>(map.address));
    seen.element_bytes = map.element;
    seen.swizzle_bytes = map.swizzle_bytes;
    seen.dims.assign(map.extents, map.extents + 4);
    seen.strides.assign(1, map.element);
    seen.strides.insert(seen.strides.end(), map.strides, map.strides + 3);
    seen.box.assign(map.box, map.box + 4);
    launch.params.push_back(0);
  }
  ptxemu::launch(*function.module, function.name, launch, memory.global);
}

} // namespace

extern "C" {

int cuModuleLoadDataEx(void **module, const void *image, unsigned options, int *keys,
                       void **values) {
  const char *text = static_cast<const char *>(image);
  std::string complaint;
  if (std::strncmp(text,
                   "\x7f"
                   "ELF",
                   4) == 0)
    return kInvalidImage;
  try {
    modules.push_back(std::make_unique<ptxemu::Module>(ptxemu::parse_module(text)));
  } catch (const ptxemu::Error &error) {
    for (unsigned i = 0; i < options; ++i)
      if (keys[i] == 5)
        std::strncpy(static_cast<char *>(values[i]), error.what(), 4000);
    return kInvalidPtx;
  }
  ++driver.modules;
  return *module = modules.back().get(), kOk;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  auto *from = static_cast<const ptxemu::Module *>(module);
  if (!from->kernels.count(name))
    return kNotFound;
  functions.push_back(std::make_unique<Function>(Function{from, name}));
  return *function = functions.back().get(), kOk;
}

int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *address,
                           const uint64_t *extents, const uint64_t *strides, const unsigned *box,
                           const unsigned *steps, int, int swizzle, int, int) {
  if (!is_valid_map(map, rank, address, extents, strides, box, steps, swizzle, element_of(type)))
    return kInvalidValue;
  Map made{static_cast<unsigned char *>(address), {}, {}, {}, element_of(type), 16u << swizzle};
  std::copy(extents, extents + 4, made.extents);
  std::copy(strides, strides + 3, made.strides);
  std::copy(box, box + 4, made.box);
  std::memset(map, 0, 128);
  std::memcpy(map, &made, sizeof made);
  return kOk;
}

int cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void *, void **parameters, void **) {
  const Function &function = *static_cast<const Function *>(handle);
  const ptxemu::Kernel &kernel = function.module->kernels.at(function.name);
  if (block_x * block_y * block_z != kernel.threads)
    return kInvalidValue;
  ptxemu::Launch shape;
  shape.grid[0] = grid_x, shape.grid[1] = grid_y, shape.grid[2] = grid_z;
  shape.shared_bytes = shared_bytes;
  shape.seed = ++launches; // warps and copies in another order each time
  // Parameters are read during the call: pointers, then maps.
  std::vector<char *> pointers;
  std::vector<Map> maps;
  for (int i = 0; i < kernel.params; ++i)
    if (kernel.is_map[i])
      std::memcpy(&maps.emplace_back(), parameters[i], sizeof(Map));
    else
      pointers.push_back(*static_cast<char **>(parameters[i]));
  driver.queue.push_back([=, &function] {
    try {
      run(function, shape, pointers, maps);
    } catch (const ptxemu::Error &error) {
      driver.fault = function.name + ": " + error.what();
    }
  });
  return kOk;
}

} // extern "C"
