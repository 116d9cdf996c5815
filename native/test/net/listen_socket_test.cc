// Listening sockets: what they replace, what they leave alone, what they say when they can't.
#include "net/listen_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>

#include "test/check.h"
#include "test/temporary_folder.h"

using namespace blockferry;

namespace {

bool connects(const std::string& path) {
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

bool exists(const std::string& path) { return std::filesystem::exists(path); }

void unix_sockets_are_private_and_removed() {
  TemporaryFolder folder;
  std::string path = folder / "a";
  ListenSocket socket;
  CHECK(socket.open({path, "", 0}).ok());
  CHECK(socket.bound().unix_path == path);
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0 && (info.st_mode & 0777) == 0600);
  int error = -1;
  CHECK(!socket.accept(&error).open() && error == 0);
  CHECK(connects(path));
  CHECK(socket.accept(&error).open() && error == 0);
  ListenSocket second;
  CHECK(second.open({path, "", 0}).code == Code::address_in_use);
  CHECK(connects(path));
  socket.close();
  CHECK(!exists(path));
  socket.close();
}

void stale_sockets_are_replaced() {
  TemporaryFolder folder;
  std::string path = folder / "a";
  {
    FileDescriptor dead(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    CHECK(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  CHECK(exists(path) && !connects(path));
  ListenSocket socket;
  CHECK(socket.open({path, "", 0}).ok());
  CHECK(connects(path));
}

void what_is_no_socket_stays() {
  TemporaryFolder folder;
  std::string file = folder / "file";
  std::ofstream(file) << "precious";
  ListenSocket socket;
  CHECK(socket.open({file, "", 0}).code == Code::address_in_use);
  CHECK(std::filesystem::file_size(file) == 8);
  CHECK(socket.open({folder / "", "", 0}).code == Code::address_in_use);
  CHECK(socket.open({folder / "none/a", "", 0}).code == Code::not_found);
  CHECK(socket.open({folder / std::string(120, 'x'), "", 0}).code == Code::invalid);
  CHECK(!socket.is_open());
}

// Somebody else's socket at the same path, meanwhile, is not ours to remove.
void only_its_own_path_is_removed() {
  TemporaryFolder folder;
  std::string path = folder / "a";
  ListenSocket first, second;
  CHECK(first.open({path, "", 0}).ok());
  std::filesystem::rename(path, folder / "b");
  CHECK(second.open({path, "", 0}).ok());
  first.close();
  CHECK(connects(path));
}

void tcp_tells_its_port() {
  ListenSocket socket;
  CHECK(socket.open({"", "127.0.0.1", 0}).ok());
  CHECK(socket.bound().host == "127.0.0.1" && socket.bound().port != 0);
  ListenSocket second;
  CHECK(second.open(socket.bound()).code == Code::address_in_use);
  ListenSocket moved = std::move(socket);
  CHECK(!socket.is_open() && moved.is_open());
  uint16_t port = moved.bound().port;
  moved.close();
  CHECK(second.open({"", "localhost", port}).ok());
  CHECK(second.bound().port == port);
}

void tcp_says_what_is_wrong() {
  ListenSocket socket;
  CHECK(socket.open({"", "", 0}).code == Code::invalid);
  CHECK(socket.open({"", "no such host!", 0}).code == Code::not_found);
  CHECK(socket.open({"", "192.0.2.1", 0}).code == Code::unreachable);
}

}  // namespace

int main() {
  RUN(unix_sockets_are_private_and_removed());
  RUN(stale_sockets_are_replaced());
  RUN(what_is_no_socket_stays());
  RUN(only_its_own_path_is_removed());
  RUN(tcp_tells_its_port());
  RUN(tcp_says_what_is_wrong());
}
