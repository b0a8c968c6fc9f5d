// Reads PTX text line by line, leaves kernels of decoded instructions.
#include "tests/ptxemu/module.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>

namespace ptxemu {
namespace {

std::string trim(const std::string &s) {
  size_t a = s.find_first_not_of(" \t\r\n"), b = s.find_last_not_of(" \t\r\n");
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

bool starts_with(const std::string &s, const char *prefix) { return s.rfind(prefix, 0) == 0; }

// Splits at commas outside of brackets and braces.
std::vector<std::string> split_operands(const std::string &s) {
  std::vector<std::string> parts;
  std::string current;
  int depth = 0;
  for (char c : s) {
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c == ',' && depth == 0) {
      parts.push_back(trim(current));
      current.clear();
    } else {
      current += c;
    }
  }
  if (!trim(current).empty())
    parts.push_back(trim(current));
  return parts;
}

class Parser {
public:
  explicit Parser(const std::string &text) : stream(text) {}

  Module parse() {
    std::string raw;
    while (std::getline(stream, raw)) {
      ++line;
      std::string s = raw.substr(0, raw.find("//"));
      s = trim(s);
      if (!s.empty())
        parse_line(s);
    }
    if (in_kernel)
      fail("text ends within a kernel");
    return std::move(module);
  }

private:
  [[noreturn]] void fail(const std::string &message) {
    throw Error("ptx line " + std::to_string(line) + ": " + message);
  }

  void parse_line(std::string s) {
    if (!in_kernel) {
      parse_directive(s);
      return;
    }
    if (s == "{" && !in_body) {
      in_body = true;
      return;
    }
    if (!in_body) { // parameters and .reqntid
      if (starts_with(s, ".param")) {
        ++kernel.params;
        kernel.is_map.push_back(s.find("[128]") != std::string::npos);
      }
      else if (starts_with(s, ".reqntid"))
        kernel.threads = std::atoi(s.substr(8).c_str());
      return;
    }
    if (s == "{" && statement.empty()) {
      scopes.emplace_back();
      return;
    }
    if (s == "}" && statement.empty()) {
      if (scopes.empty())
        finish_kernel();
      else
        close_scope();
      return;
    }
    if (starts_with(s, ".reg") && !scopes.empty()) {
      declare(s);
      return;
    }
    if (starts_with(s, ".reg") || starts_with(s, ".pragma") || starts_with(s, ".loc"))
      return;
    if (s[0] == '.')
      fail("unknown directive '" + s + "'");
    if (statement.empty() && s.back() == ':') {
      std::string name = s.substr(0, s.size() - 1);
      (scopes.empty() ? labels : scopes.back().labels)[name] = kernel.code.size();
      return;
    }
    statement += statement.empty() ? s : " " + s; // long ones span several lines
    if (s.back() == ';')
      parse_instruction(std::exchange(statement, ""));
  }

  void parse_directive(const std::string &s) {
    if (starts_with(s, ".version") || starts_with(s, ".target") || starts_with(s, ".address_size"))
      return;
    if (starts_with(s, ".extern .shared")) { // dynamic shared memory begins at address 0
      size_t open = s.find('['), begin = s.rfind(' ', open) + 1;
      symbols[s.substr(begin, open - begin)] = 0;
      return;
    }
    size_t entry = s.find(".entry ");
    if (entry == std::string::npos)
      fail("unknown directive '" + s + "'");
    kernel = Kernel();
    kernel.name = s.substr(entry + 7, s.find('(') - entry - 7);
    registers.clear();
    labels.clear();
    branches.clear();
    in_kernel = true;
    in_body = false;
  }

  // Registers and labels of a block in braces are its own.
  struct Scope {
    std::map<std::string, int> registers;
    std::map<std::string, uint64_t> labels;
    std::vector<std::pair<size_t, std::string>> branches;
  };

  // .reg .b64 da, db;
  void declare(const std::string &s) {
    size_t names = s.find(' ', s.find('.', 4));
    for (const std::string &name : split_operands(s.substr(names, s.size() - 1 - names)))
      scopes.back().registers[name] = register_of(name + "@" + std::to_string(line));
  }

  void close_scope() {
    Scope scope = std::move(scopes.back());
    scopes.pop_back();
    for (auto &[index, label] : scope.branches)
      if (auto found = scope.labels.find(label); found != scope.labels.end())
        kernel.code[index].operands[0].value = found->second;
      else
        (scopes.empty() ? branches : scopes.back().branches).emplace_back(index, label);
  }

  void finish_kernel() {
    for (auto [index, label] : branches) {
      auto found = labels.find(label);
      if (found == labels.end())
        throw Error("ptx line " + std::to_string(kernel.code[index].line) + ": no label " + label);
      kernel.code[index].operands[0].value = found->second;
    }
    kernel.registers = registers.size();
    module.kernels[kernel.name] = std::move(kernel);
    in_kernel = in_body = false;
  }

  int register_of(const std::string &name) {
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
      if (auto found = scope->registers.find(name); found != scope->registers.end())
        return found->second;
    return registers.emplace(name, registers.size()).first->second;
  }

