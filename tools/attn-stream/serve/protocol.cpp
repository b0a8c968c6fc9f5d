#include "tools/attn-stream/serve/protocol.h"

#include <boost/json/src.hpp> // header-only: no library to link

namespace json = boost::json;

namespace attn::tool {
namespace {

Result<uint64_t> whole_number(const json::value &value, const char *name) {
  boost::system::error_code error;
  uint64_t number = value.to_number<uint64_t>(error);
  if (error || value.is_double())
    return Status::invalid_input(name, " must be a whole number, at least 0");
  return number;
}

Result<stream::Recache> recache_named(const json::value &value) {
  if (const json::string *name = value.if_string()) {
    if (*name == "full")
      return stream::Recache::full;
    if (*name == "window")
      return stream::Recache::window;
    if (*name == "stale")
      return stream::Recache::stale;
    if (*name == "flush")
      return stream::Recache::flush;
  }
  return Status::invalid_input("recache must be full, window, stale or flush");
}

Status read_parts(const json::value &value, std::vector<stream::WeightedPrompt> &parts) {
  const json::array *list = value.if_array();
  if (!list || list->empty() || list->size() > stream::kMostParts)
    return Status::invalid_input("parts must be a list of 1 to ", stream::kMostParts, " objects");
  parts.clear();
  for (const json::value &entry : *list) {
    const json::object *object = entry.if_object();
    const json::value *text = object ? object->if_contains("text") : nullptr,
                      *weight = object ? object->if_contains("weight") : nullptr;
    const json::string *words = text ? text->if_string() : nullptr;
    if (!words || words->empty() || words->size() > kMostPromptBytes ||
        object->size() != 1u + (weight != nullptr))
      return Status::invalid_input("each of parts must have a text of 1 to ", kMostPromptBytes,
                                   " bytes, and may have a weight");
    stream::WeightedPrompt part{std::string(words->data(), words->size())};
    if (weight) {
      boost::system::error_code error;
      part.weight = weight->to_number<double>(error);
      if (error)
        return Status::invalid_input("weight must be a number from 0 to ", stream::kMostWeight);
    }
    parts.push_back(std::move(part));
  }
  return {};
}

Status read_member(std::string_view key, const json::value &value, Command &command) {
  bool prompt = command.kind == Command::Kind::prompt;
  if (prompt && key == "text") {
    const json::string *text = value.if_string();
    if (!text || text->empty() || text->size() > kMostPromptBytes)
      return Status::invalid_input("text must have 1 to ", kMostPromptBytes, " bytes");
    ATTN_ASSIGN_OR_RETURN(command.parts,
                          stream::parse_prompt(std::string(text->data(), text->size())));
    return {};
  }
  if (prompt && key == "parts")
    return read_parts(value, command.parts);
  if (prompt && key == "recache") {
    ATTN_ASSIGN_OR_RETURN(command.recache, recache_named(value));
    return {};
  }
  if (prompt && key == "frame") {
    ATTN_ASSIGN_OR_RETURN(command.frame, whole_number(value, "frame"));
    return {};
  }
  if (command.kind == Command::Kind::seed && key == "seed") {
    ATTN_ASSIGN_OR_RETURN(command.seed, whole_number(value, "seed"));
    return {};
  }
  return Status::invalid_input("unknown member '", key, "'");
}

json::array numbers(const std::vector<uint64_t> &values) {
  return json::array(values.begin(), values.end());
}

} // namespace

Result<Command> parse_command(std::string_view text) {
  json::parse_options options;
  options.max_depth = 4;
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error, {}, options);
  const json::object *object = error ? nullptr : value.if_object();
  const json::value *type = object ? object->if_contains("type") : nullptr;
  if (!type || !type->is_string())
    return Status::invalid_input("a message must be a JSON object with a type, such as "
                                 "{\"type\": \"prompt\", \"text\": \"...\"}");
  static constexpr std::pair<const char *, Command::Kind> kinds[] = {
      {"prompt", Command::Kind::prompt},
      {"pause", Command::Kind::pause},
      {"resume", Command::Kind::resume},
      {"step", Command::Kind::step},
      {"seed", Command::Kind::seed}};
  Command command;
  bool known = false;
  for (auto [name, kind] : kinds)
    if (type->get_string() == name)
      command.kind = kind, known = true;
  if (!known)
    return Status::invalid_input("unknown type '", std::string_view(type->get_string()),
                                 "'; must be prompt, pause, resume, step or seed");
  for (const json::key_value_pair &member : *object)
    if (member.key() != "type")
      ATTN_RETURN_IF_ERROR(
          read_member({member.key().data(), member.key().size()}, member.value(), command));
  if (command.kind == Command::Kind::prompt && command.parts.empty())
    return Status::invalid_input("a prompt needs a text, or parts");
  if (object->contains("text") && object->contains("parts"))
    return Status::invalid_input("a prompt has a text or parts, not both");
  if (command.kind == Command::Kind::seed && !object->contains("seed"))
    return Status::invalid_input("a seed needs a number");
  return command;
}

std::string state_message(const LiveState &s) {
  json::array pending;
  for (const PendingPrompt &p : s.pending)
    pending.push_back({{"text", p.text}, {"frame", p.frame}});
  return json::serialize(json::object{{"type", "state"},
                                      {"model", s.model},
                                      {"device", s.device},
                                      {"prompt", s.prompt},
                                      {"prompt_frame", s.prompt_frame},
                                      {"frame", s.frame},
                                      {"block", s.block},
                                      {"frames_per_block", s.frames_per_block},
                                      {"seed", s.seed},
                                      {"paused", s.paused},
                                      {"fps", s.fps},
                                      {"loop_fps", s.loop_fps},
                                      {"p50_ms", s.p50_ms},
                                      {"p95_ms", s.p95_ms},
                                      {"block_ms", s.block_ms},
                                      {"recache_ms", s.recache_ms},
                                      {"stall_ms", s.stall_ms},
                                      {"sinks", numbers(s.sinks)},
                                      {"window", numbers(s.window)},
                                      {"pending", std::move(pending)}});
}

std::string error_message(std::string_view message) {
  return json::serialize(json::object{
      {"type", "error"}, {"message", json::string_view(message.data(), message.size())}});
}

} // namespace attn::tool
