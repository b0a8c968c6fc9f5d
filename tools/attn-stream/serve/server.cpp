// One thread runs all connections, so nothing here needs a lock but the hand-over of
// frames. A request lives as long as an operation of its own is pending, a viewer until
// one of its operations fails.
#include "tools/attn-stream/serve/server.h"

#include "tools/attn-stream/serve/page.h"

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <csignal>
#include <deque>
#include <optional>
#include <set>
#include <thread>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using boost::system::error_code;

namespace attn::tool {
namespace {

constexpr auto kPatience = std::chrono::seconds(30); // for a request, or a write to a viewer
constexpr uint32_t kMostHeaderBytes = 8192;
constexpr size_t kMostWaiting = 16; // messages to one viewer; frames apart

using Request = http::request<http::empty_body>;
using Text = http::response<http::string_body>;
using Shared = std::shared_ptr<const std::string>;

struct Frame {
  std::array<char, 8> number{}; // little-endian
  Shared jpeg;
};

class Viewer {
public:
  virtual ~Viewer() = default;
  virtual void show(const Frame &frame) = 0;
  virtual void tell(const Shared &message) = 0;
};

// What connections share; the server's thread alone uses it.
struct Hub {
  AccessRules access;
  Server::OnCommand on_command;
  size_t most_connections = 0, connections = 0;
  std::set<std::shared_ptr<Viewer>> viewers;
  Frame last_frame;
  Shared last_state = std::make_shared<std::string>("{}");
};

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

//===-- Viewers -----------------------------------------------------------------===//

class SocketViewer : public Viewer, public std::enable_shared_from_this<SocketViewer> {
public:
  SocketViewer(beast::tcp_stream &&stream, Hub &hub) : socket_(std::move(stream)), hub_(hub) {
    ++hub_.connections;
  }
  ~SocketViewer() override { --hub_.connections; }

  void start(const Request &request) {
    beast::get_lowest_layer(socket_).expires_never(); // the WebSocket has times of its own
    socket_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
    socket_.read_message_max(kMostMessageBytes);
    socket_.async_accept(request, [self = shared_from_this()](error_code error) {
      if (error)
        return;
      self->hub_.viewers.insert(self);
      self->tell(self->hub_.last_state);
      self->show(self->hub_.last_frame);
      self->read();
    });
  }

  void show(const Frame &frame) override {
    if (frame.jpeg)
      frame_ = frame; // one that still waits is dropped
    write();
  }
  void tell(const Shared &message) override {
    if (waiting_.size() == kMostWaiting)
      waiting_.pop_front();
    waiting_.push_back(message);
    write();
  }

private:
  void read() {
    socket_.async_read(input_, [self = shared_from_this()](error_code error, size_t) {
      if (error) {
        self->hub_.viewers.erase(self);
        return;
      }
      std::string text = beast::buffers_to_string(self->input_.data());
      self->input_.consume(self->input_.size());
      Result<Command> command = parse_command(text);
      Status status = command.ok() ? self->hub_.on_command(*command) : command.status();
      if (!status.ok())
        self->tell(std::make_shared<std::string>(error_message(status.message())));
      self->read();
    });
  }

  void write() {
    if (writing_ || (waiting_.empty() && !frame_.jpeg))
      return;
    writing_ = true;
    auto done = [self = shared_from_this()](error_code error, size_t) {
      self->writing_ = false;
      self->sent_ = {};
      if (error)
        self->hub_.viewers.erase(self);
      else
        self->write();
    };
    if (!waiting_.empty()) {
      sent_.jpeg = std::move(waiting_.front());
      waiting_.pop_front();
      socket_.text(true);
      socket_.async_write(asio::buffer(*sent_.jpeg), done);
      return;
    }
    sent_ = std::move(frame_);
    frame_ = {};
    socket_.binary(true);
    std::array<asio::const_buffer, 2> parts{asio::buffer(sent_.number), asio::buffer(*sent_.jpeg)};
    socket_.async_write(parts, done);
  }

  websocket::stream<beast::tcp_stream> socket_;
  Hub &hub_;
  beast::flat_buffer input_;
  std::deque<Shared> waiting_;
  Frame frame_, sent_; // waits, is being written
  bool writing_ = false;
};

class MultipartViewer : public Viewer, public std::enable_shared_from_this<MultipartViewer> {
public:
  MultipartViewer(beast::tcp_stream &&stream, Hub &hub) : stream_(std::move(stream)), hub_(hub) {
    ++hub_.connections;
  }
  ~MultipartViewer() override { --hub_.connections; }

