// Turns ONNX wire bytes into the plain structs of model.h, checking every
// count, size and name on the way.
#include "runtime/onnx/load_model.h"

#include "runtime/base/mapped_file.h"
#include "runtime/onnx/load_tensor.h"
#include "runtime/onnx/wire_reader.h"
#include <set>

namespace attn::onnx {

std::string Node::label() const {
  if (!name.empty())
    return "node '" + name + "' (" + op + ")";
  return "node (" + op + ") that makes '" + (outputs.empty() ? "" : outputs[0]) + "'";
}

const Attribute *Node::find(std::string_view attribute) const {
  for (const Attribute &a : attributes)
    if (a.name == attribute)
      return &a;
  return nullptr;
}

namespace {

class Loader {
public:
  Loader(Model &model, TensorLoader &tensors) : model_(model), tensors_(tensors) {}

  Status load(Bytes bytes) {
    WireReader reader(bytes);
    Bytes graph;
    bool has_graph = false;
    while (reader.next()) {
      switch (reader.field()) {
      case 1:
        model_.ir_version = reader.as_int64();
        break;
      case 2:
        model_.producer = reader.as_text();
        break;
      case 7:
        graph = reader.as_bytes();
        has_graph = true;
        break;
      case 8:
        read_pair(reader.as_message(), reader, [&](std::string key, std::string, int64_t number) {
          model_.opsets[key == "ai.onnx" ? "" : key] = number;
        });
        break;
      case 14:
        read_pair(reader.as_message(), reader,
                  [&](std::string key, std::string text, int64_t) { model_.metadata[key] = text; });
        break;
      case 25:
        return Status::invalid_input("the model defines functions of its own, which are not read: "
                                     "export it with them inlined");
      }
    }
    ATTN_RETURN_IF_ERROR(reader.status());
    if (!has_graph)
      return Status::invalid_input("this is no ONNX model: it has no graph");
    ATTN_RETURN_IF_ERROR(check_opsets());
    ATTN_RETURN_IF_ERROR(load_graph(graph, bytes.data()));
    return check_names();
  }

private:
  template <typename Add> void read_pair(WireReader pair, WireReader &outer, Add &&add) {
    std::string key, text;
    int64_t number = 0;
    while (pair.next()) {
      if (pair.field() == 1)
        key = pair.as_text();
      else if (pair.field() == 2 && pair.type() == WireType::varint)
        number = pair.as_int64();
      else if (pair.field() == 2)
        text = pair.as_text();
    }
    outer.adopt_failure(pair);
    add(key, text, number);
  }

  Status check_opsets() const {
    auto found = model_.opsets.find("");
    if (found == model_.opsets.end())
      return Status::invalid_input("the model imports no version of the standard operators");
    if (found->second < kMinOpset || found->second > kMaxOpset)
      return Status::invalid_input("the model uses opset ", found->second, "; this runtime reads ",
                                   kMinOpset, " to ", kMaxOpset,
                                   ": export it again, or convert it with onnx.version_converter");
    return {};
  }

  Status load_graph(Bytes bytes, const uint8_t *base) {
    WireReader reader(bytes, base);
    while (reader.next()) {
      switch (reader.field()) {
      case 1: {
        Node node;
        ATTN_RETURN_IF_ERROR(load_node(reader.as_message(), reader, node));
        model_.nodes.push_back(std::move(node));
        break;
      }
      case 2:
        model_.graph_name = reader.as_text();
        break;
      case 5: {
        Tensor tensor;
        ATTN_RETURN_IF_ERROR(tensors_.load(reader.as_message(), tensor));
        model_.initializers.push_back(std::move(tensor));
        break;
      }
      case 11:
      case 12: {
        ValueInfo info;
        ATTN_RETURN_IF_ERROR(load_value_info(reader.as_message(), info));
        (reader.field() == 11 ? model_.inputs : model_.outputs).push_back(std::move(info));
        break;
      }
      case 15:
        return Status::invalid_input("sparse initializers are not read: export dense ones");
      }
      if (!reader.ok())
        break;
    }
    return reader.status();
  }

  Status load_node(WireReader reader, WireReader &outer, Node &node) {
    while (reader.next()) {
      switch (reader.field()) {
      case 1:
        node.inputs.emplace_back(reader.as_text());
        break;
      case 2:
        node.outputs.emplace_back(reader.as_text());
        break;
      case 3:
        node.name = reader.as_text();
        break;
      case 4:
        node.op = reader.as_text();
        break;
      case 5: {
        Attribute attribute;
        Status status = load_attribute(reader.as_message(), attribute);
        if (!status.ok())
          return status.at(node.label());
        node.attributes.push_back(std::move(attribute));
        break;
      }
      case 7:
        node.domain = reader.as_text();
        if (node.domain == "ai.onnx")
          node.domain.clear();
        break;
      }
    }
    outer.adopt_failure(reader);
    if (reader.ok() && node.op.empty())
      return Status::invalid_input("a node has no operator").at(node.label());
    return reader.status();
  }

