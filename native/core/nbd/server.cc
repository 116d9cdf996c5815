// The listening sockets, the exports and the connections of an NBD server.
#include "nbd/server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/start_thread.h"
#include "base/stop_signal.h"
#include "nbd/connection.h"
#include "nbd/protocol.h"
#include "net/same_user.h"

namespace blockferry {

namespace {

constexpr int kPauseMs = 100;  // after a lack of resources

struct Listener {
  ListenSocket socket;
  std::thread thread;
};

struct Client {
  Client(FileDescriptor socket, NbdConnectionHost& host, const NbdServerOptions& options)
      : connection(std::move(socket), host, options) {}

  NbdConnection connection;
  std::thread thread;
  uint64_t export_id = 0;  // of what it uses
  bool displaced = false;  // by a newcomer, before it had chosen
  bool done = false;       // the thread has nothing left to do
};

struct Entry {
  // As it is now: the disk may have been another size before.
  NbdExportInfo now() const {
    NbdExportInfo current = info;
    current.size = tap->origin().size();
    current.alignment = tap->origin().alignment();
    return current;
  }

  NbdExportInfo info;
  std::shared_ptr<Tap> tap;
};

}  // namespace

class NbdServer::Impl : public NbdConnectionHost {
 public:
  explicit Impl(const NbdServerOptions& options) : options_(options) {}

  Status listen(const ListenAddress& address, ListenAddress* bound);
  Status add_export(const NbdExport& entry);
  void remove_export(const std::string& name);
  NbdServerStats stats() const;
  void close();

  std::vector<NbdExportInfo> exports() const override;
  std::optional<NbdExportInfo> find_export(const std::string& name) const override;
  std::shared_ptr<Tap> attach(NbdConnection* connection, const NbdExportInfo& entry) override;
  void count_protocol_error() override { protocol_errors_++; }

 private:
  void accept_loop(ListenSocket& socket);
  void welcome(FileDescriptor connection);
  bool make_room();
  bool may_enter(const ListenSocket& socket, const FileDescriptor& connection);
  void free_descriptors();
  void serve(Client& client);
  void join_done();
  uint32_t live() const;

  const NbdServerOptions options_;
  StopSignal stop_;
  std::mutex close_mutex_;  // one close() at a time; taken before mutex_

