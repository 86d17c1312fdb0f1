// A socket that is bound to one address of this machine.
#include "listening-socket.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

namespace fabric {

namespace {

uint16_t portOf(int fd) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  char text[NI_MAXSERV] = "0";
  getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length);
  getnameinfo(reinterpret_cast<sockaddr*>(&own), length, nullptr, 0, text, sizeof text, NI_NUMERICSERV);
  return static_cast<uint16_t>(std::stoi(text));
}

}  // namespace

int boundSocket(const std::string& host, uint16_t& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string address = host == "localhost" ? "127.0.0.1" : host;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return -1;
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    close(fd);
    return -1;
  }
  port = portOf(fd);
  return fd;
}

}  // namespace fabric
