// Turns a scheduled tile.kernel (see HopperSchedule) into an nvvm kernel function
// for sm_90a: tensor maps, mbarriers, warpgroup products.
#pragma once

#include "compiler/target/ptx/HopperBuilder.h"
#include "compiler/target/ptx/KernelLowering.h"

#include "llvm/ADT/MapVector.h"

namespace mlir::attn {

/// The warps of each role; a consumer is a group of four.
constexpr int64_t kProducerWarps = 4, kConsumerWarps = 8, kConsumerThreads = kConsumerWarps * 32;
/// Barriers among consumers: one for all, then one for each one's turn.
constexpr int64_t kAllConsumers = 1, kFirstTurn = 2;

/// A ring in shared memory. Stage i of it lies at offset + i * stageBytes and has
/// two mbarriers of 8 bytes, `full` and `empty`, and where blocks of keys are
/// announced over it, 16 bytes that say which keys.
struct HopperRing {
  tile::RingType type;
  int64_t offset = 0, stageBytes = 0;
  int64_t full = 0, empty = 0; ///< of stage 0
  int64_t notes = 0;           ///< of stage 0; 0: none
  bool reused = false;         ///< stages are filled more than once

  int64_t stages() const { return type.getStages(); }
  int64_t rows() const { return type.getTile().getShape()[0]; }
  int64_t span() const { return type.getLayout().getBytes(); }
  int64_t panelBytes() const { return rows() * span(); }
  int64_t panels() const { return stageBytes / panelBytes(); }
};

/// One binding that bulk copies read: a tensor map parameter of the kernel.
struct HopperMap {
  int64_t binding = 0;
  int64_t boxRows = 0, boxBytes = 0; ///< also the swizzle's width
};

/// What the kernel's record says about a scheduled kernel.
struct HopperLayout {
  llvm::MapVector<Value, HopperRing> rings;
  SmallVector<HopperMap> maps; ///< in the order of the parameters
  int64_t threads = 0, sharedBytes = 0;

  static HopperLayout of(tile::KernelOp kernel);
};

/// The role regions of a scheduled kernel; null if it is not scheduled.
tile::WarpSpecializeOp rolesOf(tile::KernelOp kernel);

class HopperLowering : public PtxLowering {
public:
  HopperLowering(tile::KernelOp kernel, const HopperLayout &layout);

protected:
  void addParameters(SmallVectorImpl<Type> &types) override;
  void begin(PtxBuilder &p, LLVM::LLVMFuncOp function) override;
  LogicalResult lowerOp(PtxBuilder &p, Operation &op) override;

private:
  static PtxSchedule scheduleOf(tile::KernelOp kernel, const HopperLayout &layout);

  // HopperLowering.cpp: roles, rings, the walk on both sides.
  void lowerRoles(PtxBuilder &p, tile::WarpSpecializeOp op);
  void lowerProduceKeys(PtxBuilder &p, tile::ProduceKeysOp op);
  void lowerConsumeKeys(PtxBuilder &p, tile::ConsumeKeysOp op);
  SmallVector<Value> lowerBody(PtxBuilder &p, Block &body, bool full, bool ofBlock, Value stage,
                               ValueRange state);
  SmallVector<Value> flatten(ValueRange values);
  size_t unflatten(ValueRange values, ArrayRef<Value> flat);
  SmallVector<Value> positions();
  void setPositions(ArrayRef<Value> values);

  // HopperProducts.cpp: copies, products, what is between.
  void copyPanels(PtxBuilder &p, Value slot, int64_t binding, Value row, Value head);
  void startQK(PtxBuilder &p, tile::StartQKOp op);
  void startPV(PtxBuilder &p, tile::StartPVOp op);
  void lowerWait(PtxBuilder &p, tile::WaitOp op);
  void lowerNarrow(PtxBuilder &p, tile::NarrowOp op);
  void lowerRescale(PtxBuilder &p, tile::RescaleOp op);
  void clearTail(PtxBuilder &p, tile::ClearTailOp op);

  /// A stage of a ring that a role holds.
  struct Held {
    const HopperRing *ring = nullptr;
    Value stage; ///< i32
  };
  Value addressOf(PtxBuilder &p, int64_t offset) { return p.add(sharedInt, offset); }
  Value addressOf(PtxBuilder &p, const Held &held, int64_t base, int64_t step) {
    return held.ring->stages() == 1 ? addressOf(p, base)
                                    : p.add(addressOf(p, base), p.mul(held.stage, step));
  }
  Value fullBarrier(PtxBuilder &p, const Held &h) { return addressOf(p, h, h.ring->full, 8); }
  Value emptyBarrier(PtxBuilder &p, const Held &h) { return addressOf(p, h, h.ring->empty, 8); }
  /// The stage at the ring's position and the parity of its visit; moves on.
  std::pair<Held, Value> advance(PtxBuilder &p, Value ring);
  Held acquire(PtxBuilder &p, Value ring);
  Held receive(PtxBuilder &p, Value ring);
  Value descriptor(PtxBuilder &p, const Held &held, uint64_t constant);
  Value turnBarrier(PtxBuilder &p, bool own);

  const HopperLayout &layout;
  PtxSchedule schedule;
  SmallVector<Value> maps;
  Value sharedInt, kvHead, isFirstLane, consumer; // consumer: 0 or 1
  DenseMap<Value, Value> visits;                  ///< per ring: stages visited so far
  DenseMap<Value, Held> slots;
  SmallVector<Value> inFlight; ///< products, in the order they were started
  KeyBlock produced;
};

} // namespace mlir::attn
