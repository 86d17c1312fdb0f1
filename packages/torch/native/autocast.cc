// Autocast state of a device type. Nesting and restoring are done in TypeScript.
#include "compat.h"
#include "handle.h"

namespace fabric {

namespace {

c10::DeviceType deviceTypeOf(napi_env env, napi_value value) { return deviceOf(env, value, "deviceType").type(); }

napi_value autocastState(napi_env env, napi_callback_info info) {
  return guarded(env, "autocastState", [&]() -> napi_value {
    Args<1> a(env, info);
    const c10::DeviceType device = deviceTypeOf(env, a[0]);
    napi_value result;
    check(napi_create_object(env, &result));
    check(napi_set_named_property(env, result, "enabled", jsBool(env, compat::autocastEnabled(device))));
    check(napi_set_named_property(env, result, "dtype", jsString(env, dtypeName(compat::autocastDtype(device)))));
    check(napi_set_named_property(env, result, "cacheEnabled", jsBool(env, at::autocast::is_autocast_cache_enabled())));
    return result;
  });
}

napi_value setAutocast(napi_env env, napi_callback_info info) {
  return guarded(env, "setAutocast", [&]() -> napi_value {
    Args<4> a(env, info);
    compat::setAutocast(deviceTypeOf(env, a[0]), boolOf(env, a[1], "enabled"), dtypeOf(env, a[2]));
    at::autocast::set_autocast_cache_enabled(boolOf(env, a[3], "cacheEnabled"));
    return jsUndefined(env);
  });
}

napi_value nestAutocast(napi_env env, napi_callback_info info) {
  return guarded(env, "nestAutocast", [&]() -> napi_value {
    Args<1> a(env, info);
    if (intOf(env, a[0], "delta") > 0) return jsInt(env, at::autocast::increment_nesting());
    const int depth = at::autocast::decrement_nesting();
    if (depth == 0) at::autocast::clear_cache();
    return jsInt(env, depth);
  });
}

}  // namespace

const std::vector<Export>& autocastExports() {
  static const std::vector<Export> table = {
      {"autocastState", autocastState}, {"setAutocast", setAutocast}, {"nestAutocast", nestAutocast}};
  return table;
}

}  // namespace fabric
