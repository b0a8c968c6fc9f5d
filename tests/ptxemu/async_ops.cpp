// mbarriers, bulk tensor copies, the fences of the asynchronous proxy, setmaxnreg.
#include "tests/ptxemu/handlers.h"

#include <cstdlib>
#include <cstring>

namespace ptxemu {
namespace {

template <class F> void for_lanes(uint32_t lanes, F f) {
  for (int lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      f(lane);
}

// Touching an mbarrier is an access to its word: its initialisation must be ordered
// before it.
void touch(Warp &warp, uint64_t address) {
  uint64_t bits;
  warp.block.shared.read(&bits, address, 8, warp.access());
}

void run_init(Warp &warp, const Instruction &i, uint32_t lanes) {
  for_lanes(lanes, [&](int lane) {
    uint64_t address = warp.shared_address(i.operands[0], lane), zero = 0;
    warp.block.shared.write(&zero, address, 8, warp.access());
    warp.block.barriers.init(address, warp.get(i.operands[1], lane));
  });
}

// mbarrier.arrive[.expect_tx] _, [address][, bytes]
void run_arrive(Warp &warp, const Instruction &i, uint32_t lanes) {
  for_lanes(lanes, [&](int lane) {
    uint64_t address = warp.shared_address(i.operands[1], lane);
    touch(warp, address);
    int64_t bytes = i.operands.size() > 2 ? int64_t(warp.get(i.operands[2], lane)) : 0;
    warp.block.barriers.arrive(address, 1, bytes, warp.clock);
  });
  warp.publish();
}

void run_try_wait(Warp &warp, const Instruction &i, uint32_t lanes) {
  for_lanes(lanes, [&](int lane) {
    uint64_t address = warp.shared_address(i.operands[1], lane);
    touch(warp, address);
    uint32_t parity = warp.get(i.operands[2], lane);
    Barriers &barriers = warp.block.barriers;
    bool passed = barriers.passed(address, parity);
    warp.set(i.operands[0], lane, passed);
    if (passed)
      warp.acquire(barriers.known(address));
    else
      warp.stall([&barriers, address, parity] { return barriers.passed(address, parity); });
  });
}

void run_bulk_copy(Warp &warp, const Instruction &i, uint32_t lanes) {
  for_lanes(lanes, [&](int lane) {
    uint64_t parameter = warp.address(i.operands[1], lane) - kParameterAddress;
    auto map = warp.block.launch.maps.find(parameter);
    if (map == warp.block.launch.maps.end())
      throw Error("its tensor map is no parameter of the kernel");
    std::vector<int32_t> coordinates;
    for (const Operand &operand : i.operands[1].elements)
      coordinates.push_back(static_cast<int32_t>(warp.get(operand, lane)));
    uint64_t barrier = warp.shared_address(i.operands[2], lane);
    touch(warp, barrier);
    warp.block.start_bulk_copy(map->second, warp.shared_address(i.operands[0], lane),
                               std::move(coordinates), barrier, warp.access());
  });
  warp.publish();
}

void run_fence_async(Warp &warp, const Instruction &, uint32_t) {
  warp.block.shared.fence_async(warp.index);
}

void run_nothing(Warp &, const Instruction &, uint32_t) {}

// A warp gives registers back at once; one that wants more waits until they are free.
void run_max_registers(Warp &warp, const Instruction &i, uint32_t) {
  int64_t wanted = i.operands[0].value, more = (wanted - warp.max_registers) * 32;
  if ((more > 0) != bool(i.flags) && more != 0)
    throw Error("changes " + std::to_string(warp.max_registers) + " registers to " +
                std::to_string(wanted));
  Block &block = warp.block;
  if (more > block.free_registers) {
    warp.repeat();
    warp.stall([&block, more] { return more <= block.free_registers; });
    return;
  }
  block.free_registers -= more;
  warp.max_registers = wanted;
}

} // namespace

bool decode_async(Instruction &i) {
  const std::string &op = i.opcode;
  auto is = [&](const char *name, size_t operands) {
    return op == name && i.operands.size() == operands;
  };
  if (is("mbarrier.init.shared::cta.b64", 2))
    i.handler = run_init;
  else if (is("mbarrier.arrive.shared::cta.b64", 2) ||
           is("mbarrier.arrive.expect_tx.shared::cta.b64", 3))
    i.handler = run_arrive;
  else if (is("mbarrier.try_wait.parity.shared::cta.b64", 3))
    i.handler = run_try_wait;
  else if (op.rfind("cp.async.bulk.tensor.", 0) == 0 && i.operands.size() == 3 &&
           op.find("d.shared::cluster.global.tile.mbarrier::complete_tx::bytes") == 22)
    i.handler = run_bulk_copy;
  else if (is("fence.proxy.async.shared::cta", 0))
    i.handler = run_fence_async;
  else if (is("fence.mbarrier_init.release.cluster", 0))
    i.handler = run_nothing;
  else if (is("setmaxnreg.inc.sync.aligned.u32", 1) || is("setmaxnreg.dec.sync.aligned.u32", 1)) {
    i.handler = run_max_registers;
    i.flags = op.find(".inc.") != std::string::npos;
    i.collective = true;
  } else
    return false;
  return true;
}

//===-- Bulk copies ------------------------------------------------------------===//

void Block::start_bulk_copy(const TensorMap &map, uint64_t shared_address,
                            std::vector<int32_t> coordinates, uint64_t mbarrier,
                            const Access &access) {
  if (coordinates.size() != map.dims.size())
    throw Error("a copy with " + std::to_string(coordinates.size()) +
                " coordinates of a tensor of rank " + std::to_string(map.dims.size()));
  uint64_t bytes = map.element_bytes;
  for (uint32_t extent : map.box)
    bytes *= extent;
  if (shared_address % 128)
    throw Error("a bulk copy to " + std::to_string(shared_address) + ", no multiple of 128");
  shared.begin_bulk_copy(shared_address, bytes, access);
  copies.push_back({&map, shared_address, mbarrier, std::move(coordinates), access.clock});
}

// Rows of the box lie one behind the other; what is outside of the tensor is zero.
// The swizzle is a function of the address in shared memory.
void Block::land_bulk_copy(size_t index) {
  BulkCopy copy = std::move(copies[index]);
  copies.erase(copies.begin() + index);
  const TensorMap &map = *copy.map;
  barriers.arrive(copy.mbarrier, 0, 0, copy.clock); // it exists
  VectorClock clock = copy.clock;
  size_t agent = barriers.agent(copy.mbarrier);
  clock.set(agent, barriers.tick(copy.mbarrier));
  uint64_t row_bytes = uint64_t(map.box[0]) * map.element_bytes, rows = 1;
  for (size_t d = 1; d < map.box.size(); ++d)
    rows *= map.box[d];
  std::vector<uint8_t> row(row_bytes);
  for (uint64_t r = 0; r < rows; ++r) {
    uint64_t rest = r, address = map.address;
    bool inside = true;
    for (size_t d = 1; d < map.box.size(); ++d) {
      int64_t at = copy.coordinates[d] + int64_t(rest % map.box[d]);
      rest /= map.box[d];
      inside &= at >= 0 && at < int64_t(map.dims[d]);
      address += at * map.strides[d];
    }
    for (uint64_t e = 0; e < map.box[0]; ++e) {
      int64_t at = copy.coordinates[0] + int64_t(e);
      uint8_t *to = &row[e * map.element_bytes];
      std::memset(to, 0, map.element_bytes);
      if (inside && at >= 0 && at < int64_t(map.dims[0]))
        std::memcpy(to, global.at(address + at * map.element_bytes, map.element_bytes, false),
                    map.element_bytes);
    }
    for (uint64_t chunk = 0; chunk < row_bytes; chunk += 16) {
      uint64_t to = swizzled(copy.shared + r * row_bytes + chunk, map.swizzle_bytes);
      shared.land_copy(&row[chunk], to, 16, {agent, clock});
    }
  }
  barriers.complete_bytes(copy.mbarrier, rows * row_bytes, clock);
}

} // namespace ptxemu
