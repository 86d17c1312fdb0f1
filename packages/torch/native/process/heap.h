#pragma once
#include <node_api.h>

napi_value widenHeap(napi_env env, napi_callback_info info);
napi_value settleHeap(napi_env env, napi_callback_info info);
