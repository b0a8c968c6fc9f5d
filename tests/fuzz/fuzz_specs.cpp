// `fuzz_specs`: random specs, compiled and compared with the float64 oracle. A
// worker process checks one spec after another; if it dies, the spec that it was
// at has failed and another worker goes on after it.
#include "tests/fuzz/check.h"
#include "tests/fuzz/minimise.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <fcntl.h>
#include <cstdio>
#include <fstream>
#include <map>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace attn::fuzz {

namespace {

struct Options {
  std::string device = "cpu", state;
  uint64_t seed = 1, first = 0, count = 100, only = UINT64_MAX;
  uint32_t tuned_every = 20, seconds_each = 60, stop_after = 20;
  double seconds = 0;
  bool keep = false;
};

// Shared between the supervisor and its workers; lies in a file where the run
// can be taken up again.
struct Progress {
  uint64_t seed, next, end; // specs before `next` are done
  uint64_t passed, rejected, refused, failed, tuned;
  uint64_t failure_stage_space;
  TileCounts tiles;
};

// Ends the process after so many seconds of its own time, however busy the
// machine is; 0: never.
void limit_time(uint32_t seconds) {
  itimerval timer = {{0, 0}, {time_t(seconds), 0}};
  setitimer(ITIMER_PROF, &timer, nullptr);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Fuzzer {
public:
  explicit Fuzzer(const Options &options) : options_(options) {}

  int run() {
    if (!map_progress())
      return 3;
    double start = now();
    while (progress_->next < progress_->end && progress_->failed < options_.stop_after &&
           (options_.seconds == 0 || now() - start < options_.seconds)) {
      std::fflush(stdout);
      pid_t worker = fork();
      if (worker == 0) {
        work(start);
        std::fflush(stdout);
        _exit(0);
      }
      int status = 0;
      waitpid(worker, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return 3;
      if (WIFSIGNALED(status))
        crashed(WTERMSIG(status));
    }
    summarise(now() - start);
    return progress_->failed ? 1 : 0;
  }

private:
  bool map_progress() {
    bool fresh = true;
    int file = -1;
    if (!options_.state.empty()) {
      file = open(options_.state.c_str(), O_RDWR | O_CREAT, 0644);
      if (file < 0) {
        std::fprintf(stderr, "cannot open %s\n", options_.state.c_str());
        return false;
      }
      fresh = lseek(file, 0, SEEK_END) != off_t(sizeof(Progress));
      if (fresh && ftruncate(file, sizeof(Progress)) != 0)
        return false;
    }
    void *memory = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                        MAP_SHARED | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    if (memory == MAP_FAILED)
      return false;
    progress_ = static_cast<Progress *>(memory);
    if (fresh)
      *progress_ = {options_.seed, options_.first, 0, 0, 0, 0, 0, 0, 0, {}};
    progress_->end = options_.first + options_.count;
    return true;
  }

  uint64_t seed_of(uint64_t index) const { return Random(progress_->seed * 1000003 + index).next(); }
  Setting setting_of(uint64_t index) const {
    return {options_.tuned_every && index % options_.tuned_every == 0, seed_of(index) ^ 0x5bd1e995};
  }

  void work(double start) {
    auto device = open_device(options_.device, {.threads = 1});
    if (!device.ok()) {
      std::fprintf(stderr, "%s\n", device.status().message().c_str());
      _exit(3);
    }
    // A worker lives for a while only, so that what LLVM keeps is given back.
    for (int done = 0; done < 500; ++done) {
      if (progress_->next >= progress_->end || progress_->failed >= options_.stop_after ||
          (options_.seconds > 0 && now() - start > options_.seconds))
        return;
      uint64_t index = progress_->next;
      Draft draft = generate(seed_of(index));
      limit_time(options_.seconds_each);
      Outcome outcome = check(draft, draft.text(), **device, setting_of(index));
      limit_time(0);
      progress_->next = index + 1;
      progress_->tuned += setting_of(index).tuned;
      progress_->tiles.add(outcome.tiles);
      switch (outcome.verdict) {
      case Verdict::passed:
        ++progress_->passed;
        break;
      case Verdict::rejected:
        ++progress_->rejected;
        note("rejected", index, outcome);
        break;
      case Verdict::refused:
        ++progress_->refused;
        note("refused", index, outcome);
        break;
      case Verdict::failed:
        ++progress_->failed;
        failed(index, draft, outcome);
        break;
      }
    }
  }

  void note(const char *what, uint64_t index, const Outcome &outcome) {
    size_t at = outcome.message.find("error: ");
    std::string text = at == std::string::npos ? outcome.message : outcome.message.substr(at);
    std::printf("%s %llu: %s\n", what, static_cast<unsigned long long>(index),
                text.substr(0, text.find('\n')).c_str());
  }

  // What becomes of a draft in a process of its own: its stage, or a signal.
  std::string fate(const Draft &draft, const Setting &setting) {
    std::fflush(stdout);
    int ends[2];
    if (pipe(ends) != 0)
      return "";
    pid_t child = fork();
    if (child == 0) {
      auto device = open_device(options_.device, {.threads = 1});
      limit_time(options_.seconds_each);
      Outcome outcome;
      if (device.ok())
        outcome = check(draft, draft.text(), **device, setting);
      if (outcome.verdict == Verdict::failed &&
          write(ends[1], outcome.stage.data(), outcome.stage.size()) < 0)
        _exit(1);
      _exit(0);
    }
    close(ends[1]);
    char buffer[64];
    ssize_t size = read(ends[0], buffer, sizeof buffer);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
      return "signal " + std::to_string(WTERMSIG(status));
    return std::string(buffer, size > 0 ? size_t(size) : 0);
  }

  void failed(uint64_t index, const Draft &draft, const Outcome &outcome) {
    std::printf("FAILED %llu (seed %llu): %s: %s\n  in %s\n",
                static_cast<unsigned long long>(index),
                static_cast<unsigned long long>(progress_->seed), outcome.stage.c_str(),
                outcome.message.c_str(), outcome.setting.c_str());
    shrink(index, draft, outcome.stage);
  }

  void crashed(int signal) {
    uint64_t index = progress_->next++;
    ++progress_->failed;
    std::printf("FAILED %llu (seed %llu): signal %d\n", static_cast<unsigned long long>(index),
                static_cast<unsigned long long>(progress_->seed), signal);
    shrink(index, generate(seed_of(index)), "signal " + std::to_string(signal));
  }

  void shrink(uint64_t index, const Draft &draft, const std::string &stage) {
    Setting setting = setting_of(index);
    Setting simple = setting;
    simple.simple = true;
    if (fate(draft, simple) == stage)
      setting = simple;
    Draft least = minimise(
        draft, [&](const Draft &d) { return fate(d, setting) == stage; }, options_.keep ? 0 : 120);
    std::printf("  again with: --seed %llu --only %llu%s\n%s\n",
                static_cast<unsigned long long>(progress_->seed),
                static_cast<unsigned long long>(index),
                (" --device " + options_.device).c_str(), least.text().c_str());
    std::fflush(stdout);
  }

  void summarise(double seconds) {
    const Progress &p = *progress_;
    uint64_t done = p.passed + p.rejected + p.refused + p.failed;
    auto percent = [](uint64_t part, uint64_t whole) { return whole ? 100.0 * double(part) / double(whole) : 0.0; };
    std::printf("%s, seed %llu: %llu specs in %.0f s: %llu passed, %llu failed, %llu rejected by "
                "the front end, %llu refused by the target; %llu as the product compiles them\n",
                options_.device.c_str(), static_cast<unsigned long long>(p.seed),
                static_cast<unsigned long long>(done), seconds,
                static_cast<unsigned long long>(p.passed), static_cast<unsigned long long>(p.failed),
                static_cast<unsigned long long>(p.rejected),
                static_cast<unsigned long long>(p.refused),
                static_cast<unsigned long long>(p.tuned));
    std::printf("%llu tiles: %.1f%% empty, of these %.1f%% visited for nothing; %.1f%% full, of "
                "these %.1f%% masked for nothing\n",
                static_cast<unsigned long long>(p.tiles.tiles), percent(p.tiles.empty, p.tiles.tiles),
                percent(p.tiles.visited_for_nothing, p.tiles.empty),
                percent(p.tiles.full, p.tiles.tiles),
                percent(p.tiles.masked_for_nothing, p.tiles.full));
  }

  Options options_;
  Progress *progress_ = nullptr;
};

} // namespace

} // namespace attn::fuzz

int main(int argc, char **argv) {
  using namespace attn::fuzz;
  CLI::App program("Random specs, compiled, run and compared with the float64 oracle");
  Options options;
  bool print = false;
  program.add_option("--device", options.device, "cpu or vulkan")->capture_default_str();
  program.add_option("--seed", options.seed, "seed of the run")->capture_default_str();
  program.add_option("--first", options.first, "index of the first spec")->capture_default_str();
  program.add_option("--count", options.count, "how many specs")->capture_default_str();
  program.add_option("--only", options.only, "check this one spec");
  program.add_option("--state", options.state, "file to resume from");
  program.add_option("--seconds", options.seconds, "stop after this time; 0: never")->capture_default_str();
  program.add_option("--tuned-every", options.tuned_every, "one in so many has the target's own block sizes")->capture_default_str();
  program.add_option("--stop-after", options.stop_after, "failures")->capture_default_str();
  program.add_flag("--keep", options.keep, "do not minimise");
  program.add_flag("--print", print, "print the specs only");
  program.footer("Example:\n  fuzz_specs --seed 3 --count 20000 --state run3\n"
                 "Exit code 1: a spec failed; it is printed, minimised.");
  CLI11_PARSE(program, argc, argv);
  if (options.only != UINT64_MAX) {
    options.first = options.only;
    options.count = 1;
  }
  if (print) {
    for (uint64_t i = 0; i < options.count; ++i)
      std::printf("%s\n", generate(Random(options.seed * 1000003 + options.first + i).next()).text().c_str());
    return 0;
  }
  return Fuzzer(options).run();
}
