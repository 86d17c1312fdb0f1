// What a rank remembers of its collectives, so that ranks which make different calls find out instead of waiting for
// ever or computing with garbage. Recording is a few hundred nanoseconds; ranks compare notes through the store only
// when a call is late, and now and then at ever longer intervals, on a thread of their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "waiting.h"

namespace fabric {

class Flight;

// One call in progress. It ends with `end()` or with its last owner. Used from any thread.
class FlightEntry {
 public:
  FlightEntry(std::shared_ptr<Flight> flight, uint64_t id, std::unique_ptr<Waiting> waiting)
      : flight_(std::move(flight)), id_(id), waiting_(std::move(waiting)) {}
  ~FlightEntry() { end(); }
  FlightEntry(const FlightEntry&) = delete;
  FlightEntry& operator=(const FlightEntry&) = delete;

  void end();
  // From now on this process waits for the others in it; a call that is not `local` does from its beginning.
  void wait();
  // What to tell of an error that is found while the call waits; without it somebody blocks in the call.
  void onFailure(std::function<void(std::exception_ptr)> fail);

 private:
  const std::shared_ptr<Flight> flight_;
  const uint64_t id_;
  std::unique_ptr<Waiting> waiting_;  // guarded by the flight's lock
};

// A call that has begun and not ended.
struct PendingCall {
  uint64_t id = 0;
  uint64_t number = 0;  // among the calls that every rank makes, from 1; 0 for calls that are not counted
  std::string text;
  std::chrono::steady_clock::time_point since;
  std::function<void(std::exception_ptr)> fail;
};

// What one rank tells the others: how far it is, what it waits in, and its calls.
struct FlightNote {
  uint64_t count = 0;                                   // calls so far
  uint64_t pendingNumber = 0;                           // of the call that it waits in
  std::string pendingText;                              // empty when it waits in none
  std::vector<uint64_t> marks;                          // hash of the first 1, 2, 4, 8, ... calls
  std::vector<std::pair<uint64_t, std::string>> calls;  // the first and the last

  std::string encode() const;
  static FlightNote decode(const std::string& text);
};

// The calls of one process group on this rank. Used from any thread.
class Flight : public std::enable_shared_from_this<Flight> {
 public:
  // A call begins. `counted`: every rank makes it, with the same text. `local`: this rank has work of its own in it,
  // until `wait()`. Throws what `breakOff` was given.
  std::shared_ptr<FlightEntry> begin(const std::string& text, bool counted, bool local = false);
  // Every later call is this error.
  void breakOff(const std::exception_ptr& error);
  // The note of now; `late`: a call counts as waited in from this age.
  FlightNote note(std::chrono::milliseconds late) const;
  std::vector<PendingCall> pending() const;
  uint64_t count() const;

 private:
  friend class FlightEntry;
  mutable std::mutex mutex_;
  uint64_t count_ = 0;
  uint64_t nextId_ = 0;
  uint64_t hash_ = 1469598103934665603ull;
  std::vector<uint64_t> marks_;
  std::deque<std::pair<uint64_t, std::string>> first_;
  std::deque<std::pair<uint64_t, std::string>> last_;
  std::vector<PendingCall> pending_;
  std::exception_ptr broken_;
};

// Where two ranks' calls differ: "" when they do not as far as the notes tell. Texts are as this rank and the other
// say.
std::string differenceOf(const FlightNote& own, int ownRank, const FlightNote& other, int otherRank);

}  // namespace fabric
