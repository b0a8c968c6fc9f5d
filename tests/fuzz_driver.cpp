// Runs a fuzz target on its seeds, on given files, and on mutations of both:
//   driver ROUNDS [FILE...]
// Equal arguments do the same; a failing input lies in fuzz-failure.bin.
#include "tests/fuzz_target.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

namespace {

constexpr size_t max_size = 1 << 16;

class Mutator {
public:
  explicit Mutator(const std::vector<std::string> &corpus) : corpus_(corpus) {}

  std::string next() {
    std::string text = pick();
    for (size_t edits = 1 + below(5); edits > 0 && !text.empty(); --edits)
      edit(text);
    text.resize(std::min(text.size(), max_size));
    return text;
  }

private:
  size_t below(size_t n) { return n ? static_cast<size_t>(random_() % n) : 0; }
  const std::string &pick() { return corpus_[below(corpus_.size())]; }

  void edit(std::string &text) {
    size_t at = below(text.size()), length = 1 + below(16);
    switch (below(6)) {
    case 0: // one bit
      text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      break;
    case 1: // a byte that means something in lengths and counts
      text[at] = "\x00\x01\x7f\x80\xff\xfe(){}0\n "[below(14)];
      break;
    case 2:
      text.erase(at, length);
      break;
    case 3:
      text.insert(at, text.substr(below(text.size()), length));
      break;
    case 4: { // a part of another input
      const std::string &other = pick();
      text.replace(at, length, other.substr(below(other.size()), length));
      break;
    }
    case 5:
      text.resize(at);
      break;
    }
  }

  const std::vector<std::string> &corpus_;
  std::mt19937_64 random_{1};
};

const std::string *current = nullptr;

void keep_input(int signal) {
  if (FILE *file = std::fopen("fuzz-failure.bin", "wb")) {
    std::fwrite(current->data(), 1, current->size(), file);
    std::fclose(file);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const std::string &input) {
  current = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(input.data()), input.size());
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s ROUNDS [FILE...]\n", argv[0]);
    return 2;
  }
  std::vector<std::string> corpus = fuzz_seeds();
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    std::stringstream text;
    if (!file || !(text << file.rdbuf())) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 2;
    }
    corpus.push_back(text.str());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "there is nothing to start from\n");
    return 2;
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGTRAP})
    std::signal(signal, keep_input);
  for (const std::string &input : corpus)
    run(input);
  Mutator mutator(corpus);
  long rounds = std::atol(argv[1]);
  for (long i = 0; i < rounds; ++i)
    run(mutator.next());
  std::printf("%zu seeds, %ld mutations\n", corpus.size(), rounds);
  return 0;
}
