// The export table of what concerns several processes, and the errors of a collective.
#include <c10/util/Exception.h>

#include <cstdio>
#include <initializer_list>

#include "collectives.h"
#include "transport-error.h"

namespace fabric {

namespace {

bool contains(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (text.find(part) != std::string::npos) return true;
  }
  return false;
}

// Without "[../gloo/transport/tcp/pair.cc:598] " in front and a C++ backtrace behind.
std::string shorten(std::string text) {
  if (!text.empty() && text[0] == '[' && text.find(".cc:") < text.find("] ")) text = text.substr(text.find("] ") + 2);
  const size_t trace = text.find("\nException raised from");
  return trace == std::string::npos ? text : text.substr(0, trace);
}

std::string textOf(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const c10::Error& caught) {
    return shorten(caught.what_without_backtrace());
  } catch (const std::exception& caught) {
    return shorten(caught.what());
  } catch (...) {
    return "an error of an unknown type";
  }
}

bool saysGone(const std::string& text) {
  return contains(text, {"closed by peer", "reset by peer", "Connection refused", "Broken pipe", "Socket closed"});
}

bool saysLate(const std::string& text) { return contains(text, {"imed out", "timeout", "Timeout"}); }

constexpr const char* kGone =
    "It was killed, ran out of memory, crashed or ended early: look at the output of the other ranks. The process "
    "group "
    "cannot be used any more; start all processes again, from the last checkpoint.";
constexpr const char* kLate =
    "A rank is stuck, stopped, cut off or slower than the others by more than the timeout, or it did not make the same "
    "call. The process group cannot be used any more; start all processes again, with a longer `timeoutMs` if they "
    "were "
    "only slow.";

}  // namespace

std::string durationText(Milliseconds duration) {
  const auto ms = static_cast<long long>(duration.count());
  char text[48];
  if (ms < 1000) {
    std::snprintf(text, sizeof text, "%lld ms", ms);
  } else {
    std::snprintf(text, sizeof text, "%.10g s", static_cast<double>(ms) / 1000);
  }
  return text;
}

JsError communicationError(const std::exception_ptr& error, const std::string& what, const Group& group) {
  const std::string text = textOf(error);
  const std::string who =
      what + " failed on rank " + std::to_string(group.rank) + " of " + std::to_string(group.size) + ": ";
  if (saysGone(text)) {
    return JsError("DistributedError", who + "another process of the group has closed its connection.", kGone,
                   "ERR_PEER_LOST");
  }
  if (saysLate(text)) {
    return JsError("DistributedError",
                   who + "another process of the group did not answer within " + durationText(group.timeout) + ".",
                   kLate, "ERR_TIMEOUT");
  }
  return JsError("DistributedError", who + text);
}

JsError engineOrTransportError(const std::string& text) {
  const bool transport = text.find("gloo/") != std::string::npos;
  const std::string who = "Averaging gradients over the processes failed: another process of the group ";
  if (transport && saysGone(text)) {
    return JsError("DistributedError", who + "has closed its connection.", kGone, "ERR_PEER_LOST");
  }
  if (transport && saysLate(text)) {
    return JsError("DistributedError", who + "did not answer within the group's timeout.", kLate, "ERR_TIMEOUT");
  }
  return JsError("TorchError", text);
}

void communicate(const std::string& what, const Group& group, const std::function<void()>& body) {
  try {
    body();
  } catch (const JsError&) {
    throw;
  } catch (const PendingException&) {
    throw;
  } catch (...) {
    throw communicationError(std::current_exception(), what, group);
  }
}

const std::vector<Export>& distributedExports() {
  static const std::vector<Export> table = [] {
    std::vector<Export> all = storeExports();
    for (const auto* part :
         {&groupExports(), &groupWatchExports(), &waitingExports(), &workExports(), &gatherGradientExports()})
      all.insert(all.end(), part->begin(), part->end());
    return all;
  }();
  return table;
}

}  // namespace fabric