  void start() {
    hub_.viewers.insert(shared_from_this());
    head_ = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n";
    send(asio::buffer(head_));
  }
  void show(const Frame &frame) override {
    if (!frame.jpeg)
      return;
    frame_ = frame;
    if (!writing_)
      next();
  }
  void tell(const Shared &) override {}

private:
  void next() {
    sent_ = std::move(frame_);
    frame_ = {};
    head_ = concat("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ", sent_.jpeg->size(),
                   "\r\n\r\n");
    send(std::array<asio::const_buffer, 3>{asio::buffer(head_), asio::buffer(*sent_.jpeg),
                                           asio::buffer("\r\n", 2)});
  }
  template <typename Buffers> void send(const Buffers &buffers) {
    writing_ = true;
    stream_.expires_after(kPatience);
    asio::async_write(stream_, buffers, [self = shared_from_this()](error_code error, size_t) {
      self->writing_ = false;
      if (error)
        self->hub_.viewers.erase(self);
      else if (self->frame_.jpeg)
        self->next();
      else
        self->stream_.expires_never();
    });
  }

  beast::tcp_stream stream_;
  Hub &hub_;
  std::string head_;
  Frame frame_, sent_;
  bool writing_ = false;
};

//===-- Requests -----------------------------------------------------------------===//

class Connection : public std::enable_shared_from_this<Connection> {
public:
  Connection(tcp::socket &&socket, Hub &hub) : stream_(std::move(socket)), hub_(hub) {
    ++hub_.connections;
  }
  ~Connection() { --hub_.connections; }

  void read() {
    parser_.emplace();
    parser_->header_limit(kMostHeaderBytes);
    parser_->body_limit(0);
    stream_.expires_after(kPatience);
    http::async_read(stream_, input_, *parser_,
                     [self = shared_from_this()](error_code error, size_t) {
                       if (error == http::error::header_limit)
                         self->respond(http::status::request_header_fields_too_large,
                                       "the header is too long\n");
                       else if (error == http::error::body_limit)
                         self->respond(http::status::payload_too_large, "no body is taken\n");
                       else if (!error)
                         self->answer();
                     });
  }

private:
  void answer() {
    const Request &request = parser_->get();
    std::string_view target = view(request.target()), path = path_of(target);
    if (hub_.connections > hub_.most_connections)
      return respond(http::status::service_unavailable, "too many viewers\n");
    Status access = check_access(hub_.access, {view(request[http::field::host]),
                                               view(request[http::field::origin]), target,
                                               view(request[http::field::cookie])});
    if (!access.ok())
      return respond(http::status::forbidden, access.message() + "\n");
    if (request.method() != http::verb::get)
      return respond(http::status::method_not_allowed, "only GET is served\n");
    if (path == "/ws") {
      if (!websocket::is_upgrade(request))
        return respond(http::status::upgrade_required, "this is a WebSocket\n");
      std::make_shared<SocketViewer>(std::move(stream_), hub_)->start(request);
      return;
    }
    if (path == "/stream.mjpg") {
      std::make_shared<MultipartViewer>(std::move(stream_), hub_)->start();
      return;
    }
    if (path == "/state.json")
      return respond(http::status::ok, *hub_.last_state, "application/json");
    for (const PageFile &file : page_files())
      if (path == file.path)
        return respond(http::status::ok, file.text, file.type);
    respond(http::status::not_found, "not found; the page is at /\n");
  }

  void respond(http::status status, std::string body, std::string_view type = "text/plain") {
    const Request &request = parser_->get();
    response_.emplace(status, request.version() ? request.version() : 11, std::move(body));
    response_->set(http::field::content_type, beast::string_view(type.data(), type.size()));
    response_->set(http::field::cache_control, "no-store");
    response_->set("X-Content-Type-Options", "nosniff");
    response_->set("Referrer-Policy", "no-referrer");
    response_->set("Content-Security-Policy",
                   "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
                   "frame-ancestors 'none'");
    std::string_view token = query_value(view(request.target()), "token");
    if (status == http::status::ok && !token.empty())
      response_->set(http::field::set_cookie,
                     concat("attn_token=", token, "; HttpOnly; SameSite=Strict; Path=/"));
    response_->keep_alive(status == http::status::ok && request.keep_alive());
    response_->prepare_payload();
    http::async_write(stream_, *response_, [self = shared_from_this()](error_code error, size_t) {
      if (!error && self->response_->keep_alive())
        self->read();
      else
        self->stream_.socket().shutdown(tcp::socket::shutdown_send, error);
    });
  }