  Status load_attribute(WireReader reader, Attribute &a) {
    using Kind = Attribute::Kind;
    int64_t declared = 0;
    while (reader.next()) {
      switch (reader.field()) {
      case 1:
        a.name = reader.as_text();
        break;
      case 2:
        a.number = reader.as_float();
        a.kind = Kind::number;
        break;
      case 3:
        a.integer = reader.as_int64();
        a.kind = Kind::integer;
        break;
      case 4:
        a.text = reader.as_text();
        a.kind = Kind::text;
        break;
      case 5:
        ATTN_RETURN_IF_ERROR(tensors_.load(reader.as_message(), a.tensor));
        a.kind = Kind::tensor;
        break;
      case 6:
      case 10:
      case 11:
        a.kind = Kind::other;
        break;
      case 7:
        reader.each_float([&](float v) { a.numbers.push_back(v); });
        a.kind = Kind::numbers;
        break;
      case 8:
        reader.each_int64([&](int64_t v) { a.integers.push_back(v); });
        a.kind = Kind::integers;
        break;
      case 9:
        a.texts.emplace_back(reader.as_text());
        a.kind = Kind::texts;
        break;
      case 20:
        declared = reader.as_int64();
        break;
      }
    }
    // proto3 leaves out a zero, an empty text and an empty list: the declared type decides.
    static constexpr Kind kinds[] = {Kind::none,    Kind::number,   Kind::integer,
                                     Kind::text,    Kind::tensor,   Kind::other,
                                     Kind::numbers, Kind::integers, Kind::texts};
    if (a.kind == Kind::none && declared > 0 && declared < 9)
      a.kind = kinds[declared];
    return reader.status();
  }

  Status load_value_info(WireReader reader, ValueInfo &info) {
    while (reader.next()) {
      if (reader.field() == 1) {
        info.name = reader.as_text();
      } else if (reader.field() == 2) {
        WireReader type = reader.as_message();
        while (type.next()) {
          if (type.field() != 1)
            return Status::invalid_input(
                "'", info.name, "' is no tensor (sequences, maps and optionals are not read)");
          ATTN_RETURN_IF_ERROR(load_tensor_type(type.as_message(), info));
        }
        reader.adopt_failure(type);
      }
    }
    return reader.status();
  }

  Status load_tensor_type(WireReader tensor, ValueInfo &info) {
    while (tensor.next()) {
      if (tensor.field() == 1) {
        info.type = static_cast<DataType>(tensor.as_int32());
      } else if (tensor.field() == 2) {
        info.has_shape = true;
        WireReader shape = tensor.as_message();
        while (shape.next()) {
          if (shape.field() != 1)
            continue;
          WireReader dim = shape.as_message();
          int64_t size = -1;
          std::string symbol;
          while (dim.next()) {
            if (dim.field() == 1)
              size = dim.as_int64();
            else if (dim.field() == 2)
              symbol = dim.as_text();
          }
          shape.adopt_failure(dim);
          if (size < -1)
            return Status::invalid_input("'", info.name, "' has a dimension of ", size);
          info.dims.push_back(size);
          info.symbols.push_back(symbol);
        }
        tensor.adopt_failure(shape);
      }
    }
    return tensor.status();
  }

  // Every name is made once, and made before it is used.
  Status check_names() {
    std::set<std::string_view> made;
    for (const Tensor &t : model_.initializers)
      if (!made.insert(t.name).second)
        return Status::invalid_input("initializer '", t.name, "' exists twice");
    // Before IR 4 every initializer was listed among the inputs as well.
    std::erase_if(model_.inputs, [&](const ValueInfo &v) { return made.count(v.name) != 0; });
    for (const ValueInfo &v : model_.inputs)
      if (!made.insert(v.name).second)
        return Status::invalid_input("graph input '", v.name, "' exists twice");
    for (const Node &node : model_.nodes) {
      for (const std::string &in : node.inputs)
        if (!in.empty() && !made.count(in))
          return Status::invalid_input("reads '", in,
                                       "', which nothing before it makes: the graph is not in "
                                       "topological order, or the name is wrong")
              .at(node.label());
      for (const std::string &out : node.outputs)
        if (!out.empty() && !made.insert(out).second)
          return Status::invalid_input("makes '", out, "', which already exists").at(node.label());
    }
    for (const ValueInfo &v : model_.outputs)
      if (!made.count(v.name))
        return Status::invalid_input("graph output '", v.name, "' is made by no node");
    return {};
  }

  Model &model_;
  TensorLoader &tensors_;
};

Status parse_into(Model &model, std::span<const uint8_t> bytes, const std::string &directory) {
  TensorLoader tensors(directory);
  Status status = Loader(model, tensors).load(bytes);
  model.mapped.insert(model.mapped.end(), tensors.files().begin(), tensors.files().end());
  model.mapped_bytes = tensors.mapped_bytes();
  model.copied_bytes = tensors.copied_bytes();
  return status;
}

} // namespace

Result<Model> parse_model(std::span<const uint8_t> bytes, const std::string &directory) {
  Model model;
  ATTN_RETURN_IF_ERROR(parse_into(model, bytes, directory));
  return model;
}

Result<Model> load_model(const std::string &path) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  auto kept = std::make_shared<MappedFile>(std::move(file));
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Model model;
  model.mapped.push_back(kept);
  Status status = parse_into(model, as_wire_bytes(kept->bytes()), directory);
  if (!status.ok())
    return status.at(path);
  return model;
}

} // namespace attn::onnx
