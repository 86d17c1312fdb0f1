// Python's LibTorch contains Gloo but ships none of its headers, which ProcessGroupGloo.hpp includes. This declares
// what that header names. The addon only passes Gloo's objects on: it never makes one and never derives from one, so
// the layout of these classes does not matter. Used only where the real headers are missing.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

struct Exception : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct InvalidOperationException : public Exception {
  using Exception::Exception;
};
struct IoException : public Exception {
  using Exception::Exception;
};

namespace transport {

class Device;

class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};

}  // namespace transport

namespace rendezvous {

class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& data) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
  virtual bool has_v2_support();
  virtual std::vector<std::vector<char>> multi_get(const std::vector<std::string>& keys);
  virtual void multi_set(const std::vector<std::string>& keys, const std::vector<std::vector<char>>& values);
  virtual void append(const std::string& key, const std::vector<char>& value);
  virtual int64_t add(const std::string& key, int64_t value);
};

}  // namespace rendezvous
}  // namespace gloo
