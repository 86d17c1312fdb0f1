// Shows the process' launcher, in memory that both see, whether the process waits for others: the ranks that do are not
// the ones that keep the job from going on.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "handle.h"

namespace fabric {

// One wait, as long as it lives; on any thread.
class Waiting {
 public:
  Waiting();
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  std::atomic<int32_t>* words_;
};

const std::vector<Export>& waitingExports();

}  // namespace fabric