  void parse_instruction(std::string s) {
    s.pop_back();
    Instruction instruction;
    instruction.line = line;
    if (s[0] == '@') {
      instruction.guard_negated = s[1] == '!';
      size_t end = s.find_first_of(" \t");
      instruction.guard =
          register_of(s.substr(1 + instruction.guard_negated, end - 1 - instruction.guard_negated));
      s = trim(s.substr(end));
    }
    size_t end = s.find_first_of(" \t");
    instruction.opcode = s.substr(0, end);
    if (end != std::string::npos)
      for (const std::string &part : split_operands(s.substr(end)))
        instruction.operands.push_back(parse_operand(part, instruction.opcode));
    if (starts_with(instruction.opcode, "bra"))
      (scopes.empty() ? branches : scopes.back().branches)
          .emplace_back(kernel.code.size(), trim(s.substr(end)));
    decode(instruction);
    kernel.code.push_back(std::move(instruction));
  }

  Operand parse_operand(const std::string &s, const std::string &opcode) {
    Operand operand;
    if (starts_with(opcode, "bra")) {
      operand.kind = OperandKind::label;
    } else if (s[0] == '{') {
      operand.kind = OperandKind::vector;
      for (const std::string &part : split_operands(s.substr(1, s.size() - 2)))
        operand.elements.push_back(parse_operand(part, opcode));
    } else if (s[0] == '[') {
      parse_address(s.substr(1, s.size() - 2), operand);
    } else if (s[0] == '%' || is_local(s)) {
      parse_register(s, operand);
    } else if (s == "_") {
      operand.kind = OperandKind::none;
    } else if (auto symbol = symbols.find(s); symbol != symbols.end()) {
      operand.kind = OperandKind::immediate;
      operand.value = symbol->second;
    } else if (size_t at = s.rfind("_param_"); at != std::string::npos) {
      operand.kind = OperandKind::immediate;
      operand.value = kParameterAddress + std::atoi(s.c_str() + at + 7);
    } else {
      operand.kind = OperandKind::immediate;
      operand.value = parse_number(s);
    }
    return operand;
  }

  bool is_local(const std::string &name) const {
    return std::any_of(scopes.begin(), scopes.end(),
                       [&](const Scope &scope) { return scope.registers.count(name); });
  }

  void parse_register(const std::string &s, Operand &operand) {
    static const std::map<std::string, Special> specials = {
        {"%tid.x", Special::tid_x},       {"%ctaid.x", Special::ctaid_x},
        {"%ctaid.y", Special::ctaid_y},   {"%ctaid.z", Special::ctaid_z},
        {"%ntid.x", Special::ntid_x},     {"%nctaid.x", Special::nctaid_x},
        {"%nctaid.y", Special::nctaid_y}, {"%nctaid.z", Special::nctaid_z}};
    if (auto special = specials.find(s); special != specials.end()) {
      operand.kind = OperandKind::special;
      operand.value = static_cast<uint64_t>(special->second);
      return;
    }
    operand.kind = OperandKind::reg;
    operand.reg = register_of(s);
  }

  // A register, symbol, number or parameter, plus an offset.
  void parse_address(std::string s, Operand &operand) {
    operand.kind = OperandKind::address;
    if (std::vector<std::string> parts = split_operands(s); parts.size() == 2) { // [map, {x, y}]
      operand.elements = parse_operand(parts[1], "").elements;
      s = parts[0];
    }
    size_t plus = s.find('+');
    std::string base = trim(s.substr(0, plus));
    if (plus != std::string::npos)
      operand.value = parse_number(trim(s.substr(plus + 1)));
    if (base[0] == '%')
      operand.reg = register_of(base);
    else if (auto symbol = symbols.find(base); symbol != symbols.end())
      operand.value += symbol->second;
    else if (size_t at = base.rfind("_param_"); at != std::string::npos)
      operand.value += 8 * std::atoi(base.c_str() + at + 7); // parameters are 8 bytes each
    else
      operand.value += parse_number(base);
  }

  uint64_t parse_number(const std::string &s) {
    if (starts_with(s, "0f") || starts_with(s, "0d"))
      return std::strtoull(s.c_str() + 2, nullptr, 16);
    char *end = nullptr;
    uint64_t value = s[0] == '-' ? static_cast<uint64_t>(std::strtoll(s.c_str(), &end, 0))
                                 : std::strtoull(s.c_str(), &end, 0);
    if (*end && std::string(end) != "U")
      fail("operand '" + s + "' is no register, number or symbol");
    return value;
  }

  std::istringstream stream;
  int line = 0;
  std::string statement; // begun on an earlier line
  bool in_kernel = false, in_body = false;
  Module module;
  Kernel kernel;
  std::map<std::string, int> registers;
  std::vector<Scope> scopes;
  std::map<std::string, uint64_t> labels, symbols;
  std::vector<std::pair<size_t, std::string>> branches;
};

} // namespace

Module parse_module(const std::string &text) { return Parser(text).parse(); }

} // namespace ptxemu
