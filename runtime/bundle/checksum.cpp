// Bytes enter, their XXH64 (as its specification defines it) leaves.
#include "runtime/bundle/checksum.h"

#include <bit>
#include <cstring>

namespace attn {

static_assert(std::endian::native == std::endian::little);

static constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87u, kPrime2 = 0xC2B2AE3D27D4EB4Fu,
                          kPrime3 = 0x165667B19E3779F9u, kPrime4 = 0x85EBCA77C2B2AE63u,
                          kPrime5 = 0x27D4EB2F165667C5u;

template <typename T> static T read(const std::byte *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

static uint64_t round(uint64_t sum, uint64_t lane) {
  return std::rotl(sum + lane * kPrime2, 31) * kPrime1;
}

uint64_t checksum64(std::span<const std::byte> bytes) {
  const std::byte *at = bytes.data(), *end = at + bytes.size();
  uint64_t hash;
  if (bytes.size() >= 32) {
    uint64_t sums[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
    for (; end - at >= 32; at += 32)
      for (int i = 0; i < 4; ++i)
        sums[i] = round(sums[i], read<uint64_t>(at + 8 * i));
    hash = std::rotl(sums[0], 1) + std::rotl(sums[1], 7) + std::rotl(sums[2], 12) +
           std::rotl(sums[3], 18);
    for (uint64_t sum : sums)
      hash = (hash ^ round(0, sum)) * kPrime1 + kPrime4;
  } else {
    hash = kPrime5;
  }
  hash += bytes.size();
  for (; end - at >= 8; at += 8)
    hash = std::rotl(hash ^ round(0, read<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  if (end - at >= 4) {
    hash = std::rotl(hash ^ read<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at != end; ++at)
    hash = std::rotl(hash ^ static_cast<uint64_t>(*at) * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

} // namespace attn