  mutable std::mutex mutex_;
  std::condition_variable client_done_;
  std::map<std::string, Entry> exports_;
  uint64_t last_id_ = 0;
  std::list<Listener> listeners_;
  std::list<Client> clients_;
  std::atomic<uint64_t> accepted_{0}, refused_{0}, protocol_errors_{0};
};

Status NbdServer::Impl::listen(const ListenAddress& address, ListenAddress* bound) {
  std::lock_guard lock(mutex_);
  if (stop_.raised()) return Status::failure(Code::closed, "listen: the server was closed");
  Listener& listener = listeners_.emplace_back();
  Status status = listener.socket.open(address);
  if (status.ok()) status = stop_.open();
  if (status.ok()) {
    *bound = listener.socket.bound();
    status = start_thread(&listener.thread, [this, &listener] { accept_loop(listener.socket); });
  }
  if (!status.ok()) listeners_.pop_back();
  return status;
}

void NbdServer::Impl::accept_loop(ListenSocket& socket) {
  while (!stop_.raised()) {
    if (stop_.wait_for(socket.fd(), POLLIN, -1) == 0) continue;
    int error = 0;
    FileDescriptor connection = socket.accept(&error);
    Status status = contain([&] {
      if (connection.open() && may_enter(socket, connection)) welcome(std::move(connection));
      return Status{};
    });
    if (!status.ok()) refused_++;
    if (error != 0) free_descriptors();
  }
}

// Over a Unix socket the path decides.
bool NbdServer::Impl::may_enter(const ListenSocket& socket, const FileDescriptor& connection) {
  if (!options_.same_user || !socket.bound().unix_path.empty()) return true;
  if (check_same_user(connection.get()).ok()) return true;
  refused_++;
  return false;
}

// Those who are gone hold some, and what is to come may need them.
void NbdServer::Impl::free_descriptors() {
  {
    std::lock_guard lock(mutex_);
    join_done();
  }
  stop_.wait(kPauseMs);
}

void NbdServer::Impl::welcome(FileDescriptor connection) {
  std::lock_guard lock(mutex_);
  join_done();
  if (stop_.raised() || !make_room()) {
    refused_++;
    return;
  }
  Client& client = clients_.emplace_back(std::move(connection), *this, options_);
  if (start_thread(&client.thread, [this, &client] { serve(client); }).ok()) {
    accepted_++;
  } else {
    clients_.pop_back();
    refused_++;
  }
}

// Whoever says nothing keeps nobody out: the one that has not chosen an export for the longest time
// goes. The list is in the order of their coming.
bool NbdServer::Impl::make_room() {
  if (live() < options_.max_connections) return true;
  auto is_silent = [](const Client& client) {
    return !client.connection.has_chosen() && !client.done && !client.displaced;
  };
  auto victim = std::find_if(clients_.begin(), clients_.end(), is_silent);
  if (victim == clients_.end()) return false;
  victim->displaced = true;
  victim->connection.stop();
  refused_++;
  return true;
}

// On the client's own thread.
void NbdServer::Impl::serve(Client& client) {
  client.connection.run();
  std::lock_guard lock(mutex_);
  client.done = true;
  client_done_.notify_all();
}

void NbdServer::Impl::join_done() {
  clients_.remove_if([](Client& client) {
    if (client.done) client.thread.join();
    return client.done;
  });
}

uint32_t NbdServer::Impl::live() const {
  auto lives = [](const Client& client) { return !client.done && !client.displaced; };
  return static_cast<uint32_t>(std::count_if(clients_.begin(), clients_.end(), lives));
}

Status NbdServer::Impl::add_export(const NbdExport& entry) {
  if (entry.name.size() > nbd::kMaxString || entry.description.size() > nbd::kMaxString) {
    return Status::failure(Code::invalid, "an export's name and description have at most " +
                                              std::to_string(nbd::kMaxString) + " bytes");
  }
  std::lock_guard lock(mutex_);
  if (stop_.raised()) return Status::failure(Code::closed, "add an export: the server was closed");
  const Origin& origin = entry.tap->origin();
  NbdExportInfo info{++last_id_,        entry.name,
                     entry.description, entry.read_only || origin.read_only(),
                     origin.size(),     origin.alignment()};
  if (!exports_.emplace(entry.name, Entry{std::move(info), entry.tap}).second) {
    return Status::failure(Code::busy, "the export name '" + entry.name + "' is taken");
  }
  return {};
}

void NbdServer::Impl::remove_export(const std::string& name) {
  decltype(exports_)::node_type removed;  // its tap goes after the lock
  std::unique_lock lock(mutex_);
  removed = exports_.extract(name);
  if (removed.empty()) return;
  uint64_t id = removed.mapped().info.id;
  auto uses_it = [id](const Client& client) { return client.export_id == id && !client.done; };
  for (Client& client : clients_) {
    if (uses_it(client)) client.connection.stop();
  }
  client_done_.wait(lock, [&] { return std::none_of(clients_.begin(), clients_.end(), uses_it); });
  join_done();
}

std::vector<NbdExportInfo> NbdServer::Impl::exports() const {
  std::lock_guard lock(mutex_);
  std::vector<NbdExportInfo> list;
  for (const auto& [name, entry] : exports_) list.push_back(entry.now());
  return list;
}

std::optional<NbdExportInfo> NbdServer::Impl::find_export(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto found = exports_.find(name);
  if (found == exports_.end() && name.empty() && exports_.size() == 1) found = exports_.begin();
  if (found == exports_.end()) return std::nullopt;
  return found->second.now();
}

std::shared_ptr<Tap> NbdServer::Impl::attach(NbdConnection* connection,
                                             const NbdExportInfo& entry) {
  std::lock_guard lock(mutex_);
  auto current = exports_.find(entry.name);
  bool is_there = current != exports_.end() && current->second.info.id == entry.id;
  if (stop_.raised() || !is_there) return nullptr;
  for (Client& client : clients_) {
    if (&client.connection == connection) client.export_id = entry.id;
  }
  return current->second.tap;
}

NbdServerStats NbdServer::Impl::stats() const {
  std::lock_guard lock(mutex_);
  return {live(), accepted_.load(), refused_.load(), protocol_errors_.load()};
}

void NbdServer::Impl::close() {
  std::lock_guard closing(close_mutex_);
  decltype(exports_) removed;  // their taps go after the lock
  {
    std::lock_guard lock(mutex_);
    stop_.raise();
  }
  // No listener is added any more, and no lock is held: their threads may need it to end.
  for (Listener& listener : listeners_) listener.thread.join();
  std::unique_lock lock(mutex_);
  listeners_.clear();
  for (Client& client : clients_) client.connection.stop();
  auto done = [](const Client& client) { return client.done; };
  client_done_.wait(lock, [&] { return std::all_of(clients_.begin(), clients_.end(), done); });
  join_done();
  removed.swap(exports_);
  stop_.close();
}

NbdServer::NbdServer(NbdServerOptions options) : impl_(std::make_unique<Impl>(options)) {}
NbdServer::~NbdServer() { close(); }

Status NbdServer::listen(const ListenAddress& address, ListenAddress* bound) {
  return impl_->listen(address, bound);
}
Status NbdServer::add_export(const NbdExport& entry) { return impl_->add_export(entry); }
void NbdServer::remove_export(const std::string& name) { impl_->remove_export(name); }
NbdServerStats NbdServer::stats() const { return impl_->stats(); }
void NbdServer::close() { impl_->close(); }

}  // namespace blockferry
