// The live page's server: HTTP and WebSocket on a thread of its own. Frames and
// states go in, commands of the pages come out.
#pragma once

#include "tools/attn-stream/serve/access.h"
#include "tools/attn-stream/serve/protocol.h"
#include <functional>
#include <memory>

namespace attn::tool {

struct ServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0; // 0: any free one
  std::string token; // "": none on loopback, a random one elsewhere
  size_t most_connections = 64;
};

//   GET /             the page
//   GET /stream.mjpg  the frames as multipart JPEG, for <img> and players
//   GET /state.json   the last state
//   GET /ws           WebSocket: frames (8 bytes little-endian frame number, then a JPEG)
//                     and states out, commands in
// A viewer that cannot keep up misses frames; what waits for it is one frame and a
// few messages, whatever happens.
class Server {
public:
  // Called on the server's thread for every command; the reply to a failure goes to
  // the page that sent it.
  using OnCommand = std::function<Status(const Command &)>;

  // Called there once, at the first SIGINT, SIGTERM or SIGHUP.
  using OnStop = std::function<void()>;

  static Result<std::unique_ptr<Server>> start(const ServerOptions &options, OnCommand on_command,
                                               OnStop on_stop);
  virtual ~Server() = default; // closes all connections

  virtual std::string url() const = 0; // with the token, if there is one
  virtual size_t viewers() const = 0;
  // Any thread. `jpeg` is shared by all viewers.
  virtual void publish_frame(uint64_t number, std::shared_ptr<const std::string> jpeg) = 0;
  virtual void publish_state(std::string json) = 0;
};

} // namespace attn::tool
