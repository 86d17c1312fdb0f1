// The thread that compares what the ranks of a group do, and what happens when they do different things: calls that
// wait fail, and a rank that is blocked in one ends.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "distributed.h"

namespace fabric {

namespace {

using Clock = std::chrono::steady_clock;

// A group under watch.
struct Watched {
  std::mutex mutex;
  std::weak_ptr<Flight> flight;           // guarded by `mutex`
  c10::intrusive_ptr<c10d::Store> store;  // the same
  std::atomic<bool> closed{false};        // the group has ended, or its store is gone
  std::string name;
  int rank;
  int size;
  Milliseconds late;
  Milliseconds tick;  // how often the thread looks

  Clock::time_point began = Clock::now();
  Milliseconds nextLook{1000};  // after the beginning; doubles
  uint64_t lookedAt = 0;
  uint64_t reportedId = 0;  // the late call that was announced
  uint64_t warnedId = 0;
  int64_t asked = 0;
  Clock::time_point lastAsked = Clock::now();
  std::string found;  // how the ranks differ
  int foundWith = -1;
  Clock::time_point foundAt;
  bool done = false;
  Clock::time_point endsAt = Clock::time_point::max();  // when this rank ends if it still blocks
};

const char* adviceFor(const std::string& difference) {
  if (difference.find("Saving the checkpoint") != std::string::npos ||
      difference.find("fabric.save") != std::string::npos) {
    return "Call `fabric.save` on all ranks, not inside `if (fabric.globalRank === 0)`: it gathers from all of them, "
           "and "
           "only rank 0 writes. The same goes for every collective.";
  }
  return "Every rank has to make the same collective calls in the same order, with tensors of the same shape and "
         "dtype: "
         "none inside `if (rank === 0)`, none that depends on a rank's own data.";
}

void say(const Watched& group, const std::string& text) {
  std::fprintf(stderr, "[rank %d] %s\n", group.rank, text.c_str());
  std::fflush(stderr);
}

// The time in milliseconds that the clocks of one host agree on.
int64_t wallClock() {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string foundKey(int rank) { return "found/" + std::to_string(rank); }

std::string keyOf(int rank) { return "calls/" + std::to_string(rank); }

void publish(Watched& group, const FlightNote& note) {
  const std::string text = note.encode();
  group.store->set(keyOf(group.rank), std::vector<uint8_t>(text.begin(), text.end()));
}

bool read(Watched& group, int rank, FlightNote* note) {
  if (!group.store->check({keyOf(rank)})) return false;
  const auto bytes = group.store->get(keyOf(rank));
  *note = FlightNote::decode(std::string(bytes.begin(), bytes.end()));
  return true;
}

// The ranks make different calls: no wait can end well any more.
void fail(Watched& group, Flight& flight, const std::string& difference) {
  group.done = true;
  const std::string message = "The ranks called different collectives: " + difference;
  const auto error =
      std::make_exception_ptr(JsError("DistributedError", message, adviceFor(difference), "ERR_COLLECTIVES_DIFFER"));
  flight.breakOff(error);
  bool blocked = false;
  for (auto& call : flight.pending()) {
    if (call.fail)
      call.fail(error);
    else
      blocked = true;
  }
  if (!blocked) return;
  say(group, message + "\n" + adviceFor(difference));
  group.endsAt = Clock::now() + std::chrono::seconds(5);
}

// Says once who keeps this rank waiting.
void warn(Watched& group, const PendingCall& call) {
  group.warnedId = call.id;
  std::string absent;
  for (int rank = 0; rank < group.size; rank++) {
    FlightNote note;
    if (rank == group.rank) continue;
    const bool known = read(group, rank, &note);
    // Only the lowest of those who wait speaks.
    if (known && note.pendingText == call.text && rank < group.rank) return;
    if (known && note.pendingText == call.text) continue;
    absent += (absent.empty() ? "" : ", ") + std::to_string(rank);
    if (known && !note.calls.empty())
      absent += " (its last was number " + std::to_string(note.count) + ", `" + note.calls.back().second + "`)";
  }
  if (absent.empty()) return;
  say(group, "Still waiting in `" + call.text + "` after " +
                 durationText(std::chrono::duration_cast<Milliseconds>(Clock::now() - call.since)) +
                 "; not there yet: rank " + absent +
                 ".\nA rank that never makes this call keeps the others waiting until "
                 "the timeout.");
}

void compare(Watched& group, Flight& flight) {
  const FlightNote own = flight.note(group.late);
  for (int rank = 0; rank < group.size; rank++) {
    FlightNote other;
    if (rank == group.rank || !read(group, rank, &other)) continue;
    const std::string difference = differenceOf(own, group.rank, other, rank);
    if (difference.empty()) continue;
    group.found = difference;
    group.foundWith = rank;
    group.foundAt = Clock::now();
    publish(group, own);
    const std::string time = std::to_string(wallClock());
    group.store->set(foundKey(group.rank), std::vector<uint8_t>(time.begin(), time.end()));
    return;
  }
}

// The rank that leaves first looks like the culprit to the other: both wait for the moment that both can compute.
bool failTogether(Watched& group) {
  if (Clock::now() - group.foundAt > std::chrono::seconds(3)) return true;
  int64_t last = 0;
  for (const int rank : {group.rank, group.foundWith}) {
    if (!group.store->check({foundKey(rank)})) return false;
    const auto bytes = group.store->get(foundKey(rank));
    last = std::max<int64_t>(last, std::strtoll(std::string(bytes.begin(), bytes.end()).c_str(), nullptr, 10));
  }
  const int64_t rest = last + 2 * group.tick.count() - wallClock();
  if (rest > 0) std::this_thread::sleep_for(std::min(Milliseconds(rest), 2 * group.tick));
  return true;
}

void look(Watched& group, Flight& flight) {
  const auto now = Clock::now();
  if (now > group.endsAt) {
    // The message has been printed; whoever is blocked cannot be woken.
    for (const auto& call : flight.pending()) {
      if (!call.fail) _exit(1);
    }
    group.endsAt = Clock::time_point::max();
  }
  if (group.done) return;
  if (!group.found.empty()) {
    if (failTogether(group)) fail(group, flight, group.found);
    return;
  }
  const auto all = flight.pending();
  const auto late =
      std::find_if(all.begin(), all.end(), [&](const auto& call) { return now - call.since > group.late; });
  if (late != all.end()) {
    if (group.reportedId != late->id) {
      group.reportedId = late->id;
      publish(group, flight.note(group.late));
      group.asked = group.store->add("asked", 1);
    }
    compare(group, flight);
    if (group.found.empty() && group.warnedId != late->id && now - late->since > 2 * group.late) warn(group, *late);
    return;
  }
  if (now - group.lastAsked > group.late / 4) {
    // Somebody waits, perhaps for this rank.
    group.lastAsked = now;
    const int64_t asked = group.store->check({"asked"}) ? group.store->add("asked", 0) : 0;
    if (asked > group.asked) publish(group, flight.note(group.late));
    group.asked = asked;
  }
  if (now - group.began < group.nextLook) return;
  group.nextLook *= 2;
  if (flight.count() == group.lookedAt) return;
  group.lookedAt = flight.count();
  publish(group, flight.note(group.late));
  compare(group, flight);
}

class Watcher {
 public:
  void add(std::shared_ptr<Watched> group) {
    const std::lock_guard<std::mutex> lock(mutex_);
    tick_ = std::min(tick_, group->tick);
    groups_.push_back(std::move(group));
    wake_.notify_one();
    if (started_) return;
    started_ = true;
    std::thread([this] { run(); }).detach();
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait_for(lock, tick_);
      auto groups = groups_;
      lock.unlock();
      for (auto& group : groups) visit(*group);
      groups.clear();
      lock.lock();
      const auto ended = [](const auto& group) { return group->closed.load(); };
      groups_.erase(std::remove_if(groups_.begin(), groups_.end(), ended), groups_.end());
    }
  }

  static void visit(Watched& group) {
    const std::lock_guard<std::mutex> lock(group.mutex);
    const auto flight = group.closed ? nullptr : group.flight.lock();
    try {
      if (flight) {
        look(group, *flight);
        return;
      }
    } catch (...) {
      // The store is gone, with the rank that kept it: the transport tells of that.
    }
    group.closed = true;
    group.store.reset();
    group.flight.reset();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Watched>> groups_;
  Milliseconds tick_{1000};
  bool started_ = false;
};

Watcher& watcher() {
  static auto* one = new Watcher;  // never destroyed: its thread is not joined
  return *one;
}

// ---- messages of another size -------------------------------------------------------------------------------

std::terminate_handler previousTerminate = nullptr;

// Gloo's own thread throws when a message is longer than what it is received into; nobody can catch that.
[[noreturn]] void onTerminate() {
  std::string text;
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
  }
  if (text.find("op.preamble.length <= op.nbytes") != std::string::npos) {
    std::fputs(
        "A collective received more data than it expects: the ranks made different calls, or the same call with "
        "tensors "
        "of different shapes or dtypes.\nGive every rank tensors of the same shape and dtype (the last batch of an "
        "epoch is often "
        "shorter: `dropLast: true`), and make the same calls everywhere.\n",
        stderr);
    std::fflush(stderr);
    _exit(1);
  }
  if (previousTerminate) previousTerminate();
  std::abort();
}

// watchGroup(group, store, lateMs): compares the ranks' calls when one is late.
napi_value watchGroup(napi_env env, napi_callback_info info) {
  return guarded(env, "watchGroup", [&]() -> napi_value {
    Args<3> a(env, info);
    const auto group = groupOf(env, a[0]);
    const auto store = unwrap<StoreObject>(env, a[1], Kind::Store, "store")->store;
    const Milliseconds late(intOf(env, a[2], "lateMs"));
    if (group->size < 2) return jsUndefined(env);
    auto watched = std::make_shared<Watched>();
    watched->flight = group->flight;
    watched->store = store;
    watched->name = group->name;
    watched->rank = group->rank;
    watched->size = group->size;
    watched->late = late;
    watched->tick = std::min(Milliseconds(1000), std::max(Milliseconds(20), late / 8));
    group->closers.push_back([watched] {
      watched->closed = true;
      // The thread drops them later if it is using them right now.
      const std::unique_lock<std::mutex> lock(watched->mutex, std::try_to_lock);
      if (!lock) return;
      watched->store.reset();
      watched->flight.reset();
    });
    static const bool handled = [] {
      previousTerminate = std::set_terminate(onTerminate);
      return true;
    }();
    (void)handled;
    watcher().add(std::move(watched));
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& groupWatchExports() {
  static const std::vector<Export> table = {{"watchGroup", watchGroup}};
  return table;
}

}  // namespace fabric
