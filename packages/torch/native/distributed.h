// What the files about several processes share: stores, process groups and works behind JavaScript externals, and
// errors that say which collective failed, on which rank, and what that means.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "compat-c10d.h"
#include "flight-recorder.h"
#include "handle.h"
#include "waiter.h"

namespace fabric {

using Milliseconds = std::chrono::milliseconds;

// ---- stores -------------------------------------------------------------------------------------------------

struct StoreObject final : Object {
  StoreObject(c10::intrusive_ptr<c10d::Store> store, std::string description)
      : Object(Kind::Store), store(std::move(store)), description(std::move(description)) {}
  c10::intrusive_ptr<c10d::Store> store;
  std::string description;
};

// Waits until all keys are there; false at the deadline. Polls, so that other calls on the store are not locked out.
bool waitForKeys(c10d::Store& store, const std::vector<std::string>& keys, Milliseconds timeout);

// "5 s", "250 ms"
std::string durationText(Milliseconds duration);

// ---- process groups -----------------------------------------------------------------------------------------

// The processes that take part in collectives. Used from the JavaScript thread only, but for `inFlight`.
struct Group {
  c10::intrusive_ptr<c10d::ProcessGroup> group;     // what the reducer takes; null once destroyed
  c10::intrusive_ptr<compat::Transport> transport;  // what runs collectives; null once destroyed
  std::string name;
  std::string backend;
  int rank = 0;
  int size = 1;
  Milliseconds timeout{0};
  std::shared_ptr<std::atomic<int64_t>> inFlight = std::make_shared<std::atomic<int64_t>>(0);
  std::shared_ptr<Flight> flight = std::make_shared<Flight>();
  std::vector<std::function<void()>> closers;  // of what holds on to the group, such as reducers

  bool nccl() const { return backend == "nccl"; }
  // Gives sockets and threads back. A collective that is still running keeps them, on another thread, until it ends.
  void destroy();
};

struct GroupObject final : Object {
  explicit GroupObject(std::shared_ptr<Group> group) : Object(Kind::ProcessGroup), group(std::move(group)) {}
  std::shared_ptr<Group> group;
};

// The group behind an external; one that was destroyed is a named error.
std::shared_ptr<Group> groupOf(napi_env env, napi_value value);

// ---- collectives --------------------------------------------------------------------------------------------

// One collective on its way. What `after` holds runs on the JavaScript thread when it has succeeded: casts back,
// divisions, copies.
struct Operation {
  std::shared_ptr<Group> group;
  c10::intrusive_ptr<c10d::Work> work;  // null when nothing has to be sent, or when it is done
  std::string what;                     // "allReduce of float32 [2, 3]"
  std::vector<std::function<void()>> after;
  std::vector<at::Tensor> buffers;     // kept alive until done
  std::shared_ptr<FlightEntry> entry;  // null for sends and receives
  bool hasFuture = true;
  bool waited = false;   // sends and receives may be waited for only once
  int source = -1;       // of recv: the sender
  bool fromAny = false;  // of recv: the sender is known only when it is done

  void complete();  // after the work has ended well
  void waitHere();  // blocks, then completes
};

// Sums (or else) a tensor over the ranks in place, blocking. For code that runs inside a backward pass.
void allReduceBlocking(const std::shared_ptr<Group>& group, const at::Tensor& tensor, const std::string& op);

// True when the transport can add up elements of this type without help.
bool canReduce(const Group& group, at::ScalarType type);

// The elements of a contiguous tensor as a flat tensor of bytes: moving data needs no knowledge of its type.
at::Tensor bytesOf(const at::Tensor& tensor);

// The error of a failed collective as a DistributedError. `what` is "allReduce of float32 [2, 3]".
JsError communicationError(const std::exception_ptr& error, const std::string& what, const Group& group);
// Throws communicationError() for what `body` throws, unless it is a JsError already.
void communicate(const std::string& what, const Group& group, const std::function<void()>& body);

const std::vector<Export>& storeExports();
const std::vector<Export>& groupExports();
const std::vector<Export>& groupWatchExports();

}  // namespace fabric
