// The table of operators: name, flags, type inference, kernel.
#include "runtime/graph/views.h"
#include "runtime/ops/ops.h"
#include <map>
#include <string>

namespace attn::graph {

using namespace attn::ops;

static const OpDef table[] = {
    // Seen otherwise, nothing moved.
    {"Reshape", "", kView, infer_reshape, nullptr},
    {"Squeeze", "", kView, infer_reshape, nullptr},
    {"Unsqueeze", "", kView, infer_reshape, nullptr},
    {"Flatten", "", kView, infer_reshape, nullptr},
    {"Identity", "", kView, infer_reshape, nullptr},
    {"Transpose", "", kView, infer_transpose, nullptr},
    {"Slice", "", kView, infer_slice, nullptr},
    {"Split", "", kView, infer_split, nullptr},
    {"Expand", "", kView, infer_expand, nullptr},
    // Element by element; runs of them become one attn::Elementwise.
    {"Elementwise", "attn", kElementwise | kStrided, infer_elementwise, make_elementwise},
#define ATTN_EW(NAME)                                                                              \
  {NAME, "", kElementwise | kStrided | kF32, infer_elementwise, make_elementwise},
    ATTN_EW("Add") ATTN_EW("Sub") ATTN_EW("Mul") ATTN_EW("Div") ATTN_EW("Pow") ATTN_EW("Min")
        ATTN_EW("Max") ATTN_EW("Neg") ATTN_EW("Abs") ATTN_EW("Sqrt") ATTN_EW("Reciprocal")
            ATTN_EW("Exp") ATTN_EW("Log") ATTN_EW("Sin") ATTN_EW("Cos") ATTN_EW("Tanh")
                ATTN_EW("Sigmoid") ATTN_EW("Relu") ATTN_EW("Gelu") ATTN_EW("Swish") ATTN_EW("Erf")
                    ATTN_EW("Floor") ATTN_EW("Ceil") ATTN_EW("Round") ATTN_EW("Softplus")
                        ATTN_EW("Mod")
#undef ATTN_EW
                            {"Clip", "", kStrided | kF32, infer_clip, make_clip},
    {"Where", "", kStrided, infer_where, make_where},
    {"Cast", "", kStrided, infer_cast, make_cast},
    {"CastLike", "", kStrided, infer_cast, make_cast},
    {"Equal", "", kStrided | kF32, infer_compare, make_compare},
    {"Less", "", kStrided | kF32, infer_compare, make_compare},
    {"LessOrEqual", "", kStrided | kF32, infer_compare, make_compare},
    {"Greater", "", kStrided | kF32, infer_compare, make_compare},
    {"GreaterOrEqual", "", kStrided | kF32, infer_compare, make_compare},
    {"And", "", kStrided, infer_compare, make_compare},
    {"Or", "", kStrided, infer_compare, make_compare},
    {"Not", "", kStrided, infer_not, make_not},
    {"DequantizeLinear", "", 0, infer_dequantise, make_dequantise},
    // Matrix products.
    {"MatMul", "", kPacksWeights | kF32, infer_matmul, make_matmul},
    {"Gemm", "", kPacksWeights | kF32, infer_gemm, make_gemm},
    {"Gemm", "attn", kPacksWeights, infer_fused_gemm, make_fused_gemm},
    {"GemmGroup", "attn", kPacksWeights, infer_gemm_group, make_gemm_group},
    {"Conv", "", kPacksWeights | kF32, infer_conv, make_conv},
    // Rows.
    {"LayerNormalization", "", kStridedRows | kF32, infer_norm, make_norm},
    {"RMSNormalization", "", kStridedRows | kF32, infer_norm, make_norm},
    {"Norm", "attn", kStridedRows, infer_norm, make_norm},
    {"Softmax", "", kStridedRows | kF32, infer_softmax, make_softmax},
    {"ReduceMean", "", kStrided | kF32, infer_reduce, make_reduce},
    {"ReduceSum", "", kStrided | kF32, infer_reduce, make_reduce},
    {"ReduceMax", "", kStrided | kF32, infer_reduce, make_reduce},
    {"ReduceMin", "", kStrided | kF32, infer_reduce, make_reduce},
    // Positions, caches, attention.
    {"RotaryEmbedding", "", kStridedRows | kStridedOut | kF32, infer_rope, make_rope},
    {"RopeCache", "attn", kStridedRows | kWritesRows, infer_rope, make_rope_cache},
    {"TensorScatter", "", kStridedRows | kWritesRows, infer_tensor_scatter, make_tensor_scatter},
    {"QuantisedScatter", "attn", kStridedRows | kWritesRows, infer_quantised_scatter,
     make_quantised_scatter},
    {"Attention", "", kStridedRows | kStridedOut | kF32, infer_attention, make_attention},
    {"Attention", "attn", kStridedRows | kStridedOut, infer_attention, make_attention},
    // Data movement.
    {"Copy", "attn", kStrided, infer_copy, make_copy},
    {"Concat", "", kStrided, infer_concat, make_concat},
    {"Gather", "", 0, infer_gather, make_gather},
    {"MixedGather", "attn", 0, infer_mixed_gather, make_mixed_gather},
    {"Pad", "", kStrided, infer_pad, make_pad},
    {"Shape", "", 0, infer_shape, make_shape},
    {"Size", "", 0, infer_shape, make_shape},
    {"Range", "", 0, infer_range, make_range},
    {"ConstantOfShape", "", 0, infer_constant_of_shape, make_constant_of_shape},
};

const OpDef *find_op(std::string_view domain, std::string_view op) {
  using Key = std::pair<std::string_view, std::string_view>;
  static const std::map<Key, const OpDef *> index = [] {
    std::map<Key, const OpDef *> m;
    for (const OpDef &def : table)
      m[{def.domain, def.op}] = &def;
    return m;
  }();
  auto found = index.find({domain, op});
  return found == index.end() ? nullptr : found->second;
}

} // namespace attn::graph
