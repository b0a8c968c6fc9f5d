// Labels for the axes of a picture: frames and spaces where there are some,
// round positions otherwise.
#pragma once

#include "compiler/explain/Picture.h"
#include "tools/attnc/SpecCall.h"

namespace attn::tools {

std::vector<mlir::attn::PictureTick> pictureTicks(const spec::AttentionSpec &attention,
                                                  const SpecCall &call, spec::Side side);

} // namespace attn::tools
