// XXH64 with seed 0: the checksum of bundles and the identity of images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace attn {

uint64_t checksum64(std::span<const std::byte> bytes);

} // namespace attn
