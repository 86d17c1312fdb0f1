// Process groups: how the processes of a job meet, which network interface they use, and how a group ends.
#ifdef FABRIC_WITH_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef FABRIC_WITH_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "distributed.h"

namespace fabric {

namespace {

struct GroupOptions {
  std::string backend;
  std::string name;
  int rank;
  int size;
  Milliseconds timeout;
  std::string interface;  // network interface for Gloo, "" to choose
  std::string peerHost;   // a host of the job, to find the interface that leads there
};

// Every group of this thread's environment that is not destroyed.
thread_local std::vector<std::weak_ptr<Group>> openGroups;

// Two processes with the same text can reach each other over loopback: same kernel, same network namespace.
std::string hostIdentity() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  std::string identity = name;
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char space[128];
  const ssize_t length = readlink("/proc/self/ns/net", space, sizeof space);
  return identity + " " + boot + " " + std::string(space, length > 0 ? static_cast<size_t>(length) : 0);
}

std::string listOf(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size(); i++) text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text;
}

[[noreturn]] void throwMissing(c10d::Store& store, const GroupOptions& options) {
  std::vector<int> present, missing;
  for (int rank = 0; rank < options.size; rank++) {
    (store.check({"present/" + std::to_string(rank)}) ? present : missing).push_back(rank);
  }
  throw JsError(
      "DistributedError",
      (missing.size() == 1 ? "Rank " : "Ranks ") + listOf(missing) + " of " + std::to_string(options.size) +
          " did not arrive within " + durationText(options.timeout) + "; present: " + listOf(present) + ".",
      "Look at the output of the missing ranks, and check that every process was started with the same world size "
      "and the same rendezvous.",
      "ERR_RANK_MISSING");
}

bool isLoopback(const std::string& address) { return address.rfind("127.", 0) == 0 || address == "::1"; }

// The address of this machine on the way to `host`: asks the routing table, sends nothing. Empty when there is none, or
// only one that other machines cannot reach.
std::string addressTowards(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (host.empty() || getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  for (const addrinfo* at = found; at; at = at->ai_next) {
    const int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char text[NI_MAXHOST] = "";
    const bool known =
        connect(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0;
    close(fd);
    if (known && !isLoopback(text)) return text;
  }
  return "";
}

// Where the other ranks are.
struct Peers {
  bool oneHost = true;
  // An address of a rank on another host, where one is known.
  std::string address;
};

// Announces this rank and waits for the others.
Peers meet(c10d::Store& store, const GroupOptions& options) {
  const std::string own = hostIdentity();
  const std::string announced = own + "\n" + addressTowards(options.peerHost);
  const std::string key = "present/" + std::to_string(options.rank);
  if (store.add("taken/" + std::to_string(options.rank), 1) > 1) {
    throw JsError("ConfigurationError",
                  "Two processes came to the rendezvous as rank " + std::to_string(options.rank) + ".",
                  "Give every process a rank of its own, and every job a rendezvous of its own.");
  }
  store.set(key, std::vector<uint8_t>(announced.begin(), announced.end()));
  std::vector<std::string> keys;
  for (int rank = 0; rank < options.size; rank++) keys.push_back("present/" + std::to_string(rank));
  if (!waitForKeys(store, keys, options.timeout)) throwMissing(store, options);
  Peers peers;
  for (const auto& other : keys) {
    const auto value = store.get(other);
    const std::string text(value.begin(), value.end());
    const size_t end = text.rfind('\n');
    if (text.substr(0, end) == own) continue;
    peers.oneHost = false;
    if (peers.address.empty() && end != std::string::npos) peers.address = text.substr(end + 1);
  }
  return peers;
}

#ifdef FABRIC_WITH_GLOO
// Loopback when all ranks share a host, so that nothing listens outside of it. Otherwise the interface that leads to
// the others: the way to the main host is not enough, because on that host itself its name often means loopback.
auto glooDevice(const GroupOptions& options, const Peers& peers) {
  using Gloo = c10d::ProcessGroupGloo;
  const char* wanted = std::getenv("GLOO_SOCKET_IFNAME");
  if (!options.interface.empty()) return Gloo::createDeviceForInterface(options.interface);
  if (wanted && *wanted) return Gloo::createDeviceForInterface(wanted);
  if (peers.oneHost) return Gloo::createDeviceForHostname("127.0.0.1");
  std::string address = addressTowards(peers.address);
  if (address.empty()) address = addressTowards(options.peerHost);
  return address.empty() ? Gloo::createDefaultDevice() : Gloo::createDeviceForHostname(address);
}
#endif

c10::intrusive_ptr<compat::Transport> makeTransport(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const GroupOptions& options, const Peers& peers) {
  if (options.backend == "gloo") {
#ifdef FABRIC_WITH_GLOO
    auto gloo = c10d::ProcessGroupGloo::Options::create(options.timeout);
    gloo->devices.push_back(glooDevice(options, peers));
    return c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.size, gloo);
#else
    throw JsError("NotSupportedError", "The addon was built without Gloo, the backend for several processes on CPUs.",
                  "Install Gloo's headers (on Debian: libgloo-dev) and run `npm run setup`.");
#endif
  }
  if (options.backend == "nccl") {
#ifdef FABRIC_WITH_NCCL
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = options.timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, options.rank, options.size, nccl);
#else
    throw JsError("NotSupportedError",
                  "The addon was built without NCCL, the backend for several processes on CUDA devices.",
                  "Use a LibTorch with CUDA and NCCL and run `npm run setup`, or choose the backend \"gloo\".");
#endif
  }
  (void)peers;
  throw JsError("ConfigurationError", "There is no backend \"" + options.backend + "\" for process groups.",
                "Choose \"gloo\" (CPU) or \"nccl\" (CUDA).");
}

