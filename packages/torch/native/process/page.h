// Memory that a launched process shares with its launcher: the process writes where it is, and the launcher reads it,
// also when the process has been killed. A thread of the process keeps a heart beating in it while the JavaScript
// thread is blocked.
#pragma once

#include <node_api.h>

// createPage(): a file descriptor of new memory, all zero, without a name and gone with its last user.
napi_value createPage(napi_env env, napi_callback_info info);
// closePage(fd): gives it back. Node's own `closeSync` warns of a descriptor that it did not open.
napi_value closePage(napi_env env, napi_callback_info info);

// mapPage(fd): the memory as an ArrayBuffer. `fd` is closed. From now on the 32-bit words 1 and 2 are the process'
// heart, which counts seconds, and the most memory that it has had, in KiB.
napi_value mapPage(napi_env env, napi_callback_info info);
