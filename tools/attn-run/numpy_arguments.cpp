// .npy files to host arrays and back.
#include "tools/attn-run/numpy_arguments.h"

#include "runtime/base/half.h"
#include "runtime/base/npy.h"

namespace attn {

static std::string describe(const ArrayKind &kind) {
  return concat(element_type_name(kind.type), " with ", kind.axes, " axes");
}

Status read_tensor(const std::string &path, bool may_be_empty, HostTensor &tensor,
                   ArrayKind &kind) {
  ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
  if (array.shape.size() != 4 && array.shape.size() != 3)
    return Status::invalid_input("array has ", array.shape.size(),
                                 " axes; (batch, heads, tokens, head_dim) is needed, or for one "
                                 "batch entry (heads, tokens, head_dim)")
        .at(path);
  if (array.type != ElementType::f32 && array.type != ElementType::f16 &&
      array.type != ElementType::bf16)
    return Status::invalid_input("array is ", element_type_name(array.type),
                                 "; f32, f16 or bf16 (saved as u2) is needed, kernels with int8 "
                                 "keys quantise them")
        .at(path);
  kind = {array.type, array.shape.size()};
  size_t missing = 4 - array.shape.size();
  static constexpr const char *names[] = {"batch entries", "heads", "tokens", "values per token"};
  for (size_t i = 0; i < 4; ++i) {
    tensor.shape[i] = i < missing ? 1 : array.shape[i - missing];
    if (tensor.shape[i] == 0 && !(may_be_empty && i == 2))
      return Status::invalid_input("array has 0 ", names[i], "; at least 1 is needed").at(path);
  }
  tensor.values.resize(static_cast<size_t>(tensor.count()));
  for (size_t i = 0; i < tensor.values.size(); ++i)
    tensor.values[i] = static_cast<float>(array.number(i));
  return {};
}

Status read_tensor_like(const std::string &path, bool may_be_empty, HostTensor &tensor,
                        const ArrayKind &kind, const std::string &like) {
  ArrayKind own;
  ATTN_RETURN_IF_ERROR(read_tensor(path, may_be_empty, tensor, own));
  if (own != kind)
    return Status::invalid_input("array is ", describe(own), ", ", like, " is ", describe(kind),
                                 "; give all of them one type and as many axes")
        .at(path);
  return {};
}

Status read_rows(const std::string &path, std::vector<float> &rows) {
  ATTN_ASSIGN_OR_RETURN(NpyArray array, read_npy(path));
  if ((array.shape.size() != 3 && array.shape.size() != 2) || array.type != ElementType::f32)
    return Status::invalid_input("array has ", array.shape.size(), " axes of ",
                                 element_type_name(array.type),
                                 "; (batch, heads, tokens) in f32 is needed")
        .at(path);
  for (size_t i = 0; i < static_cast<size_t>(array.count()); ++i)
    rows.push_back(static_cast<float>(array.number(i)));
  return {};
}

Status write_tensor(const std::string &path, const HostTensor &tensor, const ArrayKind &kind) {
  ATTN_ASSIGN_OR_RETURN(NpyArray out,
                        make_npy(kind.type, {tensor.shape + (4 - kind.axes), tensor.shape + 4}));
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    float value = tensor.values[i];
    if (kind.type == ElementType::f32)
      static_cast<float *>(out.data.data())[i] = value;
    else
      static_cast<uint16_t *>(out.data.data())[i] =
          kind.type == ElementType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
  }
  return write_npy(path, out);
}

Status write_rows(const std::string &path, const HostResult &result, const ArrayKind &kind) {
  std::span<const int64_t> shape(result.o.shape + (4 - kind.axes), result.o.shape + 3);
  return write_npy(path, ElementType::f32, shape, result.lse.data());
}

} // namespace attn