// Meets the other ranks and connects to them. Blocks.
std::shared_ptr<Group> createGroup(const c10::intrusive_ptr<c10d::Store>& store, const GroupOptions& options) {
  auto group = std::make_shared<Group>();
  group->name = options.name;
  group->backend = options.backend;
  group->rank = options.rank;
  group->size = options.size;
  group->timeout = options.timeout;
  communicate("Connecting the process group", *group, [&] {
    store->setTimeout(options.timeout);
    const Peers peers = meet(*store, options);
    group->transport = makeTransport(store, options, peers);
    group->group = compat::makeProcessGroup(store, options.rank, options.size, group->transport, group->nccl());
  });
  return group;
}

// At exit, what still runs is left alone: it may wait for a peer that never answers.
void leaveGroups() {
  for (const auto& weak : openGroups) {
    const auto group = weak.lock();
    if (!group) continue;
    if (*group->inFlight > 0)
      new std::shared_ptr<Group>(group);
    else
      group->destroy();
  }
  openGroups.clear();
  exitQuickly();
}

void rememberGroup(napi_env env, const std::shared_ptr<Group>& group) {
  static thread_local bool hooked = false;
  if (!hooked) onEnvironmentExit(env, leaveGroups);
  hooked = true;
  openGroups.erase(std::remove_if(openGroups.begin(), openGroups.end(), [](const auto& g) { return g.expired(); }),
                   openGroups.end());
  openGroups.push_back(group);
}

// createProcessGroup(store, backend, rank, worldSize, timeoutMs, name, interface, peerHost, sync)
napi_value createProcessGroup(napi_env env, napi_callback_info info) {
  return guarded(env, "createProcessGroup", [&]() -> napi_value {
    Args<9> a(env, info);
    const auto store = unwrap<StoreObject>(env, a[0], Kind::Store, "store")->store;
    GroupOptions options{stringOf(env, a[1], "backend"),
                         stringOf(env, a[5], "name"),
                         static_cast<int>(intOf(env, a[2], "rank")),
                         static_cast<int>(intOf(env, a[3], "worldSize")),
                         Milliseconds(intOf(env, a[4], "timeoutMs")),
                         stringOf(env, a[6], "interface"),
                         stringOf(env, a[7], "peerHost")};
    auto made = std::make_shared<std::shared_ptr<Group>>();
    return settle(
        env, boolOf(env, a[8], "sync"), [made, store, options] { *made = createGroup(store, options); },
        [made](napi_env env) {
          rememberGroup(env, *made);
          return makeExternal(env, new GroupObject(std::move(*made)));
        });
  });
}

napi_value destroyProcessGroup(napi_env env, napi_callback_info info) {
  return guarded(env, "destroyProcessGroup", [&]() -> napi_value {
    Args<1> a(env, info);
    unwrap<GroupObject>(env, a[0], Kind::ProcessGroup, "group")->group->destroy();
    return jsUndefined(env);
  });
}

// monitoredBarrier(group, timeoutMs, waitAllRanks): rank 0 learns who is missing.
napi_value monitoredBarrier(napi_env env, napi_callback_info info) {
  return guarded(env, "monitoredBarrier", [&]() -> napi_value {
    Args<3> a(env, info);
    auto group = groupOf(env, a[0]);
    c10d::BarrierOptions options;
    options.timeout = Milliseconds(intOf(env, a[1], "timeoutMs"));
    const bool waitAll = boolOf(env, a[2], "waitAllRanks");
    if (group->nccl())
      throw JsError("NotSupportedError", "`monitoredBarrier` needs a group with the backend \"gloo\".");
    ++*group->inFlight;
    return settle(
        env, false,
        [group, transport = group->transport, options, waitAll] {
          std::shared_ptr<void> done(nullptr, [&](void*) { --*group->inFlight; });
          try {
            transport->monitoredBarrier(options, waitAll);
          } catch (...) {
            throw JsError("DistributedError",
                          "monitoredBarrier failed on rank " + std::to_string(group->rank) + " of " +
                              std::to_string(group->size) + " after " + durationText(options.timeout) + ": " +
                              describeException(std::current_exception()).what(),
                          "The ranks named have not come to the barrier: they are stuck, late or gone.", "ERR_TIMEOUT");
          }
        },
        nullptr);
  });
}

}  // namespace

void Group::destroy() {
  if (!transport) return;
  for (auto& closer : closers) closer();
  closers.clear();
  if (*inFlight == 0) {
    group.reset();
    transport.reset();
    return;
  }
  auto* held = new std::pair(std::move(group), std::move(transport));
  group.reset();
  transport.reset();
  runDetached([held] { delete held; });
}

std::shared_ptr<Group> groupOf(napi_env env, napi_value value) {
  auto group = unwrap<GroupObject>(env, value, Kind::ProcessGroup, "group")->group;
  if (!group->transport) {
    throw JsError("UsageError", "The process group \"" + group->name + "\" has been destroyed.",
                  "Collectives belong before `destroyProcessGroup()`; start a new group with `initProcessGroup()`.",
                  "ERR_GROUP_DESTROYED");
  }
  return group;
}

const std::vector<Export>& groupExports() {
  static const std::vector<Export> table = {{"createProcessGroup", createProcessGroup},
                                            {"destroyProcessGroup", destroyProcessGroup},
                                            {"monitoredBarrier", monitoredBarrier}};
  return table;
}

}  // namespace fabric
