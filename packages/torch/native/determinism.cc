// Whether the engine may use algorithms whose results differ from run to run, and what cuDNN may try out.
#include <ATen/Context.h>

#include "handle.h"

namespace fabric {

namespace {

struct Flag {
  const char* name;
  bool (*get)();
  void (*set)(bool);
};

at::Context& context() { return at::globalContext(); }

const Flag kFlags[] = {
    {"deterministic", [] { return context().deterministicAlgorithms(); },
     [](bool value) { context().setDeterministicAlgorithms(value, context().deterministicAlgorithmsWarnOnly()); }},
    {"deterministicWarnOnly", [] { return context().deterministicAlgorithmsWarnOnly(); },
     [](bool value) { context().setDeterministicAlgorithms(context().deterministicAlgorithms(), value); }},
    {"cudnnEnabled", [] { return context().userEnabledCuDNN(); },
     [](bool value) { context().setUserEnabledCuDNN(value); }},
    {"cudnnBenchmark", [] { return context().benchmarkCuDNN(); },
     [](bool value) { context().setBenchmarkCuDNN(value); }},
    {"cudnnDeterministic", [] { return context().deterministicCuDNN(); },
     [](bool value) { context().setDeterministicCuDNN(value); }},
};

const Flag& flagOf(const std::string& name) {
  for (const Flag& flag : kFlags) {
    if (name == flag.name) return flag;
  }
  throw JsError("TypeError", "internal: the engine has no flag \"" + name + "\".");
}

napi_value getFlag(napi_env env, napi_callback_info info) {
  return guarded(env, "getFlag", [&]() -> napi_value {
    Args<1> a(env, info);
    return jsBool(env, flagOf(stringOf(env, a[0], "name")).get());
  });
}

napi_value setFlag(napi_env env, napi_callback_info info) {
  return guarded(env, "setFlag", [&]() -> napi_value {
    Args<2> a(env, info);
    flagOf(stringOf(env, a[0], "name")).set(boolOf(env, a[1], "value"));
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& determinismExports() {
  static const std::vector<Export> table = {{"getFlag", getFlag}, {"setFlag", setFlag}};
  return table;
}

}  // namespace fabric
