// What the files about DistributedDataParallel share.
#pragma once

#include <string>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <vector>

#include "comm-hooks.h"
#include "distributed.h"
#include "gradient-watch.h"

namespace fabric {

// Shared with the autograd graph, which may outlive the JavaScript object.
struct Averager {
  std::shared_ptr<Group> group;
  std::shared_ptr<c10d::Reducer> reducer;  // null once the group is destroyed
  std::shared_ptr<c10d::Logger> logger;    // the reducer reports to it without looking whether there is one
  std::unique_ptr<GradientWatch> watch;    // null in a world of one
  std::vector<std::string> names;
  std::vector<at::Tensor> parameters;
  CommHookSlot* hook = nullptr;  // owned by the reducer; null as long as it averages itself
  bool sparse = false;

  void close() {
    watch.reset();
    hook = nullptr;
    logger.reset();
    reducer.reset();
  }
  ~Averager() { close(); }
};

// An array of strings.
std::vector<std::string> namesOf(napi_env env, napi_value array);

const std::vector<Export>& modelAgreementExports();

}  // namespace fabric
