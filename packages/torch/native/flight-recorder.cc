// The record of a rank's collectives, and how two of them are compared. The thread that does it is in group-watch.cc.
#include "flight-recorder.h"

#include <algorithm>
#include <sstream>

namespace fabric {

namespace {

// Of so many of the first and of the last calls the texts are kept.
constexpr size_t kTexts = 64;

uint64_t extend(uint64_t hash, const std::string& text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return (hash ^ 0xff) * 1099511628211ull;
}

bool isPowerOfTwo(uint64_t n) { return (n & (n - 1)) == 0; }

std::string differs(const std::string& where, const std::string& own, int ownRank, const std::string& other,
                    int otherRank) {
  const bool swap = otherRank < ownRank;
  return where + " is `" + (swap ? other : own) + "` on rank " + std::to_string(swap ? otherRank : ownRank) + " and `" +
         (swap ? own : other) + "` on rank " + std::to_string(swap ? ownRank : otherRank) + ".";
}

}  // namespace

// The transport's thread ends a call that the JavaScript thread may just be telling of itself: all under the lock.
void FlightEntry::end() {
  // Let go of outside of the lock: the call may own its operation, and that this entry.
  std::unique_ptr<Waiting> waiting;
  std::function<void(std::exception_ptr)> fail;
  const std::lock_guard<std::mutex> lock(flight_->mutex_);
  waiting = std::move(waiting_);
  auto& all = flight_->pending_;
  const auto call = std::find_if(all.begin(), all.end(), [&](const PendingCall& other) { return other.id == id_; });
  if (call == all.end()) return;
  fail = std::move(call->fail);
  all.erase(call);
}

void FlightEntry::wait() {
  const std::lock_guard<std::mutex> lock(flight_->mutex_);
  waiting_ = std::make_unique<Waiting>();
}

void FlightEntry::onFailure(std::function<void(std::exception_ptr)> fail) {
  const std::lock_guard<std::mutex> lock(flight_->mutex_);
  for (auto& call : flight_->pending_) {
    if (call.id == id_) call.fail = std::move(fail);
  }
}

std::shared_ptr<FlightEntry> Flight::begin(const std::string& text, bool counted, bool local) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (broken_) std::rethrow_exception(broken_);
  PendingCall call;
  call.id = ++nextId_;
  call.text = text;
  call.since = std::chrono::steady_clock::now();
  if (counted) {
    call.number = ++count_;
    hash_ = extend(hash_, text);
    if (isPowerOfTwo(count_)) marks_.push_back(hash_);
    (count_ <= kTexts ? first_ : last_).emplace_back(count_, text);
    if (last_.size() > kTexts) last_.pop_front();
  }
  pending_.push_back(std::move(call));
  return std::make_shared<FlightEntry>(shared_from_this(), nextId_, local ? nullptr : std::make_unique<Waiting>());
}

void Flight::breakOff(const std::exception_ptr& error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  broken_ = error;
}

std::vector<PendingCall> Flight::pending() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return pending_;
}

uint64_t Flight::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

FlightNote Flight::note(std::chrono::milliseconds late) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  FlightNote note;
  note.count = count_;
  note.marks = marks_;
  note.calls.assign(first_.begin(), first_.end());
  note.calls.insert(note.calls.end(), last_.begin(), last_.end());
  const auto now = std::chrono::steady_clock::now();
  for (const auto& call : pending_) {
    if (now - call.since < late) continue;
    note.pendingNumber = call.number;
    note.pendingText = call.text;
    break;
  }
  return note;
}

std::string FlightNote::encode() const {
  std::ostringstream out;
  out << count << "\n" << pendingNumber << " " << pendingText << "\n";
  for (const uint64_t mark : marks) out << mark << " ";
  out << "\n";
  for (const auto& [number, text] : calls) out << number << " " << text << "\n";
  return out.str();
}

FlightNote FlightNote::decode(const std::string& text) {
  FlightNote note;
  std::istringstream in(text);
  std::string line;
  in >> note.count;
  std::getline(in, line);
  in >> note.pendingNumber;
  in.get();
  std::getline(in, note.pendingText);
  std::getline(in, line);
  std::istringstream marks(line);
  for (uint64_t mark; marks >> mark;) note.marks.push_back(mark);
  for (uint64_t number; in >> number;) {
    in.get();
    std::getline(in, line);
    note.calls.emplace_back(number, line);
  }
  return note;
}

std::string differenceOf(const FlightNote& own, int ownRank, const FlightNote& other, int otherRank) {
  for (const auto& [number, text] : own.calls) {
    for (const auto& [otherNumber, otherText] : other.calls) {
      if (number != otherNumber || text == otherText) continue;
      return differs("number " + std::to_string(number), text, ownRank, otherText, otherRank);
    }
  }
  for (size_t i = 0; i < std::min(own.marks.size(), other.marks.size()); i++) {
    if (own.marks[i] == other.marks[i]) continue;
    return "the first " + std::to_string(uint64_t{1} << i) + " are not the same on the ranks " +
           std::to_string(std::min(ownRank, otherRank)) + " and " + std::to_string(std::max(ownRank, otherRank)) + ".";
  }
  // Both wait, in calls of which one is not counted: the other rank has not come to it, and never will.
  if (own.pendingText.empty() || other.pendingText.empty() || own.pendingText == other.pendingText) return "";
  const bool ownFirst = own.pendingNumber > 0 && other.pendingNumber == 0 && other.count < own.pendingNumber;
  const bool otherFirst = other.pendingNumber > 0 && own.pendingNumber == 0 && own.count < other.pendingNumber;
  const bool neither = own.pendingNumber == 0 && other.pendingNumber == 0;
  if (!ownFirst && !otherFirst && !neither) return "";
  return differs("what they wait in", own.pendingText, ownRank, other.pendingText, otherRank);
}

}  // namespace fabric