  beast::tcp_stream stream_;
  Hub &hub_;
  beast::flat_buffer input_;
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<Text> response_;
};

//===-- Server -------------------------------------------------------------------===//

class BeastServer : public Server {
public:
  BeastServer(const ServerOptions &options, OnCommand on_command, OnStop on_stop)
      : acceptor_(context_), signals_(context_), on_stop_(std::move(on_stop)) {
    hub_.on_command = std::move(on_command);
    hub_.most_connections = options.most_connections;
  }
  ~BeastServer() override {
    context_.stop();
    if (thread_.joinable())
      thread_.join();
    hub_.viewers.clear(); // their sockets must not outlive the context
  }

  Status open(const ServerOptions &options) {
    error_code error;
    asio::ip::address address = asio::ip::make_address(options.address, error);
    if (error)
      return Status::usage("'", options.address,
                           "' is no address to bind to; it must be one such "
                           "as 127.0.0.1 or 0.0.0.0");
    hub_.access.loopback = address.is_loopback();
    hub_.access.token = options.token;
    if (!address.is_loopback() && options.token.empty())
      hub_.access.token = make_token();
    tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error)
      acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error)
      acceptor_.bind(endpoint, error);
    if (!error)
      acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      return Status::environment("cannot serve on ", options.address, " port ", options.port, ": ",
                                 error.message(),
                                 error == boost::system::errc::address_not_available
                                     ? "; give an address of this machine with --bind, such as "
                                       "127.0.0.1, or 0.0.0.0 for all of them"
                                     : "; choose another port with --serve");
    port_ = acceptor_.local_endpoint().port();
    std::string host = address.is_v6() ? "[" + options.address + "]" : options.address;
    url_ = concat("http://", host, ":", port_, "/");
    if (!hub_.access.token.empty())
      url_ += "?token=" + hub_.access.token;
    accept();
    signals_.add(SIGINT, error);
    signals_.add(SIGTERM, error);
    struct sigaction hangup;
    if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) // nohup
      signals_.add(SIGHUP, error);
    signals_.async_wait([this](error_code error, int) {
      if (error)
        return;
      // The second one ends the process, but a shell adds a SIGHUP to the terminal's.
      for (int each : {SIGINT, SIGTERM})
        signals_.remove(each, error);
      on_stop_();
    });
    thread_ = std::thread([this] { context_.run(); });
    return {};
  }

  std::string url() const override { return url_; }
  size_t viewers() const override { return viewers_.load(std::memory_order_relaxed); }

  void publish_frame(uint64_t number, Shared jpeg) override {
    Frame frame;
    for (size_t i = 0; i < frame.number.size(); ++i)
      frame.number[i] = static_cast<char>(number >> 8 * i);
    frame.jpeg = std::move(jpeg);
    asio::post(context_, [this, frame = std::move(frame)] {
      hub_.last_frame = frame;
      viewers_.store(hub_.viewers.size(), std::memory_order_relaxed);
      for (const auto &viewer : hub_.viewers)
        viewer->show(frame);
    });
  }
  void publish_state(std::string json) override {
    asio::post(context_, [this, state = std::make_shared<const std::string>(std::move(json))] {
      hub_.last_state = state;
      for (const auto &viewer : hub_.viewers)
        viewer->tell(state);
    });
  }

private:
  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (!error) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        std::make_shared<Connection>(std::move(socket), hub_)->read();
      }
      if (acceptor_.is_open())
        accept();
    });
  }

  Hub hub_; // outlives the connections, which the context holds
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::signal_set signals_;
  OnStop on_stop_;
  std::thread thread_;
  std::atomic<size_t> viewers_{0};
  std::string url_;
  uint16_t port_ = 0;
};

} // namespace

Result<std::unique_ptr<Server>> Server::start(const ServerOptions &options, OnCommand on_command,
                                              OnStop on_stop) {
  auto server = std::make_unique<BeastServer>(options, std::move(on_command), std::move(on_stop));
  ATTN_RETURN_IF_ERROR(server->open(options));
  return std::unique_ptr<Server>(std::move(server));
}

} // namespace attn::tool
