// Splits prompts at blanks and looks words up, whatever their case.
#include "runtime/stream/tokenizer.h"

#include "runtime/base/mapped_file.h"
#include "runtime/base/text.h"
#include <cctype>
#include <sstream>

namespace attn::stream {

Result<Tokenizer> Tokenizer::open(const std::string &path, int64_t words) {
  ATTN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  return from_text({reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()},
                   words, path);
}

Result<Tokenizer> Tokenizer::from_text(const std::string &text, int64_t words,
                                       const std::string &place) {
  Tokenizer t;
  t.words_ = words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())))
      line.pop_back();
    if (!line.empty() && !t.ids_.emplace(line, static_cast<int64_t>(t.list_.size())).second)
      return Status::invalid_input("the word '", shown(line), "' is there twice")
          .at(concat(place, ":", t.list_.size() + 1));
    t.list_.push_back(line); // an empty line still counts
  }
  if (t.ids_.empty())
    return Status::invalid_input("the vocabulary has no words").at(place);
  return t;
}

Result<std::vector<int64_t>> Tokenizer::encode(const std::string &prompt) const {
  std::vector<int64_t> ids;
  std::istringstream words(prompt);
  for (std::string word; words >> word;) {
    auto found = ids_.find(word);
    if (found == ids_.end()) {
      for (char &c : word)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      found = ids_.find(word);
    }
    if (found == ids_.end()) {
      std::vector<std::string> known;
      for (const std::string &w : list_)
        if (!w.empty())
          known.push_back(shown(w, 24));
      return Status::invalid_input("the prompt '", shown(prompt), "' has the word '", shown(word),
                                   "', which the model does not know; it knows ",
                                   some_of(known, 24));
    }
    ids.push_back(found->second);
  }
  if (static_cast<int64_t>(ids.size()) != words_)
    return Status::invalid_input("the prompt '", shown(prompt), "' has ", ids.size(),
                                 " words; this model takes ", words_);
  return ids;
}

std::string Tokenizer::decode(const std::vector<int64_t> &ids) const {
  std::string prompt;
  for (int64_t id : ids) {
    if (id < 0 || id >= size())
      continue;
    if (!prompt.empty())
      prompt += ' ';
    prompt += list_[static_cast<size_t>(id)];
  }
  return prompt;
}

} // namespace attn::stream
