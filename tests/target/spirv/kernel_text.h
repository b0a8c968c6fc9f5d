// Writes tile kernels as attn-to-tile shapes them: a few choices enter, the
// text of a tile.kernel leaves.
#pragma once

#include <string>

struct KernelText {
  std::string name = "test.f32";
  int qk_dim = 64, v_dim = 64, block_q = 32, block_k = 32;
  std::string type = "f32"; // of q, k, v and o
  bool int8 = false;        // k and v int8 with scales, q quantised in the kernel
  bool lse = true;
  std::string more_bindings; // ", #tile.binding<...>" ...
  std::string params;        // "#tile.param<...>, ..."
  // Bodies of regions. classify defines %any and %all from %q_lo %q_hi %k_lo
  // %k_hi %head %batch; mask defines %admitted from %q_position %k_position
  // %head %batch; score defines %result from these and %s.
  std::string classify = "%any = arith.constant true\n%all = arith.constant true\n";
  std::string mask = "%admitted = arith.constant true\n";
  std::string score;
  std::string sink; // defines %sink: f32 at the top of the kernel
  std::string sort; // a tile.sort_rows

  std::string str() const;
};
